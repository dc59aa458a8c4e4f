"""The checks and premises of the ten claims that docs/studies.md lists as recomputed, written in the plainest way.

Like in `recomputed`, nothing here uses byrote's analysis, claims or intervals.
"""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
from scipy import stats

from .recomputed import (
    ROOT,
    A,
    Check,
    M,
    T,
    by_seed,
    cells,
    mean,
    one_sample,
    paired,
    wilson_error,
)
from .recomputed_rule import verdict

__all__ = ["CLAIMS", "STUDIES", "committed", "recompute"]

INFINITE = math.inf
STUDIES = {
    "memorization-dilation": ("A5", "A5r", "A6", "A11", "A12"),
    "loss-function": ("B2", "B3", "B6", "B7"),
    "robust": ("C4",),
}


def committed(study, root=ROOT, scale="small"):
    """Read the stored verdicts of a study, by claim id."""
    stored = json.loads((root / "results" / scale / study / "verdicts.json").read_text("utf-8"))
    return {verdict["id"]: verdict for verdict in stored}


def recompute(id, runs):
    """Compute the verdict on one claim from the runs of one study."""
    return CLAIMS[id](runs)


# The premises


def fits(cell, rate, least):
    """Whether CE has a clean accuracy of .98 and memorizes at least this share of the corrupted labels."""
    ce = cell.at("CE", rate)
    return mean(ce, A) >= 0.98 and mean(ce, M) >= least


def can_resist(cell, rate):
    """Whether CE memorizes .95 of the corrupted labels at this rate, and RLL fits .98 of the samples without noise."""
    return fits(cell, rate, 0.95) and mean(cell.at("RLL", 0.0), "j1") >= 0.98


# The claims


def memorizes_less(runs, column):
    checks, rows, used = [], [], set()
    for cell in cells(runs):
        facts = cell.runs[0].facts
        rates = cell.rates("LS", "CE")
        if facts["num_classes"] != 2 or facts["feature_width"] != 2 or not rates:
            continue
        trained = [rate for rate in rates if fits(cell, rate, 0.5)]

        def check(own, unmet, rate=None, cell=cell):
            ls, ce = cell.at("LS", *own), cell.at("CE", *own)
            used.update(run.key for run in ls + ce)
            values = paired(ls, ce, column)
            return Check(cell, rate, f"{column} LS - CE", values, (-INFINITE, 0), unmet=unmet)

        checks.append(check(trained or rates, not trained))
        rows += [check([rate], rate not in trained, rate) for rate in rates]
    return verdict(checks, rows, used)


def a5(runs):
    return memorizes_less(runs, "mem_mean")


def a5r(runs):
    return memorizes_less(runs, "mem_relative")


def accuracy_difference(cell, rate, region, used, place):
    ls, ce = cell.at("LS", rate), cell.at("CE", rate)
    values = paired(ls, ce, "test_accuracy")
    if values:
        used.update(run.key for run in ls + ce)
    floor = one_sample("test_accuracy", ls, ce) if values else 0.0
    return Check(cell, place, "accuracy LS - CE", values, region, floor)


def a6(runs):
    used = set()
    checks = [
        accuracy_difference(cell, rate, (-0.005, INFINITE), used, rate)
        for cell in cells(runs)
        for rate in cell.rates("LS", "CE")
    ]
    return verdict(checks, [], used, nearly_all=0.9)


def a12(runs):
    used = set()
    checks = [accuracy_difference(cell, 0.0, (-0.005, 0.005), used, None) for cell in cells(runs)]
    return verdict([check for check in checks if check.n], [], used)


def a11(runs):
    checks, used = [], set()
    for cell in cells(runs):
        own = [
            run for run in cell.runs if run["nc1_test"] > 0 and math.isfinite(run["nc1_test"] + run["test_accuracy"])
        ]
        if len(own) < 6:
            continue
        used.update(run.key for run in own)
        whole = atanh_of_ranks(own)
        seeds = list(dict.fromkeys(run.seed for run in own))
        values = {}
        for seed in seeds:
            without = atanh_of_ranks([run for run in own if run.seed != seed])
            values[seed] = len(seeds) * whole - (len(seeds) - 1) * without
        step = 12 / (len(own) ** 3 - len(own))
        floor = step / max(1 - math.tanh(whole) ** 2, step)
        wrong = [1 - run["test_accuracy"] for run in own]
        share = float(np.mean(wrong))
        counting = share * (1 - share) / float(np.mean([run.facts["n_test"] for run in own]))
        conditions = [(run.loss, run.rate) for run in own]
        varied = varies(wrong, conditions, counting) and varies(
            [math.log(run["nc1_test"]) for run in own], conditions, 0.0
        )
        region = (math.atanh(0.7), INFINITE)
        checks.append(
            Check(cell, None, "Spearman(NC1, test error)", values, region, floor, unmet=not varied, scale="atanh")
        )
    return verdict(checks, [], used)


def atanh_of_ranks(runs):
    """Return atanh of Spearman's correlation of NC1 and error; a perfect correlation becomes half a step below 1."""
    x = stats.rankdata([run["nc1_test"] for run in runs])
    y = stats.rankdata([1 - run["test_accuracy"] for run in runs])
    rho = float(np.corrcoef(x, y)[0, 1])
    most = 1 - 6 / (len(runs) ** 3 - len(runs))
    return math.atanh(min(max(rho, -most), most))


