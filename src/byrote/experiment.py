"""An `Experiment` is the complete specification of one run.

The key of an experiment is a digest of every field that changes its result, defaults included, but not of the device,
the folder or the number of workers. Two studies that contain the same experiment share its run.
"""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from byrote.component import Spec
from byrote.contents import contents_of
from byrote.data import Dataset
from byrote.identity import run_key
from byrote.losses import CrossEntropy, Loss
from byrote.networks import MLP, Network
from byrote.noise import Clean, Noise
from byrote.recipe import Training

if TYPE_CHECKING:
    from byrote.training import Run

__all__ = ["Experiment", "stream"]


def stream(seed: int, purpose: str) -> torch.Generator:
    """The random stream of a run for one purpose ("noise", "weights", "order"): a CPU generator.

    Runs with the same seed share their streams even if their losses differ, so differences between losses are paired.
    """
    number = hashlib.sha256(f"byrote/{purpose}/{seed}".encode()).digest()[:8]
    return torch.Generator().manual_seed(int.from_bytes(number, "big") >> 1)


class Experiment(Spec):
    """One run: data, noise, loss, network, training settings and a seed.

    Args:
        data: the data set and its preparation.
        noise: how the training labels are corrupted; `noise.Clean()` leaves them unchanged.
        loss: the function that is minimized.
        network: the architecture.
        training: epochs, batch size, optimizer, schedule, precision.
        seed: the seed for noise, initial weights and batch order.
        noise_seed: a different seed for the noise of training and held-out labels; None: `seed`.
        split_seed: the seed for a new split of all samples into training and test samples, with as many samples of each
            class in each split as before; None: the data set's own splits.
        start: a loss with which the weights are trained first, with the same recipe and on the same labels; then the
            optimizer is reset and training continues with `loss`. Only this second phase is measured. None: training
            starts from scratch.

    >>> from byrote import data, losses, networks, noise
    >>> from byrote.recipe import Training
    >>> e = Experiment(data.FashionMNISTSubset(classes=(0, 1), per_class=8, test_per_class=4), noise.Uniform(.2),
    ...                losses.LabelSmoothing(.1), networks.MLP(depth=2, width=8), Training(epochs=1))
    >>> len(e.key)
    16
    """

    data: Dataset
    noise: Noise = Clean()
    loss: Loss = CrossEntropy()
    network: Network = MLP()
    training: Training = Training()
    seed: int = Field(default=0, ge=0)
    noise_seed: int | None = Field(default=None, ge=0)
    split_seed: int | None = Field(default=None, ge=0)
    start: Loss | None = None

    @cached_property
    def contents(self) -> dict[str, str]:
        """The digest of each file and of each of the user's modules that the spec names; see `byrote.identity`.

        Files that are not on this machine have no entry, and neither do modules without a source file, such as an
        interactive session.
        """
        return dict(contents_of(self, {}))

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that identify the run by its content."""
        return run_key(self.spec(), self.contents)

    @property
    def num_outputs(self) -> int:
        """The number of outputs of the network: N, or 2N with latent-class noise."""
        return self.noise.num_outputs(self.data.num_classes)

    def generator(self, purpose: str) -> torch.Generator:
        """See `stream`; the purposes "noise" and "held-out noise" draw from `noise_seed` if it is given."""
        apart = purpose in ("noise", "held-out noise") and self.noise_seed is not None
        return stream(self.noise_seed if apart and self.noise_seed is not None else self.seed, purpose)

    def run(self, device: str = "cpu", *, keep_weights: bool = False, progress: bool = False) -> "Run":
        """Train and measure this single experiment.

        Args:
            device: "cpu", "cuda", ...; never part of the key.
            keep_weights: keep the trained weights, from which `run.model()` builds the trained network.
            progress: show the epochs on standard error: a bar on a terminal, elsewhere at most one line per second.

        Returns:
            A `byrote.training.Run`.

        >>> from byrote import data
        >>> small = data.FashionMNISTSubset(classes=(0, 1), per_class=8, test_per_class=4)
        >>> run = Experiment(small, training=Training(epochs=2)).run(keep_weights=True)
        >>> run.history["epoch"], run.model().head
        (array([1, 2]), Linear(in_features=2, out_features=2, bias=True))
        """
        # For convenience, the only import from a higher layer (listed in tests/test_layers.py); other code calls
        # training.
        from byrote.training import shown, train

        with shown(self, progress) as on_epoch:
            (run,) = train([self], device, on_epoch, keep_weights)
        return run
