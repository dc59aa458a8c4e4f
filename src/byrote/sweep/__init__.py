"""Sweeps: a study's missing runs, planned into cohorts and carried out by worker processes."""

from byrote.sweep.executors import Event
from byrote.sweep.plan import Task
from byrote.sweep.run import Outcome, Watcher, run

__all__ = ["Event", "Outcome", "Task", "Watcher", "run"]
