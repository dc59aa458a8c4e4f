"""`byrote audit`: how many labels are wrong, which ones, and with what certainty; `plan`, `check`, `settle`,
`export`."""

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from byrote.cli.output import print_json, print_table, quiet, say

if TYPE_CHECKING:
    from byrote.audit import Audit
    from byrote.audit.sources import Source

__all__ = ["app"]

app = App(name="audit", help="How many of your own labels are wrong, which ones, and with what certainty.")
_SHOWN = 20  # the most suspects in the table


@app.default
def audit(
    path: Path | None = None,
    /,
    *,
    label: str | None = None,
    embeddings: Path | None = None,
    probabilities: Path | None = None,
    labels: Path | None = None,
    folds: str = "2",
    groups: str | None = None,
    network: str = "mlp",
    epochs: int | None = None,
    resolution: int | None = None,
    pilot: bool = False,
    seed: int = 0,
    device: str = "cpu",
    out: Path = Path("audit"),
    json: bool = False,
) -> int:
    """Audit labels and write the result into a folder.

    Parameters
    ----------
    path
        A folder of images, one folder per class; or a CSV or Parquet table.
    label
        The column with the labels, in the table or in the file that --labels names.
    embeddings
        An .npy file of features (n, d), one row per sample.
    probabilities
        An .npy file of probabilities (n, N) by a model that was not trained on these labels; then no network is
        trained.
    labels
        The labels of embeddings or probabilities: .npy, .csv, .parquet, or a text file with one label per line.
    folds
        The number of folds, with one network each; with --probabilities, a file that names the model behind each row.
    groups
        A column of the table, or a file, with a group for each sample; the samples of one group always share a fold.
    network
        mlp, linear (for embeddings), knn (no network is trained), or your own module:callable.
    epochs
        The number of training epochs.
    resolution
        The side in pixels to which images are averaged down.
    pilot
        Compare three losses on the held-out given labels; training takes three times as long.
    seed
        The seed of folds, weights and order.
    device
        Where to train: cpu or cuda.
    out
        The folder of the results.
    json
        Print JSON.
    """
    source = _source(path, label, embeddings, probabilities, labels, groups, resolution)
    for note in source.notes:
        say(note)
    if probabilities is not None:
        from byrote.audit import audit_probabilities
        from byrote.audit.inputs import group_numbers
        from byrote.audit.sources import column_file

        which = None if folds == "2" else group_numbers(column_file(Path(folds)), len(source.labels))
        result = audit_probabilities(source.x, source.labels, source.names, folds=which, seed=seed, ids=source.ids)
    else:
        result = _trained(source, folds, network, epochs, pilot, seed, device, out)
    result = result.with_about(source=source.about, notes=list(source.notes))
    result.save(out)
    _write_page(out)
    say(f"wrote {out}; next: byrote audit plan {out} --checks 200")
    return _shown(result, json)


def _trained(
    source: "Source", folds: str, network: str, epochs: int | None, pilot: bool, seed: int, device: str, out: Path
) -> "Audit":
    from byrote.audit import audit_samples
    from byrote.audit.held_out import TRAINING
    from byrote.networks import Own

    if not folds.isdigit():
        raise ValueError(f"--folds must be a whole number if a network is trained, got {folds!r}")
    with _Bar() as bar:
        return audit_samples(
            source.x,
            source.labels,
            source.names,
            groups=source.groups,
            network=Own(factory=network) if ":" in network else network,
            folds=int(folds),
            epochs=TRAINING.epochs if epochs is None else epochs,
            pilot=pilot,
            seed=seed,
            device=device,
            ids=source.ids,
            keep=out,
            on_epoch=bar.report,
        )


