"""Checkpoints: a cohort in the middle of its training, run by run, in one file that is complete or absent.

Every run is saved separately. So if some members were committed before the process was killed, the cohort continues
with the others. Everything that the next epoch depends on is restored: weights and running statistics, the state of the
optimizer, the order generator, the state of a stateful loss, and the readings so far.

A file has three parts: a line with the SHA-256 of the rest, a line of JSON (the runs, the version of the code, and the
arithmetic), and tensors. Training resumes from the file only if everything in it matches: checksum, code, arithmetic,
and the names, shapes and types of every state. Otherwise the file is discarded, with one line in the log, and training
starts from the beginning.
"""

import hashlib
import io
import json
import logging
import time
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from byrote.engine import EnsembleOptimizer, numerics
from byrote.files import write_atomic
from byrote.measures.dynamics import SampleHistory
from byrote.training.cohort import Cohort
from byrote.training.record import Record

__all__ = ["Checkpoint", "code_version"]

log = logging.getLogger("byrote")

_MEMORY = {"momentum_buffer", "exp_avg", "exp_avg_sq", "step"}  # the optimizers' state of a parameter
_SCALARS = (bool, int, float, str, type(None))


@lru_cache(maxsize=1)
def code_version() -> str:
    """A digest of byrote's own sources and the version of torch; training resumes only if both are the same."""
    house = Path(__file__).resolve().parents[1]
    state = hashlib.sha256()
    for source in sorted(path for path in house.rglob("*") if path.suffix in (".py", ".cpp", ".hpp")):
        state.update(f"{source.relative_to(house).as_posix()}\0".encode() + source.read_bytes())
    return f"{state.hexdigest()[:16]} torch {torch.__version__}"


def _part(cohort: Cohort, optimizer: EnsembleOptimizer, record: Record, s: int) -> dict[str, Any]:
    """Everything that is saved of run s."""
    module, runs = next((module, runs) for module, runs in cohort.losses if runs.start <= s < runs.stop)
    return {
        "network": {name: value[s].clone() for name, value in cohort.network.state_dict().items()},
        "optimizer": optimizer.state_of(s),
        "order": cohort.order[s].get_state(),
        "masks": cohort.masks[s].get_state(),
        "loss": {name: value[s - runs.start].clone() for name, value in module.state_dict().items()},
        "rows": record.rows,
        "samples": None if record.samples is None else dict(vars(record.samples)),
        "error": record.error,
    }


def _fits(part: Any, cohort: Cohort, optimizer: EnsembleOptimizer, s: int, epoch: int) -> str:
    """Why a saved part cannot belong to run s after this many epochs; empty if it can."""
    wanted = _part(cohort, optimizer, Record(), s)
    if not isinstance(part, dict) or part.keys() != wanted.keys():
        return "its parts have different names"
    for name in ("network", "loss"):
        if _shapes(part[name]) != _shapes(wanted[name]):
            return f"its {name} has different names, shapes or types"
    for name in ("order", "masks"):
        if _shapes({name: part[name]}) != _shapes({name: wanted[name]}):
            return f"its state of the {name} generator has a different size"
        torch.Generator().set_state(part[name].cpu())  # this raises an exception for an invalid state
    if not optimizer.fits(s, part["optimizer"], _MEMORY):
        return "its optimizer has different names, shapes or types"
    if not isinstance(part["error"], str) or not _are_rows(part["rows"], epoch):
        return "its history does not match its epoch"
    if part["samples"] is not None and not _is_history(part["samples"], len(cohort.train.labels)):
        return "its record covers different samples"
    return ""


def _shapes(states: Any) -> Any:
    """The shape and type of each tensor by name; None if anything else is stored there."""
    if not isinstance(states, dict) or not all(isinstance(value, Tensor) for value in states.values()):
        return None
    return {name: (tuple(value.shape), value.dtype) for name, value in states.items()}


