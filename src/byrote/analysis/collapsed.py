"""Find runs that learned nothing: ReLU networks whose features are zero or nearly zero.

If class means coincide to the last digit, NC1 is undefined, and the row of the history is marked (`collapsed`). If the
means are a thousandth of the usual distance apart, NC1 is in the thousands. That number tells nothing about neural
collapse, and it hides every other run on the axis of a figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["COINCIDE", "RELATIVE", "coincident"]

COINCIDE = 0.01  # fraction of the median distance over the runs of the same setting and loss
RELATIVE = (
    "nc1_test",
    "nc1_test_top_share",
    "mem_relative",
    "mem_noise_weighted_relative",
    "mem_redrawn_relative",
    "mem_redrawn_noise_weighted_relative",
)
"""The readings that have no value if the class means coincide, because they are divided by the distance D."""


def coincident(
    distance: NDArray[np.float64], run: NDArray[np.int64], last: NDArray[np.intp], peers: Sequence[NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Mark the rows of a history in which the class means practically coincide.

    The distance D is compared with its median over the last rows of all runs with the same setting and loss. Below 1%
    of the median, NC1 and all readings that are divided by D have no value.

    Args:
        distance: (H,), D in each row.
        run: (H,), the run of each row, in 0..R-1.
        last: (R,), the last row of each run.
        peers: columns (R,) of integers; runs that agree in all of them are compared.

    >>> coincident(np.array([2.0, 1.9, 0.003]), np.arange(3), np.arange(3), [np.zeros(3, dtype=np.int64)])
    array([False, False,  True])
    """
    if not len(last):
        return np.zeros(len(distance), dtype=bool)
    group = np.unique(np.stack(peers, axis=1), axis=0, return_inverse=True)[1].ravel()
    ends = distance[last]
    least = np.zeros(int(group.max()) + 1)
    for place in range(len(least)):
        known = ends[(group == place) & np.isfinite(ends)]
        least[place] = COINCIDE * float(np.median(known)) if len(known) else 0.0
    return np.asarray(np.isfinite(distance) & (distance < least[group[run]]))
