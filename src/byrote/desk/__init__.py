"""A web page (the desk) on which a person checks the planned samples in a browser: `serve(folder)`."""

from byrote.desk.server import Ended, serve

__all__ = ["Ended", "serve"]
