"""Adapters for other training loops: torchmetrics, Lightning, Hugging Face, skorch, and experiment trackers.

Each module adapts to one library, which is loaded only with that module: import the module you need, such as
`from byrote.adapters.torchmetrics import NeuralCollapseNC1`.
"""
