"""Dense chains, Linear-BatchNorm-ReLU block after block, of all runs."""
