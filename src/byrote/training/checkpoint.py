"""Checkpoints: a cohort in the middle of its training, run by run, in one file that is whole or absent.

Every run's part is separate, so a cohort that lost some members (they were committed before a kill) goes on with the
others. What is restored is everything the next epoch depends on: weights and running statistics, the optimiser's
memory, the order generator, the memory of a stateful loss, and the notes taken so far.
"""

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from byrote.engine import EnsembleOptimizer
from byrote.files import write_atomic
from byrote.measures.dynamics import SampleHistory
from byrote.training.cohort import Cohort
from byrote.training.record import Record

__all__ = ["Checkpoint"]


def _part(cohort: Cohort, optimizer: EnsembleOptimizer, record: Record, s: int) -> dict[str, Any]:
    """Everything of run s."""
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
    """Where and how often a cohort is saved.

    Args:
        path: the file.
        seconds: least time between two saves; 0 saves after every epoch.
    """

    path: Path
    seconds: float = 30.0
    _saved: float = field(default_factory=time.monotonic)

    def save(self, cohort: Cohort, optimizer: EnsembleOptimizer, records: list[Record], epoch: int) -> None:
        """Save after `epoch` epochs, if it is time."""
        if time.monotonic() - self._saved < self.seconds:
            return
        parts = {
            experiment.key: _part(cohort, optimizer, record, s)
            for s, (experiment, record) in enumerate(zip(cohort.experiments, records, strict=True))
        }
        buffer = io.BytesIO()
        torch.save({"epoch": epoch, "runs": parts}, buffer)
        write_atomic(self.path, buffer.getvalue())
        self._saved = time.monotonic()

    def restore(self, cohort: Cohort, optimizer: EnsembleOptimizer, records: list[Record]) -> int:
        """Set the cohort to where it was saved; returns the epochs done, 0 where there is nothing to go on from."""
        try:
            saved = torch.load(self.path, map_location=cohort.device, weights_only=True)
            parts = [saved["runs"][experiment.key] for experiment in cohort.experiments]
        except FileNotFoundError:
            return 0
        except Exception:  # a damaged or foreign file: training starts anew, nothing is lost but time
            self.discard()
            return 0
        for s, (part, record) in enumerate(zip(parts, records, strict=True)):
            part["order"], part["masks"] = part["order"].cpu(), part["masks"].cpu()
            _restore(part, cohort, optimizer, record, s)
        return int(saved["epoch"])

    def discard(self) -> None:
        """The cohort is finished: remove the file."""
        self.path.unlink(missing_ok=True)
