"""The usual training loop, on any device: a torch.nn module, a DataLoader, torch.optim, float32, default threads.

Benchmarks compare the engine with this loop, which trains one run at a time and computes no measures.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["plain_epochs"]


def plain_epochs(
    module: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    *,
    batch_size: int = 128,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 0.001,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Train `module` in place with cross-entropy and return it; batches are moved to the device one by one."""
    module.to(device)
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=True, generator=generator)
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    criterion = nn.CrossEntropyLoss()
    module.train()
    for _ in range(epochs):
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            loss = criterion(module(x), y)
            loss.backward()
            optimizer.step()
    return module
