"""The command line: it parses options and prints results, and holds no logic. `main` is the entry point."""

from byrote.cli.main import main

__all__ = ["main"]
