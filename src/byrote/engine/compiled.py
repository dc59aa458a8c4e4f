"""A function compiled by `torch.compile` where that works, and as it is where it does not."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["CompiledFunction"]

_SHAPES = 64  # of a compiled function in one process, where torch would leave it uncompiled from the eighth on


class CompiledFunction:
    """A function compiled as one graph. Where the compiler refuses it, the function itself runs from then on.

    Only what the compiler itself raises, before anything has run, is answered so: half a pass must not be made again,
    and a lack of memory is not a lack of a compiler.

    Args:
        function: of tensors.
        refused: hears once why it cannot be compiled.
        options: of `torch.compile`.
    """

    def __init__(self, function: Callable[..., Any], refused: Callable[[Exception], None], **options: Any) -> None:
        self._function, self._refused = function, refused
        self._run = function
        try:
            # asked for here alone: importing the compiler takes a second
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _SHAPES)
            self._run = torch.compile(function, **{"fullgraph": True, **options})
        except (RuntimeError, ImportError) as error:  # not on this platform
            refused(error)

    @property
    def works(self) -> bool:
        """Has the compiler refused nothing so far?"""
        return self._run is not self._function

    def __call__(self, *tensors: Any) -> Any:
        if not self.works:
            return self._function(*tensors)
        try:
            return self._run(*tensors)
        except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
            self._run = self._function
            self._refused(error)
            return self._function(*tensors)
