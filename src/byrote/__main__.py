"""`python -m byrote` is the command `byrote`."""

from byrote.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
