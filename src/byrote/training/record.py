"""The record of one run while its cohort is trained, and the result made from it."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from byrote.engine import numerics
from byrote.measures.dynamics import SampleHistory
from byrote.measures.snapshot import Snapshot, read
from byrote.table import Table
from byrote.training.cohort import Cohort
from byrote.training.evaluate import features_of
from byrote.training.facts import facts_of
from byrote.training.run import Run

__all__ = ["Record"]

_SAMPLES = ("true", "observed", "learned_epoch", "forgotten", "margin", "aum")


@dataclass
class Record:
    """The readings so far, the history of each sample, and the reason if the run failed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: SampleHistory | None = None
    error: str = ""
    last: Snapshot | None = None

    def note(self, snapshot: Snapshot, epoch: int, loss: float) -> dict[str, Any] | None:
        """Add one evaluation to the history; a snapshot that is not finite ends the run."""
        if not bool(snapshot.features.isfinite().all() and snapshot.logits.isfinite().all()):
            self.error = f"diverged in epoch {epoch}: features or logits are not finite; lower the learning rate"
            return None
        row = {"epoch": epoch, "train_loss": loss, **read(snapshot)}
        samples = self.samples or SampleHistory.start(snapshot.true, snapshot.observed)
        self.samples = samples.after(epoch, snapshot.logits)
        self.rows.append(row)
        self.last = snapshot
        return row

    def finish(self, cohort: Cohort, s: int, seconds: dict[str, float], keep_weights: bool) -> Run:
        """The finished run. A failed run has only its history."""
        experiment, last = cohort.experiments[s], None if self.error else self.last
        samples, features = Table({}), Table({})
        weights: dict[str, NDArray[Any]] = {}
        if last is not None and self.samples is not None:
            columns = {name: getattr(self.samples, name).cpu().numpy() for name in _SAMPLES}
            samples = Table({"id": cohort.train.ids.numpy(), **columns})
            features = features_of(last, cohort.train.ids, cohort.test.ids)
        if keep_weights and not self.error:
            states = cohort.network.run_module(s).state_dict()
            weights = {name: value.detach().cpu().numpy() for name, value in states.items()}
        return Run(
            experiment=experiment,
            status="failed" if self.error else "done",
            error=self.error,
            history=Table.of(self.rows),
            samples=samples,
            features=features,
            facts=facts_of(experiment, len(cohort.train.labels), len(cohort.test.labels), cohort.feature_width),
            weights=weights,
            seconds={"cohort_size": float(cohort.size), **{name: round(t, 4) for name, t in seconds.items()}},
            numerics=numerics(cohort.network),
        )
