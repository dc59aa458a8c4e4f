"""The command line, which only parses options and prints results. `main` is the entry point."""

from byrote.cli.main import main

__all__ = ["main"]
