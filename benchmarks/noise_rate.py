"""How often estimates of the noise rate are right, how wide their intervals are, and how often no rate is stated.

    python benchmarks/noise_rate.py [--json] [--quick] [--table FILE.csv]

Small networks are trained under RLL with the project's own engine on the embedded Fashion-MNIST images. Noise is drawn
separately for each seed, law and rate, and a split for each seed. The estimates use predictions for samples that the
network was not trained on:

- half:   one network trained on one half, used on the other half (two estimates for each seed)
- halves: the two halves pooled, with `folds=`
- folds:  five pooled folds, with predictions of a network trained on the other four folds, with `folds=`
- trained: the first network of `halves` on its own training samples, passed off as held-out samples. These
  rows show the effect of this mistake; the bar does not apply to them.

An interval covers if it contains the true share of wrong labels among the samples of the estimate. The bar: on held-out
samples, every interval that is narrower than .1 covers. No constant of the estimate was chosen on these images;
docs/measures.md states the origin of each constant.

The last line is one JSON object; `--table` writes a row for each law, rate and kind of estimate.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from byrote import Experiment, losses, networks, noise
from byrote.data import FashionMNISTSubset, Images
from byrote.measures import RateEstimate, noise_rate
from byrote.recipe import SGD, Cosine, Training
from byrote.training import prepare, train_epoch
from byrote.training.evaluate import answers
from byrote.training.steps import optimizer_of

NARROW = 0.1
LAWS = {
    "symmetric": noise.Symmetric,
    "pair": noise.PairFlip,
    "part-dependent": noise.InstanceDependent,
    "look-alike": noise.LookAlike,
}
COLUMNS = ("law", "rate", "judged", "runs", "stated", "covered", "narrow", "narrow_missed", "width", "bias")


@dataclass(frozen=True)
class Size:
    """The size of the benchmark: its seeds, rates, data, network and epochs."""

    seeds: int
    rates: tuple[float, ...]
    data: FashionMNISTSubset
    network: networks.MLP
    epochs: int


FULL = Size(
    seeds=4,
    rates=(0.05, 0.2, 0.4),
    data=FashionMNISTSubset(resolution=14),
    network=networks.MLP(depth=3, width=128, feature_width=64),
    epochs=20,
)
QUICK = Size(
    seeds=1,
    rates=(0.4,),
    data=FashionMNISTSubset(per_class=400, resolution=7),
    network=networks.MLP(depth=2, width=32, feature_width=32),
    epochs=8,
)


@dataclass(frozen=True)
class Judged:
    """One estimate and the true rate."""

    law: str
    rate: float
    judged: str
    true: float
    estimate: RateEstimate

    @property
    def stated(self) -> bool:
        return self.estimate.verdict == "stated"

    @property
    def covered(self) -> bool:
        return self.stated and self.estimate.low <= self.true <= self.estimate.high

    @property
    def narrow(self) -> bool:
        return self.stated and self.estimate.high - self.estimate.low < NARROW


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--quick", action="store_true", help="test the script within a few seconds")
    parser.add_argument("--table", type=Path, help="write the rows as CSV")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    size, start = QUICK if chosen.quick else FULL, time.process_time()
    judged = []
    for seed in range(size.seeds):
        judged += one_seed(size, seed)
        print(f"seed {seed}: {time.process_time() - start:.0f} CPU s", file=sys.stderr, flush=True)
    rows = table(judged)
    if chosen.table:
        with chosen.table.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if not chosen.json:
        print(rendered(rows))
    print(json.dumps(summary(judged) | {"cpu_seconds": round(time.process_time() - start)}))


def one_seed(size: Size, seed: int) -> list[Judged]:
    """The estimates of all laws, rates and kinds for one split."""
    images = size.data.load()
    n, settings = len(images.labels), [("none", 0.0), *((law, rate) for law in LAWS for rate in size.rates)]
    observed = torch.stack([corrupted(images, law, rate, seed) for law, rate in settings])
    judged = []
    for name, count in (("halves", 2), ("folds", 5)):
        folds = torch.randperm(n, generator=stream("split", name, seed)) % count
        logits = torch.empty(len(settings), n, 10)
        for fold in range(count):
            inside, outside = (folds == fold).nonzero()[:, 0], (folds != fold).nonzero()[:, 0]
            logits[:, inside], own = trained(size, images, observed, outside, inside, seed)
            if name == "halves":
                judged += estimates(settings, images, observed, inside, logits[:, inside], "half")
            if name == "halves" and fold == 0:
                judged += estimates(settings, images, observed, outside, own, "trained")
        judged += estimates(settings, images, observed, torch.arange(n), logits, name, folds)
    return judged


def estimates(
    settings: list[tuple[str, float]],
    images: Images,
    observed: Tensor,
    rows: Tensor,
    logits: Tensor,
    name: str,
    folds: Tensor | None = None,
) -> Iterator[Judged]:
    """The estimates of all settings from the logits (S, len(rows), N) on these samples."""
    for (law, rate), labels, z in zip(settings, observed, logits, strict=True):
        true = float((labels[rows] != images.labels[rows]).double().mean())
        yield Judged(law, rate, name, true, noise_rate(z, labels[rows], z.shape[1], folds=folds))


def corrupted(images: Images, law: str, rate: float, seed: int) -> Tensor:
    """The noisy labels of each setting; the settings have independent random numbers."""
    if law == "none":
        return images.labels
    return LAWS[law](rate).corrupt(images.labels, 10, stream(law, rate, seed), features=images.images)


def stream(*purpose: object) -> torch.Generator:
    digest = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def trained(
    size: Size, images: Images, observed: Tensor, rows: Tensor, others: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Train one network on `rows` for each row of `observed`; return its logits on `others` and on `rows`."""
    training = Training(epochs=size.epochs, optimizer=SGD(lr=0.1, weight_decay=1e-4), schedule=Cosine())
    runs = [
        Experiment(size.data, noise.Clean(), losses.RobustLog(0.1), size.network, training, seed=1000 * seed + s)
        for s in range(len(observed))
    ]
    cohort = prepare(runs)
    order = [run.seed - 1000 * seed for run in cohort.experiments]
    part = Images(images.images[rows], images.labels[rows], images.ids[rows])
    cohort = replace(cohort, train=part, observed=observed[order][:, rows])
    optimizer = optimizer_of(cohort.network, [training] * len(runs))
    for epoch in range(training.epochs):
        train_epoch(cohort, optimizer, epoch)
    back = torch.tensor(order).argsort()
    return answers(cohort, images.images[others])[1][back], answers(cohort, part.images)[1][back]


