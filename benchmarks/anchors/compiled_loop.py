"""The fastest simple training loop: data in memory, a compiled step, bfloat16 autocast, fused SGD, channels last.

An experienced PyTorch user would write this loop in thirty lines. It trains one run at a time and measures nothing.
"""

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["CompiledLoop"]


class CompiledLoop:
    """One run, trained epoch by epoch with cross-entropy.

    Args:
        module: the network, trained in place; it is convolutional if each image has three axes.
        images, labels: the whole training set, in memory.
        precision: "bf16" (autocast) or "fp32".
        batch_size, lr, momentum, weight_decay: the settings of plain SGD.
        backend: the backend of `torch.compile`.
    """

    def __init__(
        self,
        module: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        precision: str = "bf16",
        batch_size: int = 128,
        lr: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 0.001,
        backend: str = "inductor",
    ) -> None:
        layout = torch.channels_last if any(isinstance(part, nn.Conv2d) for part in module.modules()) else None
        self.module = module.to(memory_format=layout) if layout else module
        self.images = images.contiguous(memory_format=layout) if layout else images
        self.labels, self.batch_size = labels, batch_size
        self.optimizer = torch.optim.SGD(
            self.module.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True
        )
        self._loss = torch.compile(self._loss_of(precision == "bf16"), backend=backend)

    def _loss_of(self, narrow: bool) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        module = self.module

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                return nn.functional.cross_entropy(module(x), y)

        return loss

    def epoch(self) -> None:
        """One pass in a random order; a smaller last batch is dropped, so that only one graph is compiled."""
        self.module.train()
        order = torch.randperm(len(self.labels))
        for batch in order.split(self.batch_size):
            if len(batch) == self.batch_size:
                self.optimizer.zero_grad(set_to_none=True)
                self._loss(self.images[batch], self.labels[batch]).backward()
                self.optimizer.step()
