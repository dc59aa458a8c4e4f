"""A function compiled by `torch.compile`, or the plain function if compilation fails."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["CompiledFunction"]

_SHAPES = 64  # the most variants of a compiled function in a process; torch's default is eight


class CompiledFunction:
    """A function compiled as one graph. If the compiler refuses it, the plain function runs from then on.

    This applies only to errors of the compiler before anything has run, because half a pass must not be repeated.
    Running out of memory is not a failure of the compiler.

    Args:
        function: a function of tensors.
        refused: called once if the function cannot be compiled, with the reason.
        options: passed to `torch.compile`.
    """

    def __init__(self, function: Callable[..., Any], refused: Callable[[Exception], None], **options: Any) -> None:
        self._function, self._refused = function, refused
        self._run = function
        try:
            # loaded only here, because loading the compiler takes a second
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _SHAPES)
            self._run = torch.compile(function, **{"fullgraph": True, **options})
        except (RuntimeError, ImportError) as error:  # no compiler on this platform
            refused(error)

    @property
    def works(self) -> bool:
        """False once the compiler has refused the function."""
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
