"""Where runs are kept, and the tables read from them."""

from byrote.store.directory import commit, committed
from byrote.store.merge import merge
from byrote.store.plan import Entry, Plan
from byrote.store.query import Results, compact, read_results
from byrote.store.status import state_of

__all__ = ["Entry", "Plan", "Results", "commit", "committed", "compact", "merge", "read_results", "state_of"]
