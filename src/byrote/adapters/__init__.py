"""Adapters for other training loops: torchmetrics, Lightning, Hugging Face, skorch, and experiment trackers.

Each module is for one library, which is loaded only with that module. Import the module that you need, for example with
`from byrote.adapters.torchmetrics import NeuralCollapseNC1`.
"""
