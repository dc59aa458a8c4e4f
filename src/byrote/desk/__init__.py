"""A desk at which a person checks planned samples in a browser: `serve(folder)`."""

from byrote.desk.server import Ended, serve

__all__ = ["Ended", "serve"]
