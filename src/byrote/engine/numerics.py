"""The arithmetic of a stacked network. It is part of a run's record, because different ways to compute a network round
differently."""

from byrote.engine.kernels.library import kernels
from byrote.engine.stacked import StackedNetwork

__all__ = ["numerics"]


def numerics(network: StackedNetwork) -> dict[str, bool | str]:
    """The code, apart from torch's operators, that computes the network on its current device.

    Returns:
        compiled: whether the network may use kernels compiled on this machine (on a CPU, dense chains and all networks
        in bfloat16 may, unless they were stacked with `compiled=False`); kernels: whether such kernels exist; tiles,
        vectors, pairs: whether training uses tile units (AMX), vector units (AVX-512), or vector units with bfloat16 in
        pairs (AVX-512 BF16);
        library: the first digits of the SHA-256 of the kernels, empty without kernels.

    >>> from torch import nn
    >>> from byrote.engine import stack
    >>> module = nn.Module()
    >>> module.features, module.head = nn.Linear(4, 3), nn.Linear(3, 2)
    >>> numerics(stack([module], (4,)))
    {'compiled': False, 'kernels': False, 'tiles': False, 'vectors': False, 'pairs': False, 'library': ''}
    """
    features = network.features
    on_cpu = next(network.parameters()).device.type == "cpu"
    compiled = features.computation.uses_kernels() and on_cpu
    library = kernels() if compiled else None
    return {
        "compiled": compiled,
        "kernels": library is not None,
        **{name: compiled and features.way() == name for name in ("tiles", "vectors", "pairs")},
        "library": "" if library is None else library.digest,
    }
