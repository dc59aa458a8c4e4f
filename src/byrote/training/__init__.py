"""The training engine: cohorts of runs, the loop, evaluation."""

from byrote.training.cohort import Cohort, cohort_key, prepare
from byrote.training.loop import Progress, train, train_epoch
from byrote.training.run import Run

__all__ = ["Cohort", "Progress", "Run", "cohort_key", "prepare", "train", "train_epoch"]
