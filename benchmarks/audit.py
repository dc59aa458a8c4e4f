"""Audits of labels, compared with cleanlab: coverage of the intervals, ranking of wrong labels, and cost.

    python benchmarks/audit.py [--json] [--quick] [--table FILE.csv]
    python benchmarks/audit.py --law look-alike --source fashion mnist --seeds 3 9 --table FILE.csv

There are 41 settings. Fashion-MNIST pixels, MNIST pixels and CIFAR-10 features (random patches and k-means, computed
here; Coates, Lee and Ng 2011) are used without noise and with symmetric, pair, part-dependent and look-alike noise of
rate .05, .2 and .4. The other two settings are the human labels `aggre` and `worst` of CIFAR-10N. Each setting has
three seeds. Both sides train the same network with the same engine, optimizer, schedule and epochs. byrote trains on
two halves under RLL; cleanlab gets the predictions of five folds under cross-entropy, read once at the end of training.
`clean_auroc_rll` in the table is cleanlab on five folds under RLL, for the first seed only.

1. checks: coverage of the interval, half-width compared with simple random sampling, and root mean squared error. For
   each audit of the first seed, 200 samples to check are drawn 200 times. With a reviewer who errs in 2% or 5% of the
   cases, 20 of the 200 checks are repetitions, and there are fewer draws.
2. labels: the intervals that are stated from labels alone.
3. ranking: AUROC and F1 compared with cleanlab's self-confidence, filter and plain disagreement; the row error of the
   transition matrix.
4. cost: processor time of the ranking, and of the whole audit, divided by that of cleanlab.

The score (of 16 readings tried), the rule for suspects (of 9) and the strata (of 5) were chosen on scikit-learn's
digits and on embedded Fashion-MNIST images (the first 300 of ten classes, 600 of six), with the same four laws and
other noise seeds. Those images are part of `fashion` here (all of it with `--quick`), so the results for `fashion` are
not independent of these choices. Nothing was chosen on MNIST, CIFAR-10 or CIFAR-10N. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from audit_settings import FULL, QUICK, RATES, Array, Setting, Size, settings

from byrote import losses
from byrote.audit import Audit, audit_samples
from byrote.audit.folds import assign
from byrote.audit.held_out import judge
from byrote.audit.melded import Counts, Errors, share
from byrote.audit.plan import SHARES, allocate, split
from byrote.audit.run import scaled

LOOKS, TWICE = 200, 20
CONTRAST = ("symmetric", "pair")  # noise laws under which most suspects have wrong labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--quick", action="store_true", help="takes minutes: Fashion-MNIST, 3,000 samples, one seed")
    parser.add_argument("--table", type=Path, help="write a row for each setting and seed as CSV")
    parser.add_argument("--source", nargs="+", help="only these sources")
    parser.add_argument("--law", nargs="+", help="only these noise laws; no summary is printed")
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FIRST", "LAST"), help="these seeds instead of 0 to 2")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    judge(
        torch.randn(64, 8), torch.arange(64) % 10, np.arange(64) % 2, 10
    )  # a warm-up, because the first call compiles kernels
    warnings.filterwarnings("ignore", module="cleanlab|sklearn")
    size, start, rows = QUICK if chosen.quick else FULL, time.process_time(), []
    if chosen.seeds:
        size = replace(size, first=chosen.seeds[0], seeds=chosen.seeds[1] - chosen.seeds[0] + 1)
    if chosen.source:
        size = replace(size, sources=tuple(chosen.source))
    for setting in settings(size, chosen.law):
        rows.append(one(setting, size))
        spent = time.process_time() - start
        print(
            f"{setting.source} {setting.law} {setting.rate:g} {setting.seed}: {spent:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        if chosen.table:
            write(chosen.table, rows)
    if not chosen.json:
        for row in rows:
            print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))
    if not chosen.law:
        print(json.dumps(summary(rows) | {"cpu_seconds": round(time.process_time() - start)}))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


# ---------------------------------------------------------------------------------------------- one setting


def one(setting: Setting, size: Size) -> dict[str, Any]:
    """The row of one setting: the audits by byrote and by cleanlab, and simulated checks."""
    names = tuple(map(str, range(10)))
    begun = time.process_time()
    audit = audit_samples(setting.x, setting.given, names, seed=setting.seed)
    everything = time.process_time() - begun
    begun = time.process_time()
    x, y = scaled(setting.x), torch.from_numpy(setting.given)
    judge(x, y, assign(setting.given, 2, setting.seed), 10, seed=setting.seed)
    ranking = time.process_time() - begun
    row: dict[str, Any] = {
        "source": setting.source,
        "law": setting.law,
        "rate": setting.rate,
        "seed": setting.seed,
        "n": len(setting.given),
        "wrong": float(setting.wrong.mean()),
        **of_labels(audit, setting),
        **of_ranking(audit, setting),
        "seconds": everything,
        "seconds_ranking": ranking,
        **of_cleanlab(setting, losses.CrossEntropy(), "clean"),
    }
    if setting.seed == 0:
        row |= {f"{k}_rll": v for k, v in of_cleanlab(setting, losses.RobustLog(0.1), "clean").items() if "auroc" in k}
        row |= of_checks(audit, setting, size)
    return row


def of_labels(audit: Audit, setting: Setting) -> dict[str, Any]:
    rate, wrong = audit.rate, float(setting.wrong.mean())
    stated = rate.verdict == "stated"
    return {
        "verdict": rate.verdict,
        "value": rate.value,
        "low": rate.low,
        "high": rate.high,
        "covered": stated and rate.low <= wrong <= rate.high,
        "missed_by": max(rate.low - wrong, wrong - rate.high, 0.0) if stated else float("nan"),
        "consensus": audit.transition.rate,
        "disagreement": rate.disagreement,
    }


def auroc(wrong: Array, score: Array) -> float:
    """The probability that a wrong label scores higher than a right one, computed from ranks; ties count half."""
    if wrong.all() or not wrong.any():
        return float("nan")
    from scipy.stats import rankdata

    ranks = rankdata(score)
    return float((ranks[wrong].sum() - wrong.sum() * (wrong.sum() + 1) / 2) / (wrong.sum() * (~wrong).sum()))


def of_selection(wrong: Array, chosen: Array, name: str = "") -> dict[str, float]:
    """F1, precision and recall of the chosen samples; precision is NaN if none is chosen, recall if none is wrong."""
    both, sizes = float((wrong & chosen).sum()), (float(chosen.sum()), float(wrong.sum()))
    precision, recall = (both / size if size else float("nan") for size in sizes)
    figures = {"f1": 2 * both / max(sum(sizes), 1), "precision": precision, "recall": recall}
    return {f"{figure}{name}": value for figure, value in figures.items()}


def row_error(estimate: Array, setting: Setting) -> float:
    """The row error: the mean over true classes k of sum_a |T_ka - share of label a in class k|."""
    T = np.zeros((10, 10))
    np.add.at(T, (setting.true, setting.given), 1)
    return float(np.abs(estimate - T / T.sum(1, keepdims=True)).sum(1).mean())


def of_ranking(audit: Audit, setting: Setting) -> dict[str, Any]:
    s, wrong = audit.samples, setting.wrong
    return {
        "auroc": auroc(wrong, s["score"]),
        **of_selection(wrong, s["suspect"]),
        **of_selection(wrong, s["suggested"] != s["given"], "_disagreement"),
        "t_error": row_error(audit.transition.matrix, setting),
        "brier": float(((s["probability"] - wrong) ** 2).mean()),
    }


def of_cleanlab(setting: Setting, loss: losses.Loss, name: str) -> dict[str, Any]:
    """Train five folds with the same network, engine and recipe, and apply cleanlab with its defaults."""
    from cleanlab.count import compute_confident_joint, estimate_latent
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    begun = time.process_time()
    folds = assign(setting.given, 5, setting.seed)
    y = torch.from_numpy(setting.given)
    read = judge(scaled(setting.x), y, folds, 10, loss=loss, seed=setting.seed, followed=False)
    p = torch.from_numpy(read.logits).softmax(-1).numpy()
    quality = get_label_quality_scores(setting.given, p, method="self_confidence")
    ranking = time.process_time() - begun
    joint = compute_confident_joint(setting.given, p)
    _, matrix, _ = estimate_latent(joint, setting.given)
    issues = find_label_issues(setting.given, p)
    off = 1 - np.trace(joint) / joint.sum()
    return {
        f"{name}_auroc": auroc(setting.wrong, -quality),
        **of_selection(setting.wrong, issues, f"_{name}"),
        f"{name}_t_error": row_error(matrix.T, setting),
        f"{name}_rate": float(off),
        f"{name}_seconds": time.process_time() - begun,
        f"{name}_seconds_ranking": ranking,
    }


def of_checks(audit: Audit, setting: Setting, size: Size) -> dict[str, Any]:
    """Simulate reviewers: draw samples within each stratum of the plan, add errors, and compute the interval."""
    strata = split(audit.samples["suspect"], audit.samples["doubtful"])
    N, K = [len(rows) for rows in strata], [int(setting.wrong[rows].sum()) for rows in strata]
    figures: dict[str, Any] = {}
    for reviewer, twice, draws in (
        (0.0, 0, size.draws),
        (0.02, TWICE, size.erring_draws),
        (0.05, TWICE, size.erring_draws),
    ):
        rng = np.random.default_rng(1)
        seen = [checked(N, K, reviewer, twice, rng) for _ in range(draws)]
        truth, name = float(setting.wrong.mean()), f"{100 * reviewer:.0f}"
        figures[f"checks_coverage_{name}"] = fmean(low <= truth <= high for _, low, high in seen)
        figures[f"checks_half_{name}"] = fmean((high - low) / 2 for _, low, high in seen)
        figures[f"checks_rmse_{name}"] = fmean((value - truth) ** 2 for value, _, _ in seen) ** 0.5
    rng, total, all_wrong = np.random.default_rng(2), sum(N), sum(K)
    plain = [
        share([Counts(total, LOOKS, int(k))]) for k in rng.hypergeometric(all_wrong, total - all_wrong, LOOKS, 100)
    ]
    return figures | {"random_half": fmean((high - low) / 2 for _, low, high in plain)}


def checked(N: list[int], K: list[int], reviewer: float, twice: int, rng: Any) -> tuple[float, float, float]:
    drawn, counts = allocate(N, SHARES, LOOKS - twice), []
    for size, wrong, n in zip(N, K, drawn, strict=True):
        k = int(rng.hypergeometric(wrong, size - wrong, n)) if n else 0
        counts.append(Counts(size, n, int(rng.binomial(k, 1 - reviewer) + rng.binomial(n - k, reviewer))))
    errors = Errors(twice, int(rng.binomial(twice, 2 * reviewer * (1 - reviewer)))) if twice else None
    return share(counts, errors=errors)


# ------------------------------------------------------------------------------------------------- summary


def numbers(row: dict[str, str]) -> dict[str, Any]:
    """Parse a row of the table into numbers; empty cells, which were not computed, are left out.

    >>> numbers({"law": "pair", "rate": "0.2", "covered": "False", "checks_half_0": ""})
    {'law': 'pair', 'rate': 0.2, 'covered': False}
    """
    return {name: _number(text) for name, text in row.items() if text}


def _number(text: str) -> Any:
    try:
        return {"True": True, "False": False}[text] if text in ("True", "False") else float(text)
    except ValueError:
        return text


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers to which the bars apply."""
    noisy = [row for row in rows if row["wrong"] > 0]
    conditional = [row for row in noisy if row["law"] in CONTRAST]
    return {
        "rows": len(rows),
        **_checks([row for row in rows if "random_half" in row]),
        **_labels(rows),
        "auroc": mean(noisy, "auroc"),
        "auroc_over_cleanlab": mean(noisy, "auroc") - mean(noisy, "clean_auroc"),
        "auroc_least": min(row["auroc"] - row["clean_auroc"] for row in noisy),
        "auroc_over_cleanlab_rll": fmean(r["auroc"] - r["clean_auroc_rll"] for r in noisy if "clean_auroc_rll" in r),
        "f1_best_share": fmean(row["f1"] >= max(row["f1_clean"], row["f1_disagreement"]) for row in noisy),
        "f1": mean(noisy, "f1"),
        "f1_cleanlab": mean(noisy, "f1_clean"),
        "f1_disagreement": mean(noisy, "f1_disagreement"),
        "t_error_ratio": mean(conditional, "t_error") / mean(conditional, "clean_t_error"),
        "time_ratio_ranking": sum(r["seconds_ranking"] for r in rows) / sum(r["clean_seconds_ranking"] for r in rows),
        "time_ratio": sum(r["seconds"] for r in rows) / sum(r["clean_seconds"] for r in rows),
    }


def mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.nanmean([row[name] for row in rows]))


def _checks(rows: list[dict[str, Any]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in ("0", "2", "5"):
        figures[f"checks_coverage_{name}"] = mean(rows, f"checks_coverage_{name}")
        figures[f"checks_least_coverage_{name}"] = min(row[f"checks_coverage_{name}"] for row in rows)
    for name, chosen in (("contrast", True), ("elsewhere", False)):
        some = [row for row in rows if row["wrong"] > 0 and (row["law"] in CONTRAST) == chosen]
        ratios = [row["checks_half_0"] / row["random_half"] for row in some]
        if ratios:
            figures |= {f"checks_width_{name}": fmean(ratios), f"checks_width_{name}_most": max(ratios)}
    for rate in RATES:
        some = [row["checks_rmse_0"] for row in rows if row["law"] in CONTRAST and row["rate"] == rate]
        figures[f"checks_rmse_{rate:g}"] = max(some)
    return figures


def _labels(rows: list[dict[str, Any]]) -> dict[str, Any]:
    stated = [row for row in rows if row["verdict"] == "stated"]
    narrow = [row for row in stated if row["high"] - row["low"] < 0.1]
    even = [row for row in rows if row["law"] == "symmetric"]
    even_stated = [row for row in even if row["verdict"] == "stated"]
    return {
        "labels_stated": len(stated),
        "labels_coverage": fmean(row["covered"] for row in stated) if stated else None,
        "labels_narrow": len(narrow),
        "labels_narrow_missed": sum(not row["covered"] for row in narrow),
        "labels_missed_by_most": max((row["missed_by"] for row in narrow), default=0.0),
        "labels_symmetric_bias": fmean(r["value"] - r["wrong"] for r in even_stated) if even_stated else None,
        "labels_symmetric_width": fmean(row["high"] - row["low"] for row in even_stated) if even_stated else None,
        "labels_symmetric_abstains": fmean(row["verdict"] != "stated" for row in even) if even else None,
    }


if __name__ == "__main__":
    main()