def varies(values, conditions, counting):
    """Whether variance within conditions is at most half of the total, which is at least twice that of counting."""
    squares = 0.0
    for condition in set(conditions):
        own = [value for value, other in zip(values, conditions, strict=True) if other == condition]
        squares += sum((value - np.mean(own)) ** 2 for value in own)
    total = float(np.var(values, ddof=1))
    free = len(values) - len(set(conditions))
    return free > 0 and total > 0 and total >= 2 * counting and squares / free <= total / 2


def lf_cells(runs, *varied):
    """Return the cells of symmetric noise with eta at most .6."""
    symmetric = [cell for cell in cells(runs, *varied) if cell.runs[0].spec["noise"]["kind"] == "symmetric"]
    low = [replace(cell, runs=[run for run in cell.runs if run.rate <= 0.6]) for cell in symmetric]
    return [cell for cell in low if cell.runs]


def share_check(cell, rate, what, runs, column, region, unmet):
    return Check(cell, rate, what, by_seed(runs, column), region, wilson_error(runs, column), unmet)


def b2(runs):
    checks, used = [], set()
    for cell in lf_cells(runs):
        rates = []
        for rate in sorted({run.rate for run in cell.at("RLL")}):
            if not rates or rate >= rates[-1] + 0.05:
                rates.append(rate)
        for low, high in itertools.pairwise(rates):
            before, after = cell.at("RLL", low), cell.at("RLL", high)
            values = {b.seed: b["j1"] - a["j1"] for a in before for b in after if a.seed == b.seed}
            used.update(run.key for run in before + after)
            what, unmet = "change of J1 from the eta before", not can_resist(cell, high)
            checks.append(Check(cell, high, what, values, (-INFINITE, 0), one_sample("j1", before, after), unmet))
        for rate in cell.rates("RLL"):
            own, unmet = cell.at("RLL", rate), not can_resist(cell, rate)
            used.update(run.key for run in own)
            checks.append(share_check(cell, rate, "m", own, M, (-INFINITE, 0.3), unmet))
            checks.append(share_check(cell, rate, "a", own, A, (0.9, INFINITE), unmet))
    return verdict(checks, [], used)


def b3(runs):
    checks, used = [], set()
    for cell in lf_cells(runs):
        for rate in cell.rates("RLL"):
            own, unmet = cell.at("RLL", rate), not can_resist(cell, rate)
            used.update(run.key for run in own)
            excess = by_seed(own, lambda run: run["j1"] - (1 - run["realised_rate"]))
            checks.append(Check(cell, rate, "J1 - (1 - rho)", excess, (-0.05, 0.05), wilson_error(own, "j1"), unmet))
            checks.append(share_check(cell, rate, "a", own, A, (0.9, INFINITE), unmet))
            checks.append(share_check(cell, rate, "m", own, M, (-INFINITE, 0.1), unmet))
    return verdict(checks, [], used)


def b6(runs):
    checks, used = [], set()
    for cell in lf_cells(runs):
        for rate in cell.rates("RLL", "nMSE"):
            nmse, rll = cell.at("nMSE", rate), cell.at("RLL", rate)
            used.update(run.key for run in nmse + rll)
            for name, column in (("J1", "j1"), ("J2", "j2"), ("m", M)):
                values, floor = paired(nmse, rll, column), one_sample(column, nmse, rll)
                unmet = not fits(cell, rate, 0.95)
                checks.append(Check(cell, rate, f"{name} nMSE - RLL", values, (-0.05, 0.05), floor, unmet))
    return verdict(checks, [], used)


def b7(runs):
    """Return the largest deviation from the identity of claim B7 over all epochs of all runs."""
    worst, key, corrupted, counted = -1.0, "", False, set()
    for run in runs:
        for epoch in run.epochs:
            rho, lead = epoch["realised_rate"], 0.0
            if rho > 0:
                corrupted, lead = True, rho * (epoch[M] - epoch[T])
            deviation = abs(epoch["j1"] - epoch["j2"] - lead)
            counted.add(run.key)
            if deviation > worst:
                worst, key = deviation, run.key
    word = "fails" if worst >= 1e-6 else "holds" if corrupted else "inconclusive"
    return {"word": word, "verdict": word, "statistic": worst, "interval": None, "runs": len(counted), "key": key}


def c4(runs):
    checks, rows, used = [], [], set()
    for cell in lf_cells(runs, "start"):
        scratch = replace(cell, runs=[run for run in cell.runs if run.start is None])
        started = replace(cell, runs=[run for run in cell.runs if run.start == "cross_entropy"])
        for rate in scratch.rates("RLL"):
            low, after = scratch.at("RLL", rate), started.at("RLL", rate)
            if not after:
                continue
            unmet = not fits(scratch, rate, 0.95)
            used.update(run.key for run in after + low)
            checks.append(share_check(cell, rate, "m from memorized weights", after, M, (0.9, INFINITE), unmet))
            checks.append(share_check(cell, rate, "m from scratch", low, M, (-INFINITE, 0.3), unmet))
            difference, floor = paired(after, low, M), one_sample(M, after, low)
            rows.append(Check(cell, rate, "m memorized - m scratch", difference, (0, INFINITE), floor, unmet))
    return verdict(checks, rows, used)


CLAIMS = {"A5": a5, "A5r": a5r, "A6": a6, "A11": a11, "A12": a12, "B2": b2, "B3": b3, "B6": b6, "B7": b7, "C4": c4}
