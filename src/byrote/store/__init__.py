"""Stores, which keep runs, and the tables that are read from them."""

from byrote.store.directory import StoreLostError, commit
from byrote.store.merge import merge
from byrote.store.plan import Entry, Plan
from byrote.store.query import Results, compact, read_results
from byrote.store.runs import committed
from byrote.store.status import state_of

__all__ = [
    "Entry",
    "Plan",
    "Results",
    "StoreLostError",
    "commit",
    "committed",
    "compact",
    "merge",
    "read_results",
    "state_of",
]
