"""Evaluate a cohort in eval mode: the snapshot, the readings and the outcome of each sample, for every run."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from byrote.measures.snapshot import Snapshot
from byrote.table import Table
from byrote.training.cohort import Cohort

__all__ = ["answers", "features_of", "snapshots"]

_CHUNK = 1000  # samples per run in one forward pass
_SHOWN_TEST, _SHOWN_CLEAN = 1000, 500  # samples whose features are kept for the feature plane


@torch.no_grad()
def answers(cohort: Cohort, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (S, n, M) and logits (S, n, outputs) of all runs on `images`, in eval mode."""
    training = cohort.network.training
    cohort.network.eval()
    features, logits = [], []
    for chunk in images.split(_CHUNK):
        h = cohort.network.features(chunk)
        features.append(h)
        logits.append(cohort.network.head(h))
    cohort.network.train(training)
    return torch.cat(features, 1).float(), torch.cat(logits, 1).float()


def snapshots(cohort: Cohort) -> Iterator[Snapshot]:
    """One snapshot per run, in the cohort's order."""
    features, logits = answers(cohort, cohort.train.images)
    test_features, test_logits = answers(cohort, cohort.test.images)
    head = {name: value.clone() for name, value in cohort.network.head.state_dict().items()}  # the weights change later
    bias = head.get("bias")
    for s, experiment in enumerate(cohort.experiments):
        yield Snapshot(
            num_classes=experiment.data.num_classes,
            true=cohort.train.labels,
            observed=cohort.observed[s],
            features=features[s],
            logits=logits[s],
            test_true=cohort.test.labels,
            test_features=test_features[s],
            test_logits=test_logits[s],
            test_observed=cohort.test_observed[s],
            weight=head["weight"][s],
            bias=None if bias is None else bias[s],
            redrawn=cohort.redrawn[s],
        )


def features_of(snapshot: Snapshot, ids: Tensor, test_ids: Tensor) -> Table:
    """The features of some samples of one run, for the plot of the feature plane; empty unless M = 2.

    The samples are up to 1,000 test samples, all corrupted training samples, and up to 500 clean training samples, in
    order.
    """
    if snapshot.features.shape[-1] != 2:
        return Table({})
    wrong = snapshot.corrupted
    rows = torch.cat([wrong.nonzero()[:, 0], (~wrong).nonzero()[:_SHOWN_CLEAN, 0]])
    shown = slice(0, _SHOWN_TEST)
    h = torch.cat([snapshot.features[rows], snapshot.test_features[shown]]).cpu().numpy()
    true = torch.cat([snapshot.true[rows], snapshot.test_true[shown]]).cpu().numpy()
    observed = torch.cat([snapshot.observed[rows], snapshot.test_true[shown]]).cpu().numpy()
    split = np.array(["train"] * len(rows) + ["test"] * (len(h) - len(rows)))
    numbers = torch.cat([ids[rows.cpu()], test_ids[shown]]).cpu().numpy()
    return Table({"split": split, "id": numbers, "true": true, "observed": observed, "x": h[:, 0], "y": h[:, 1]})