def _source(
    path: Path | None,
    label: str | None,
    embeddings: Path | None,
    probabilities: Path | None,
    labels: Path | None,
    groups: str | None,
    resolution: int | None,
) -> "Source":
    """The samples to audit, from exactly one of a path, embeddings and probabilities."""
    from byrote.audit import sources

    named = [value for value in (path, embeddings, probabilities) if value is not None]
    if len(named) != 1:
        raise ValueError(
            f"give exactly one of a folder or table, --embeddings, and --probabilities, got {len(named)} of them"
        )
    if path is not None and path.is_dir():
        return sources.image_folder(path, resolution)
    if path is not None:
        if label is None:
            raise ValueError(f"--label must name the column with the labels in {path}")
        return sources.table_file(path, label, groups)
    if labels is None:
        raise ValueError("--labels must name the file with the labels of these samples")
    if embeddings is not None:
        return sources.array_file(embeddings, labels, label, None if groups is None else Path(groups))
    return sources.probability_file(named[0], labels, label)


def _shown(result: "Audit", as_json: bool) -> int:
    rate = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(result.rate).items()}
    if as_json:
        pairs = [{k: None if v != v else v for k, v in asdict(pair).items()} for pair in result.confused]
        print_json(
            {"samples": len(result), "classes": list(result.names), "rate": rate, "suspects": len(result.ranked)}
            | {"confused": pairs, "advice": list(result.advice), "about": dict(result.about)}
        )
        return 0
    for sentence in result.advice:
        say(sentence)
    say(f"premise: {result.rate.premise}")
    names = ("row", "id", "given", "suggested", "score", "probability", "reason")
    rows = [{name: result.samples[name][row].item() if hasattr(result.samples[name][row], "item") else
             result.samples[name][row] for name in names} for row in result.ranked[:_SHOWN]]  # fmt: skip
    for row in rows:
        row |= {name: result.names[row[name]] for name in ("given", "suggested")}
    print_table("suspects, those most likely to be wrong first", names, rows)
    return 0