def table(judged: list[Judged]) -> list[dict[str, object]]:
    """A row for each law, rate and kind of estimate."""
    groups: dict[tuple[str, float, str], list[Judged]] = {}
    for one in judged:
        groups.setdefault((one.law, one.rate, one.judged), []).append(one)
    rows = []
    for (law, rate, name), group in sorted(groups.items(), key=lambda item: (item[0][2], item[0][1] > 0, item[0][0])):
        stated = [one for one in group if one.stated]
        narrow = [one for one in group if one.narrow]
        widths = [one.estimate.high - one.estimate.low for one in stated]
        cells = (law, rate, name, len(group), len(stated), sum(one.covered for one in stated), len(narrow))
        missed = sum(not one.covered for one in narrow)
        width = round(fmean(widths), 4) if widths else ""
        bias = round(fmean(one.estimate.rate - one.true for one in group), 4)
        rows.append(dict(zip(COLUMNS, (*cells, missed, width, bias), strict=True)))
    return rows


def rendered(rows: list[dict[str, object]]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS).replace('_', ' ')} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(str(row[name]) for name in COLUMNS)} |" for row in rows]
    return "\n".join(lines)


def summary(judged: list[Judged]) -> dict[str, float | int | None]:
    """The numbers to which the bar applies."""
    honest = [one for one in judged if one.judged != "trained"]
    symmetric = [one for one in honest if one.law == "symmetric"]
    other = [one for one in honest if one.law not in ("symmetric", "none")]
    narrow = [one for one in honest if one.narrow]
    stated = [one for one in symmetric if one.stated]
    widths = [one.estimate.high - one.estimate.low for one in stated]
    learned = [one for one in judged if one.judged == "trained" and one.stated]
    return {
        "runs": len(honest),
        "stated": sum(one.stated for one in honest),
        "covered": sum(one.covered for one in honest),
        "narrow": len(narrow),
        "narrow_missed": sum(not one.covered for one in narrow),
        "symmetric_runs": len(symmetric),
        "symmetric_stated": len(stated),
        "symmetric_covered": sum(one.covered for one in stated),
        "symmetric_width": round(fmean(widths), 4) if widths else None,
        "symmetric_bias": round(fmean(one.estimate.rate - one.true for one in symmetric), 4),
        "other_runs": len(other),
        "other_stated": sum(one.stated for one in other),
        "clean_stated": sum(one.stated for one in honest if one.law == "none"),
        "trained_stated": len(learned),
        "trained_covered": sum(one.covered for one in learned),
    }


if __name__ == "__main__":
    main()
