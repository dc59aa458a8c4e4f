"""Artificial runs that follow the memorization-dilation model exactly, because its solver computes every reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byrote import theory
from claims.made import Rows, noise_of, run

__all__ = ["TRUE", "modeled"]

TRUE = {"lambda_w": 2e-3, "lambda_h": 1e-3, "slope": 1.3}
FLOOR = 0.08


def _solved(loss: str, eta: float) -> Any:
    at = (TRUE["lambda_w"], TRUE["lambda_h"], eta, TRUE["slope"])
    if loss == "MSE":
        return theory.squared_dilation(theory.Problem(0.0, *at))
    if loss in ("RLL", "nMSE"):
        return theory.dilation(0.0, *at)  # arbitrary values, which the model does not determine
    return theory.dilation(0.0 if loss == "CE" else 0.1, *at, loss="relaxation" if loss == "LR" else "smoothing")


def modeled(
    losses: tuple[str, ...] = ("CE", "LS", "LR", "MSE"),
    rates: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4),
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    noise: float = 0.02,
    mem: Mapping[str, float] | None = None,
    dilation: Mapping[str, float] | None = None,
    distance: Mapping[str, float] | None = None,
    **facts: Any,
) -> Rows:
    """Make runs of the model with parameters TRUE; each reading is multiplied by a random factor within 1 +- noise.

    mem, dilation, distance: for each loss, a factor by which the runs deviate from the model.
    """
    rows: Rows = []
    for loss in losses:
        for rate in rates:
            for seed in seeds:
                eta = (rate / 2) / (1 - rate / 2)
                solved = _solved(loss, eta)
                off = [1 + noise * (2 * noise_of(name, loss, rate, seed) - 1) for name in ("mem", "nc1", "D")]
                factor = [(given or {}).get(loss, 1.0) for given in (mem, dilation, distance)]
                mean = solved.memorization / eta if eta else 0.0
                spread = FLOOR + solved.dilation * factor[1] * off[1]
                readings = {"mem": mean * factor[0] * off[0], "distance": solved.distance * factor[2] * off[2]}
                given = {"m": 1.0, "jitter": 0.0} | readings | {"nc1": spread**2} | facts
                rows += run(loss=loss, rate=rate, seed=seed, **given)
    return rows
