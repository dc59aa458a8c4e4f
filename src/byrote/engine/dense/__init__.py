"""Dense chains, which are sequences of Linear-BatchNorm-ReLU blocks, for all runs."""