def _are_rows(rows: Any, epoch: int) -> bool:
    """Whether these are readings with the same names at increasing epochs, none of them after `epoch`."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        return False
    if not all(isinstance(value, _SCALARS) for row in rows for value in row.values()):
        return False
    epochs = [row.get("epoch") for row in rows]
    return all(isinstance(one, int) and 0 < one <= epoch for one in epochs) and epochs == sorted(set(epochs))


def _is_history(samples: Any, count: int) -> bool:
    names = {one.name: torch.float64 if one.name.startswith("margin") else torch.int64 for one in fields(SampleHistory)}
    return bool(_shapes(samples) == {name: ((count,), dtype) for name, dtype in names.items()})


def _restore(part: dict[str, Any], cohort: Cohort, optimizer: EnsembleOptimizer, record: Record, s: int) -> None:
    module, runs = next((module, runs) for module, runs in cohort.losses if runs.start <= s < runs.stop)
    with torch.no_grad():
        for name, value in cohort.network.state_dict().items():
            value[s].copy_(part["network"][name])
        for name, value in module.state_dict().items():
            value[s - runs.start].copy_(part["loss"][name])
    optimizer.restore(s, part["optimizer"])
    cohort.order[s].set_state(part["order"])
    cohort.masks[s].set_state(part["masks"])
    record.rows, record.error = part["rows"], part["error"]
    record.samples = None if part["samples"] is None else SampleHistory(**part["samples"])


@dataclass
class Checkpoint:
    """The file of a cohort's checkpoint, and how often it is saved.

    Args:
        path: the file.
        seconds: the shortest time between two saves; 0 saves after every epoch.
    """

    path: Path
    seconds: float = 30.0
    _saved: float = field(default_factory=time.monotonic)

    def save(self, cohort: Cohort, optimizer: EnsembleOptimizer, records: list[Record], epoch: int) -> None:
        """Save after `epoch` epochs, if at least `seconds` have passed since the last save.

        Raises:
            OSError: the folder is gone, or cannot be written to.
        """
        if time.monotonic() - self._saved < self.seconds:
            return
        parts = {
            experiment.key: _part(cohort, optimizer, record, s)
            for s, (experiment, record) in enumerate(zip(cohort.experiments, records, strict=True))
        }
        buffer = io.BytesIO()
        torch.save({"epoch": epoch, "runs": parts}, buffer)
        about = {"keys": sorted(parts), "code": code_version(), "numerics": numerics(cohort.network)}
        rest = json.dumps(about).encode() + b"\n" + buffer.getvalue()
        write_atomic(self.path, hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest, parents=False)
        self._saved = time.monotonic()

    def restore(self, cohort: Cohort, optimizer: EnsembleOptimizer, records: list[Record]) -> int:
        """Restore the cohort from the checkpoint; returns the epochs done, or 0 if there is no usable checkpoint."""
        try:
            epoch, parts = self._read(cohort)
            for s, part in enumerate(parts):
                reason = _fits(part, cohort, optimizer, s, epoch)
                if reason:
                    raise ValueError(reason)
        except FileNotFoundError:
            return 0
        except Exception as error:  # after any error, training starts again, and only time is lost
            line = (str(error) or repr(error)).splitlines()[0]
            log.warning("the checkpoint %s cannot be used and is discarded: %s", self.path, line)
            self.discard()
            return 0
        for s, (part, record) in enumerate(zip(parts, records, strict=True)):
            part["order"], part["masks"] = part["order"].cpu(), part["masks"].cpu()
            _restore(part, cohort, optimizer, record, s)
        return epoch

    def _read(self, cohort: Cohort) -> tuple[int, list[dict[str, Any]]]:
        """The epochs done, and the part of each run of the cohort.

        Raises:
            ValueError: the file is damaged, or was made with different code, different arithmetic, or for another
                cohort.
        """
        digest, _, rest = self.path.read_bytes().partition(b"\n")
        if hashlib.sha256(rest).hexdigest().encode() != digest:
            raise ValueError("its checksum differs")
        line, _, tensors = rest.partition(b"\n")
        about = json.loads(line)
        for name, mine in (("code", code_version()), ("numerics", numerics(cohort.network))):
            if about[name] != mine:
                raise ValueError(f"it was made with a different value of {name} ({about[name]}, here {mine})")
        saved = torch.load(io.BytesIO(tensors), map_location=cohort.device, weights_only=True)
        epoch, last = saved["epoch"], cohort.experiments[0].training.epochs
        if not isinstance(epoch, int) or not 0 < epoch < last:
            raise ValueError(f"it was saved after epoch {epoch} of {last}")
        missing = [experiment.key for experiment in cohort.experiments if experiment.key not in saved["runs"]]
        if missing:
            raise ValueError(f"it does not contain run {missing[0]}")
        return epoch, [saved["runs"][experiment.key] for experiment in cohort.experiments]

    def discard(self) -> None:
        """Remove the file, because the cohort is finished."""
        self.path.unlink(missing_ok=True)
