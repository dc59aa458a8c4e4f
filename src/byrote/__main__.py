"""`python -m byrote` is the command `byrote`."""

if __name__ == "__main__":
    import os
    import sys

    if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):
        del sys.path[0]  # `python -m` puts the current folder first on the module path
    from byrote.cli import main

    raise SystemExit(main())
