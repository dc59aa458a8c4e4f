"""The training engine: cohorts of runs, the loop, evaluation."""

from byrote.training.checkpoint import Checkpoint
from byrote.training.cohort import Cohort, cohort_key, prepare
from byrote.training.loop import Progress, Stopped, train, train_epoch
from byrote.training.progress import shown
from byrote.training.run import Run
from byrote.training.steps import optimizer_of

__all__ = [
    "Checkpoint",
    "Cohort",
    "Progress",
    "Run",
    "Stopped",
    "cohort_key",
    "optimizer_of",
    "prepare",
    "shown",
    "train",
    "train_epoch",
]
