"""Export an audit to formats that other tools read. The user's own files are not changed."""

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byrote.audit.result import Audit
from byrote.files import atomic, on_this_machine, write_atomic
from byrote.store.parquet import write_parquet

__all__ = ["FORMATS", "export"]

_COLUMNS = ("row", "id", "given", "suggested", "score", "probability", "suspect", "reason")


def export(audit: Audit, target: Path, form: str, corrected: Mapping[int, str] | None = None) -> Path:
    """Write the audit in one of the forms for other tools.

    Args:
        audit: the audit to export.
        target: a file ("csv", "parquet", "labelstudio") or a new folder ("imagefolder"). "labelstudio" writes a list of
            tasks for the suspects only, the most likely wrong first, with the suggested label as the prediction.
        form: one of `FORMATS`.
        corrected: by row, the labels that a person gave. "imagefolder" copies each image into the folder of its
            corrected label, or of its given label if it was not corrected. A network's prediction alone never changes a
            label.

    Returns:
        The target.

    Raises:
        ValueError: an unknown form, a folder that is not empty, or an audit that was not made from images.
    """
    if form not in _WRITERS:
        raise ValueError(f"export needs one of {', '.join(FORMATS)}, got {form!r}")
    _WRITERS[form](audit, on_this_machine(target, "an export"), corrected or {})
    return target


def _csv(audit: Audit, target: Path, corrected: Mapping[int, str]) -> None:
    columns = _texts(audit)
    with atomic(target) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(zip(*(columns[name].tolist() for name in _COLUMNS), strict=True))


def _parquet(audit: Audit, target: Path, corrected: Mapping[int, str]) -> None:
    with atomic(target) as path:
        write_parquet(path, _texts(audit))


def _labelstudio(audit: Audit, target: Path, corrected: Mapping[int, str]) -> None:
    columns = _texts(audit)
    tasks = [_task(audit, columns, row) for row in audit.ranked.tolist()]
    write_atomic(target, json.dumps(tasks, indent=1) + "\n")


def _texts(audit: Audit) -> dict[str, np.ndarray[Any, Any]]:
    """The columns, with names of classes instead of class numbers."""
    names = np.array(audit.names, dtype=object)
    columns = {name: audit.samples[name] for name in _COLUMNS}
    return columns | {name: names[audit.samples[name]] for name in ("given", "suggested")}


def _task(audit: Audit, columns: Mapping[str, np.ndarray[Any, Any]], row: int) -> dict[str, Any]:
    """One Label Studio task: the data to show, and the suggested label as a prediction."""
    shown = "image" if audit.about.get("source", {}).get("kind") == "images" else "text"
    value = {"choices": [str(columns["suggested"][row])]}
    result = [{"from_name": "label", "to_name": shown, "type": "choices", "value": value}]
    return {
        "data": {shown: str(columns["id"][row]), "row": row, "given": str(columns["given"][row])},
        "predictions": [{"model_version": "byrote audit", "score": float(columns["score"][row]), "result": result}],
    }


def _imagefolder(audit: Audit, target: Path, corrected: Mapping[int, str]) -> None:
    source = audit.about.get("source", {})
    if source.get("kind") != "images":
        raise ValueError("an image folder can be written only from an audit of an image folder")
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty: name a new folder, because nothing is overwritten")
    home = Path(source["path"])
    for row, name in enumerate(audit.samples["id"].tolist()):
        label = corrected.get(row, audit.names[int(audit.samples["given"][row])])
        place = target / label / name.replace("/", "__")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / name, place)


_WRITERS: dict[str, Callable[[Audit, Path, Mapping[int, str]], object]] = {
    "csv": _csv,
    "parquet": _parquet,
    "labelstudio": _labelstudio,
    "imagefolder": _imagefolder,
}
FORMATS = tuple(_WRITERS)
