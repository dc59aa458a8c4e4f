"""Where runs are kept, and the tables read from them."""

from byrote.store.directory import commit, committed
from byrote.store.plan import Entry, Plan, state_of
from byrote.store.query import Results, Store, open_store
from byrote.store.query import open_store as open
from byrote.store.table import Table

__all__ = ["Entry", "Plan", "Results", "Store", "Table", "commit", "committed", "open", "open_store", "state_of"]