@app.command
def plan(
    folder: Path,
    /,
    *,
    half_width: Annotated[float | None, Parameter(name="--half-width")] = None,
    checks: int | None = None,
    twice: int | None = None,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Draw the samples to check; write plan.json, and answers.csv to fill in.

    Parameters
    ----------
    folder
        The folder that `byrote audit --out` wrote.
    half_width
        The half-width that the confidence interval should have; give either this option or --checks.
    checks
        The number of looks (checks of a sample), including second looks at the same sample.
    twice
        How many of the looks are second looks, which show how often the reviewer errs (default: a tenth).
    seed
        The seed of the draw.
    json
        Print JSON.
    """
    from byrote.audit.folder import PLAN, SHEET, draw_plan

    drawn = draw_plan(folder, half_width, checks, twice=twice, seed=seed)
    say(
        f"{drawn.looks} looks, {len(drawn.twice)} of them second looks: expect a half-width of about "
        f"{drawn.half_width:.3f}"
    )
    say(
        f"check them with `byrote audit check {folder}`, or write y, n, unsure or a class as the answer in each row of "
        f"{folder / SHEET}, in order"
    )
    strata = [
        {"stratum": s.name, "samples": s.size, "checks": s.checks, "likely wrong": s.likely} for s in drawn.strata
    ]
    if json:
        print_json({"looks": drawn.looks, "half_width": drawn.half_width, "strata": strata, "plan": str(folder / PLAN)})
    else:
        print_table("plan", list(strata[0]), strata)
    return 0


@app.command
def check(
    folder: Path,
    /,
    *,
    port: int = 0,
    browser: bool = True,
    idle: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 60,
    half_width: Annotated[float | None, Parameter(name="--half-width")] = None,
    checks: int | None = None,
    twice: int | None = None,
    seed: int = 0,
) -> int:
    """Open a page in the browser where a person checks the planned samples one by one with the keyboard.

    Every answer is saved in FOLDER/answers.csv before the next sample is shown, so that the same command continues
    after a stop. When all samples have an answer, the results are computed as by `byrote audit settle`.

    Parameters
    ----------
    folder
        The folder of the audit.
    port
        The port of the loopback address (default: a free port).
    browser
        Open the page in the browser.
    idle
        Minutes without an answer after which the command ends.
    half_width
        Draw a plan first, for a confidence interval of this half-width; give either this option or --checks.
    checks
        Draw a plan first, with this many looks (checks of a sample).
    twice
        How many of the looks are second looks at the same sample (default: a tenth).
    seed
        The seed of the draw.
    """
    from byrote.audit.folder import PLAN, draw_plan
    from byrote.desk import serve

    if checks is not None or half_width is not None:
        draw_plan(folder, half_width, checks, twice=twice, seed=seed)
    elif folder.is_dir() and not (folder / PLAN).exists():
        raise ValueError(f"{folder} has no plan yet: `byrote audit plan {folder} --checks 200` draws one")
    ended = serve(folder, port=port, browser=browser, idle=60 * idle, on_start=_at)
    if ended.answered == ended.looks:
        return settle(folder)
    say(f"{ended.answered} of {ended.looks} looks are answered; to continue: byrote audit check {folder}")
    return 0


def _at(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    say("the page is open on this machine only; Ctrl-C ends the command, and every answer is kept")


@app.command
def settle(folder: Path, answers: Path | None = None, /, *, json: bool = False) -> int:
    """From the answers, estimate the rate of wrong labels (in total and per class) and the suspects' precision and
    recall.

    The results are also written to FOLDER/settled.json.

    Parameters
    ----------
    folder
        The folder of the audit, which contains plan.json.
    answers
        A CSV file with the columns row and answer (default: FOLDER/answers.csv). Rows without an answer count as not
        yet checked.
    json
        Print JSON.
    """
    from byrote.audit.folder import settle_folder

    settled, outcome = settle_folder(folder, answers)
    _write_page(folder)
    if json:
        print_json(outcome)
        return 0
    say(f"{settled.verdict}: {settled.checked} of {settled.planned} samples are checked, {settled.twice} of them twice")
    say(f"premise: {settled.premise}")
    print_table(settled.verdict, ("share", "value", "low", "high"), outcome["shares"])
    return 0


@app.command
def export(folder: Path, /, *, to: str, out: Path | None = None, answers: Path | None = None) -> int:
    """Export the audit for other tools; only labels that a person corrected are changed.

    Parameters
    ----------
    folder
        The folder of the audit.
    to
        csv, parquet, labelstudio, or imagefolder (copies of the images in folders by their corrected labels).
    out
        The file or folder to write (default: in FOLDER).
    answers
        A CSV file with the columns row and answer, which has the corrected labels for imagefolder.
    """
    from byrote.audit import Audit
    from byrote.audit.answers import read_answers
    from byrote.audit.export import FORMATS
    from byrote.audit.export import export as write
    from byrote.checks import one_of

    one_of("--to", to, FORMATS)
    result = Audit.load(folder)
    name = {"csv": "labels.csv", "parquet": "labels.parquet", "labelstudio": "labelstudio.json"}.get(to, "cleaned")
    corrected = {row: answer for row, answer in (read_answers(answers) if answers else []) if answer in result.names}
    say(f"wrote {write(result, out or folder / name, to, corrected)}")
    _write_page(folder)
    return 0


def _write_page(folder: Path) -> None:
    """Write the page of the audit; if the `report` extra is not installed, print that no page was written."""
    from byrote.report.audited import write_audit_page

    try:
        say(f"wrote {write_audit_page(folder)}")
    except ModuleNotFoundError as error:
        say(f"no page was written: {error}")


class _Bar:
    """A progress bar of epochs on a terminal; nothing if standard error is not a terminal, or under `-q`."""

    def __init__(self) -> None:
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = sys.stderr.isatty() and not quiet()
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not shown)
        self._task = self._progress.add_task("training", total=None)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, epoch: int, epochs: int) -> None:
        self._progress.update(self._task, completed=epoch, total=epochs)
