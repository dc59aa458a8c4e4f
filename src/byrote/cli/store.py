"""`verify` and `prune`: check a store for damage, and remove what it no longer needs."""

from collections import Counter

from byrote.cli.output import print_json, print_table, say
from byrote.cli.places import Place

__all__ = ["prune", "verify"]


def verify(folder: Place, /, *, json: bool = False) -> int:
    """Read every byte of a store and list the damaged runs.

    A run may be torn (a file is missing or truncated), altered, swapped (a file belongs to another run), missing, or
    foreign (not in the plan). The same `byrote run` command trains all of these runs again, except foreign runs.

    Parameters
    ----------
    folder
        A store or a results folder.
    json
        Print JSON.
    """
    from byrote.cli.own import import_own
    from byrote.store import Plan
    from byrote.store.mirror import located
    from byrote.store.verify import verify as check

    folder = located(folder)
    plan = Plan.read(folder)
    if plan is not None and plan.imports:
        import_own({"imports": plan.imports}, None)
    result = check(folder)
    facts = result.to_json()
    if json:
        print_json(facts)
    else:
        kinds = Counter(flaw.kind for flaw in result.flaws)
        names = ("planned", "whole", "torn", "altered", "swapped", "missing", "foreign", "unavailable", "older")
        print_table("verify", names, [{**dict.fromkeys(names, 0), **facts, **kinds}])
        for flaw in result.flaws:
            if flaw.kind != "missing":
                say(flaw.sentence(folder))
    return 1 if result.flaws else 0


def prune(folder: Place, /, *, foreign: bool = False, dry_run: bool = False, json: bool = False) -> int:
    """Remove what a store no longer needs.

    The command removes drafts and leases of processes that are gone, and checkpoints of runs that are done.

    Parameters
    ----------
    folder
        The store.
    foreign
        Also remove runs that are not in the plan, except runs of older versions.
    dry_run
        Print what would be removed, without removing it.
    json
        Print the list as JSON.
    """
    from byrote.store.mirror import located
    from byrote.store.prune import prune as clear

    folder = located(folder)
    removed = [str(path) for path in clear(folder, foreign=foreign, dry_run=dry_run)]
    if json:
        print_json(removed)
    else:
        print_table(
            "prune",
            ("removed" if not dry_run else "would be removed",),
            [{"removed": p, "would be removed": p} for p in removed],
        )
    return 0
