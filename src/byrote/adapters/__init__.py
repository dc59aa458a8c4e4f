"""byrote in somebody else's loop: torchmetrics, Lightning, Hugging Face, skorch, and experiment trackers.

Each module adapts to one library, which is loaded with that module and not before: import the module you need, say
`from byrote.adapters.torchmetrics import NeuralCollapseNC1`.
"""
