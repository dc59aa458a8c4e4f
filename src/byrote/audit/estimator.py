"""`LabelAudit`: the audit as a scikit-learn estimator. scikit-learn itself is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from byrote.audit.held_out import TRAINING
from byrote.audit.inputs import class_numbers, features_of, group_numbers, is_dataset, is_frame, like
from byrote.audit.plan import Plan
from byrote.audit.run import audit_samples
from byrote.audit.settle import Settled

if TYPE_CHECKING:
    from byrote.audit.result import Audit

try:
    from sklearn.base import BaseEstimator as _Base
    from sklearn.utils.validation import column_or_1d, validate_data
except ImportError:  # pragma: no cover - the estimator then cannot be cloned or used in pipelines

    class _Base:  # type: ignore[no-redef]
        """A stand-in for scikit-learn's base class if scikit-learn is not installed."""

    validate_data = column_or_1d = None

__all__ = ["LabelAudit"]


class LabelAudit(_Base):  # type: ignore[misc]
    """Estimates how many labels are wrong, lists the suspect labels, and states how certain the estimate is.

    Each of two networks learns half of the samples and judges the other half, which costs little more than one training
    run. No interval from labels alone is right for every kind of noise. So `rate_` holds under a stated premise, or its
    verdict is "cannot tell". `plan` and `settle` estimate the rate under any noise, from about 200 samples that a
    person checks.

    Args:
        network: None or "mlp", "linear" (for embeddings), "knn" (nothing is trained), a byrote network, or an
            `nn.Module` that ends in an `nn.Linear` with one output per class.
        folds: k, at least 2.
        epochs: the number of training epochs, at least 1.
        pilot: whether to compare three losses on the held-out given labels first, which triples the training.
        random_state: an integer seed; equal seeds give equal audits.

    Attributes:
        rate_: .value, .low, .high, .premise, .verdict, .reason, .help
        transition_: .matrix (rows true, columns given), .low, .high, .verdict, .premise
        suspects_: a frame of the same kind as X with one row per sample, in the same order, and the columns given,
            suggested, score, probability, suspect, reason.
        audit_: the complete `Audit`, which can be saved.
        classes_: the names of the classes.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(300) % 3
    >>> X = np.eye(3)[y] * 4 + rng.normal(size=(300, 3))
    >>> wrong = rng.random(300) < .1
    >>> audit = LabelAudit(epochs=5).fit(X, np.where(wrong, (y + 1) % 3, y))
    >>> bool(audit.suspects_["score"][wrong].mean() > audit.suspects_["score"][~wrong].mean())
    True
    """

    def __init__(
        self,
        network: Any = None,
        folds: int = 2,
        epochs: int = TRAINING.epochs,
        pilot: bool = False,
        random_state: int | None = 0,
    ) -> None:
        self.network = network
        self.folds = folds
        self.epochs = epochs
        self.pilot = pilot
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Audit the labels.

        Args:
            X: features or embeddings (n, d), images (n, H, W), (n, C, H, W) or (n, H, W, C), or a frame.
            y: labels (n,) in any encoding, or, if X is a frame, the name of the label column.
            groups: (n,) the group of each sample; samples of one group are never split between the halves.

        Raises:
            ValueError, TypeError: input that does not fit.
        """
        named = y if isinstance(y, str) else None
        if named is None and validate_data is not None and not is_dataset(X):
            checked = validate_data(self, X, y, dtype="numeric", ensure_min_samples=4, allow_nd=True, y_numeric=False)
            x, _, _ = features_of(checked[0], None)
            column = np.ndim(checked[1]) == 2 and np.shape(checked[1])[1] == 1
            y = column_or_1d(checked[1], warn=True) if column else checked[1]
            native = X if is_frame(X) else None
        else:
            x, labels_in_x, native = features_of(X, named)
            y = y if named is None else labels_in_x
            self.n_features_in_ = int(x.shape[1])
        labels, names = class_numbers(y)
        if len(labels) != len(x):
            raise ValueError(f"expected equal lengths, got {len(x)} samples and {len(labels)} labels")
        self.audit_: Audit = audit_samples(
            x,
            labels,
            names,
            groups=group_numbers(groups, len(x)),
            network=self.network,
            folds=self.folds,
            epochs=self.epochs,
            pilot=self.pilot,
            seed=_seed(self.random_state),
        )
        self.rate_ = self.audit_.rate
        self.transition_ = self.audit_.transition
        self.classes_ = np.array(names)
        columns = self.audit_.samples
        texts = {name: self.classes_[columns[name]] for name in ("given", "suggested")}
        rest = {name: columns[name] for name in ("score", "probability", "suspect", "reason")}
        self.suspects_ = like(native, {**texts, **rest})
        return self

    def plan(
        self,
        half_width: float | None = None,
        checks: int | None = None,
        *,
        twice: int | None = None,
        seed: int = 0,
        confidence: float = 0.95,
    ) -> Plan:
        """Draw the samples to check; see `Audit.plan`."""
        return self._fitted().plan(half_width, checks, twice=twice, seed=seed, confidence=confidence)

    def settle(self, plan: Plan, answers: Any) -> Settled:
        """Estimate shares from the answers; see `Audit.settle`."""
        return self._fitted().settle(plan, answers)

    def _fitted(self) -> Audit:
        if not hasattr(self, "audit_"):
            raise ValueError("this LabelAudit is not fitted yet: call fit(X, y) first")
        return self.audit_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _seed(random_state: Any) -> int:
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state)
