"""The command line: no logic, only words. `main` is the entry point."""

from byrote.cli.main import main

__all__ = ["main"]
