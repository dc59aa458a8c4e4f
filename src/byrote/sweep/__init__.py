"""Sweeps: a study's missing runs, planned into cohorts and trained by worker processes."""

from byrote.sweep.executors import Event
from byrote.sweep.outcome import Outcome, Watcher
from byrote.sweep.plan import Task
from byrote.sweep.run import price, run
from byrote.sweep.stop import Stop

__all__ = ["Event", "Outcome", "Stop", "Task", "Watcher", "price", "run"]
