"""The commands, the global options, and the conversion of errors to one line and an exit code."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console

from byrote import __version__
from byrote.cli.output import as_options, fail, show_trace, shown
from byrote.cli.places import local, request_error
from byrote.own_code import described, own_trace

__all__ = ["app", "main"]

app = App(
    name="byrote",
    help="What a classifier learned by rote: memorization and neural collapse under label noise.",
    version=f"byrote {__version__}",
    version_flags=["--version"],
    default_parameter=Parameter(validator=local),
)
_COMMANDS = {
    "Run a study": {
        "run": "byrote.cli.run:run",
        "status": "byrote.cli.results:status",
        "cancel": "byrote.cli.following:cancel",
    },
    "Read the results": {
        "report": "byrote.cli.results:report",
        "claims": "byrote.cli.results:claims",
        "figures": "byrote.cli.results:figures",
        "export": "byrote.cli.export:export",
        "compare": "byrote.cli.export:compare",
        "show": "byrote.cli.export:show",
    },
    "Your own labels, code and data": {
        "audit": "byrote.cli.audit:app",
        "new": "byrote.cli.new:new",
        "list": "byrote.cli.listing:listing",
        "data": "byrote.cli.data:app",
        "theory": "byrote.cli.theory:app",
    },
    "Keep a store": {
        "compact": "byrote.cli.results:compact",
        "merge": "byrote.cli.results:merge",
        "verify": "byrote.cli.store:verify",
        "prune": "byrote.cli.store:prune",
    },
}
"""The module of each command, grouped by purpose; a module is loaded when its command is called."""
for _place, (_title, _commands) in enumerate(_COMMANDS.items()):
    _group = Group(_title, sort_key=_place)
    for _name, _target in _commands.items():
        app.command(_target, name=_name, group=_group, sort_key=list(_commands).index(_name))
_OPTIONS = Group("Options", sort_key=len(_COMMANDS))
app.register_install_completion_command(help="Make the Tab key complete commands, studies and options in this shell.")
for _name in ("--help", "--version", "--install-completion"):
    app[_name].group = _OPTIONS


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), group=_OPTIONS)] = False,
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative=(), group=_OPTIONS)] = False,
) -> int:
    """Run one command.

    Parameters
    ----------
    quiet
        Print only results and errors.
    verbose
        Log what the library does.
    """
    level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
    _log_to_standard_error(level)
    os.environ["BYROTE_QUIET"] = "1" if quiet else ""
    result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    return result if isinstance(result, int) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0: done, or stopped at a requested limit; 1: the work failed; 2: the request was wrong; 3: every
        run was trained but some diverged; 130: interrupted (Ctrl-C, SIGTERM or `byrote cancel`).
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if not tokens or tokens[0] in ("--help", "-h"):
        for name in (name for commands in _COMMANDS.values() for name in commands):
            app[name]  # loads the command, because the list of commands shows its description
    try:
        result = app.meta(
            tokens,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
            error_console=Console(stderr=True),
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        return fail(request_error(error), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    """Print why the work stopped, with the traceback if a user's own code failed; an unexpected exception is raised
    again."""
    own = bool(own_trace(error))
    show_trace(error)
    if own and error.__cause__ is None:
        return fail(described(error), 1)
    if isinstance(error, MemoryError):
        return fail(f"the command needs more memory than is available: {error}", 1)
    if not isinstance(error, (ValueError, OSError, ImportError, RuntimeError)):
        raise error
    return fail(str(error), 2 if isinstance(error, ValueError) else 1)


class _StandardError(logging.Handler):
    """Writes to the current standard error, so that messages appear above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(as_options(shown(self.format(record))) + "\n")


def _log_to_standard_error(level: int) -> None:
    handler = _StandardError(level)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("byrote")
    logger.handlers = [one for one in logger.handlers if not isinstance(one, _StandardError)] + [handler]
    logger.setLevel(logging.INFO)
