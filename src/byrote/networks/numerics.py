"""Which arithmetic a stacked network runs: part of a run's record, because the paths round differently."""

from byrote.networks.native import kernels
from byrote.networks.stack import StackedNetwork

__all__ = ["numerics"]


def numerics(network: StackedNetwork) -> dict[str, bool | str]:
    """What computes besides torch's operators, where this network lies now.

    Returns:
        compiled: it may use kernels compiled on this machine (a dense chain, or any network in bfloat16, on a CPU and
            not `compiled=False`);
        kernels: and there are some; tiles, vectors, pairs: and training runs on tile units (AMX), on vector units
            (AVX-512) or on these with bfloat16 in pairs (AVX-512 BF16); library: the first digits of the SHA-256 of the
            kernels, empty without.

    >>> import torch
    >>> from byrote.networks import MLP
    >>> numerics(MLP(2, 8).stack((4,), 2, [torch.Generator()], compiled=False))
    {'compiled': False, 'kernels': False, 'tiles': False, 'vectors': False, 'pairs': False, 'library': ''}
    """
    features = network.features
    on_cpu = next(network.parameters()).device.type == "cpu"
    compiled = features.uses_kernels() and on_cpu
    found = kernels() if compiled else None
    return {
        "compiled": compiled,
        "kernels": found is not None,
        **{units: compiled and features.units() == units for units in ("tiles", "vectors", "pairs")},
        "library": "" if found is None else found.digest,
    }
