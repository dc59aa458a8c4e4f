"""Data with labels that are only given (`labels = "given"`): nobody knows which labels are wrong.

A reading that compares predictions with true labels then uses the given labels instead, so its name would be
misleading. Claims, figures and pages read such a run through this module: columns about true labels have no value, and
the two readings that remain meaningful get other names. This module never loads torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "AGREEMENT",
    "FIELD",
    "GIVEN",
    "TRUE_LABELS",
    "as_given",
    "behind",
    "left_out",
    "not_tested",
    "speaks_of_true_labels",
]

FIELD, GIVEN = "data.labels", "given"
"""The field of a spec that tells whether labels are known to be true, and its value if they are not."""

TRUE_LABELS = (
    "j2",
    "test_accuracy",
    "realised_rate",
    "clean_accuracy",
    "corrupted_as_observed",
    "corrupted_as_true",
    "nc1_train_true",
    "nc1_train_clean",
    "nc1_test",
    "nc1_test_top_share",
    "class_distance",
    "norm_cv",
    "uncentred_cosine",
    "centred_cosine",
    "mem_total",
    "mem_mean",
    "mem_noise_weighted",
    "mem_relative",
    "mem_noise_weighted_relative",
    "mem_clean_mean",
    "mem_redrawn_mean",
    "mem_redrawn_noise_weighted",
    "mem_redrawn_relative",
    "mem_redrawn_noise_weighted_relative",
)
"""The columns of a history whose values depend on true labels of training or test samples.

`collapsed` is not among them: it reports vanished features, whatever the labels are.
"""

AGREEMENT = {"given_agreement": "j2", "test_given_agreement": "test_accuracy"}
"""For runs with labels that are only given: the name of each column of agreement, and the reading that has its value.
The columns are the shares of training samples and of test samples that are predicted as their given label.
"""


def speaks_of_true_labels(columns: Iterable[str]) -> bool:
    """Whether one of these columns depends on true labels.

    >>> speaks_of_true_labels(["j1", "train_nc3"]), speaks_of_true_labels(["j1", "nc1_test"])
    (False, True)
    """
    return not set(TRUE_LABELS).isdisjoint(columns)


def not_tested(runs: int) -> str:
    """The reason why a claim about true labels has no verdict when all runs have data whose labels are only given.

    >>> not_tested(1)
    'the claim is about true labels, but 1 run has data whose labels are only given (data.labels = "given")'
    """
    have = "run has" if runs == 1 else "runs have"
    return f'the claim is about true labels, but {runs} {have} data whose labels are only given ({FIELD} = "{GIVEN}")'


def left_out(runs: int) -> str:
    """A remark on the runs that a statement about true labels leaves out; empty if there are none.

    >>> left_out(2), left_out(0)
    ('runs whose labels are only given (data.labels) left out: 2', '')
    """
    return f"runs whose labels are only given ({FIELD}) left out: {runs}" if runs else ""


def as_given(row: Mapping[str, float | bool | int]) -> dict[str, float | bool | int]:
    """The row for labels that are only given, without the columns that depend on true labels.

    >>> as_given({"epoch": 1, "j1": 0.75, "j2": 0.5, "nc1_test": 0.1})
    {'epoch': 1, 'j1': 0.75, 'given_agreement': 0.5}
    """
    readings = {name: value for name, value in row.items() if name not in TRUE_LABELS}
    return readings | {name: row[reading] for name, reading in AGREEMENT.items() if reading in row}


def behind(columns: Collection[str] | None) -> Collection[str] | None:
    """The readings from which `as_given` makes these columns; None stands for all columns.

    Raises: ValueError for a column that depends on true labels.

    >>> behind(["j1", "given_agreement"])
    ['j1', 'j2']
    """
    if columns is None:
        return None
    columns = [columns] if isinstance(columns, str) else columns
    instead = {reading: name for name, reading in AGREEMENT.items()}
    for column in columns:
        if column in TRUE_LABELS:
            known = f"; use {instead[column]!r}" if column in instead else ""
            raise ValueError(
                f"`readings=` names {column!r}, which depends on true labels, but the labels are only given{known}"
            )
    return [AGREEMENT.get(column, column) for column in columns]
