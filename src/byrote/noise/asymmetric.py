"""Noise that depends on the true class: flips between pairs of classes, given or random matrices, per-class rates."""

from typing import Annotated

import torch
from pydantic import Field, model_validator

from byrote.noise.base import TransitionNoise, at_least_two, transition_matrix

__all__ = ["Asymmetric", "ClassConditional", "PairFlip", "PerClass", "RandomMatrix", "random_transition"]

Class = Annotated[int, Field(ge=0)]
_THIRD = 1 / 3


class PairFlip(TransitionNoise):
    """With probability eta the label changes to the next class, y -> y + 1 mod N.

    T[n, n] = 1 - eta, T[n, n+1] = eta. This is a crude model of mistakes between similar classes (Han et al.,
    Co-teaching, NeurIPS 2018). Above eta = .5 the wrong class is the majority.

    Args:
        rate: eta, in [0, 1), the expected share of corrupted samples.

    Example:
        >>> PairFlip(.25).transition(3)
        tensor([[0.7500, 0.2500, 0.0000],
                [0.0000, 0.7500, 0.2500],
                [0.2500, 0.0000, 0.7500]], dtype=torch.float64)
    """

    rate: float = Field(default=0.2, ge=0, lt=1)

    def transition(self, num_classes: int) -> torch.Tensor:
        away = self.rate * torch.eye(at_least_two("PairFlip", num_classes), dtype=torch.float64).roll(1, dims=1)
        return transition_matrix(away)


class Asymmetric(TransitionNoise):
    """In some classes, a label changes to a similar class with probability eta; the other classes stay clean.

    The default moves are the common choice for CIFAR-10 (Patrini et al., CVPR 2017): truck -> automobile,
    bird -> airplane, deer -> horse, cat <-> dog. Only half of the ten classes move, so the effective rate is eta / 2.

    Args:
        rate: eta, in [0, 1), the probability that a label of a moving class changes.
        moves: pairs (from, to); each class occurs at most once as `from`.

    Example:
        >>> Asymmetric(.4).effective_rate(10)
        0.2
    """

    rate: float = Field(default=0.2, ge=0, lt=1)
    moves: tuple[tuple[Class, Class], ...] = Field(default=((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)), min_length=1)

    @model_validator(mode="after")
    def _one_way_out(self) -> "Asymmetric":
        sources = [source for source, _ in self.moves]
        if len(set(sources)) < len(sources):
            raise ValueError(f"Asymmetric.moves may move each class only once, got {self.moves}")
        if any(source == target for source, target in self.moves):
            raise ValueError(f"Asymmetric.moves must lead to another class, got {self.moves}")
        return self

    def transition(self, num_classes: int) -> torch.Tensor:
        at_least_two("Asymmetric", num_classes)
        needed = 1 + max(max(move) for move in self.moves)
        if num_classes < needed:
            raise ValueError(f"Asymmetric moves class {needed - 1}, so it needs {needed} classes, got {num_classes}")
        away = torch.zeros(num_classes, num_classes, dtype=torch.float64)
        for source, target in self.moves:
            away[source, target] = self.rate
        return transition_matrix(away)


class PerClass(TransitionNoise):
    """A label of class n is changed with probability eta_n, with equal chance for each of the other classes.

    T[n, n] = 1 - eta_n, T[n, k] = eta_n / (N-1).

    Args:
        rates: eta_n for every class, each in [0, 1).

    Example:
        >>> PerClass((.1, .3)).effective_rate(2)
        0.2
    """

    rates: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        min_length=2, examples=[(0.1, 0.4), (0.0, 0.2, 0.7), (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.95)]
    )

    def transition(self, num_classes: int) -> torch.Tensor:
        if num_classes != len(self.rates):
            raise ValueError(f"PerClass has rates for {len(self.rates)} classes, but the data has {num_classes}")
        rates = torch.tensor(self.rates, dtype=torch.float64)
        away = (rates[:, None] / (num_classes - 1)).repeat(1, num_classes)
        away.diagonal().zero_()
        return transition_matrix(away)


class ClassConditional(TransitionNoise):
    """The observed label is drawn from the row of the true class in a given matrix.

    T[n, k] = P(observed k | true n). Pass an estimated or realised matrix as nested lists:
    `ClassConditional(made.matrix.tolist())`.

    Args:
        matrix: N rows of N probabilities; the sum of a row may differ from 1 by up to 1e-6 and is then scaled to 1.

    Example:
        >>> ClassConditional(((.9, .1), (.4, .6))).effective_rate(2)
        0.25
    """

    matrix: tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...] = Field(
        min_length=2,
        examples=[((0.9, 0.1), (0.4, 0.6)), ((0.5, 0.5, 0.0), (0.0, 0.0, 1.0), (_THIRD, _THIRD, _THIRD))],
    )

    @model_validator(mode="after")
    def _is_stochastic(self) -> "ClassConditional":
        for index, row in enumerate(self.matrix):
            if len(row) != len(self.matrix):
                raise ValueError(
                    f"ClassConditional.matrix must be square: row {index} has {len(row)} entries, not "
                    f"{len(self.matrix)}"
                )
            if abs(sum(row) - 1) > 1e-6:
                raise ValueError(f"ClassConditional.matrix: row {index} must sum to 1, got {sum(row):g}")
        return self

    def transition(self, num_classes: int) -> torch.Tensor:
        if num_classes != len(self.matrix):
            raise ValueError(
                f"ClassConditional has a matrix of {len(self.matrix)} classes, but the data has {num_classes}"
            )
        matrix = torch.tensor(self.matrix, dtype=torch.float64)
        return matrix / matrix.sum(1, keepdim=True)


class RandomMatrix(TransitionNoise):
    """Class-conditional noise with a random matrix of trace N (1 - eta), which is drawn once.

    The matrix is part of the noise model and does not vary between runs: it depends only on `seed` and N. See
    `random_transition`.

    Args:
        rate: eta, in [0, 1), the expected share of corrupted samples if all classes have equal size.
        seed: the random seed of the matrix.

    Example:
        >>> round(float(RandomMatrix(.2, seed=3).transition(10).trace()), 12)
        8.0
    """

    rate: float = Field(default=0.2, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**63)

    def transition(self, num_classes: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        at_least_two("RandomMatrix", num_classes)
        return random_transition(num_classes, num_classes * (1 - self.rate), generator)


def random_transition(num_classes: int, trace: float, generator: torch.Generator) -> torch.Tensor:
    """Draw a random transition matrix with a given trace.

    With eta = 1 - trace / N, class n is corrupted with probability eta + min(eta, 1 - eta) (a_n - mean a), where a_n is
    uniform in [0, 1). The probabilities of the new classes are uniform on the simplex over the other classes.

    Args:
        num_classes: N, at least 2.
        trace: N (1 - eta), in (0, N].
        generator: a CPU generator; the same numbers are drawn for every trace.

    Returns:
        float64 (N, N), rows sum to 1.

    Raises:
        ValueError: a trace outside (0, N], or fewer than two classes.

    Example:
        >>> matrix = random_transition(5, 4.0, torch.Generator().manual_seed(0))
        >>> round(float(matrix.trace()), 12), bool((matrix >= 0).all())
        (4.0, True)
    """
    at_least_two("a transition matrix", num_classes)
    if not 0 < trace <= num_classes:
        raise ValueError(
            f"the trace of a transition matrix of {num_classes} classes must lie in (0, {num_classes}], got {trace:g}"
        )
    eta = 1 - trace / num_classes
    a = torch.rand(num_classes, dtype=torch.float64, generator=generator)
    rates = eta + min(eta, 1 - eta) * (a - a.mean())  # within (0, 1), with mean eta
    where = -torch.log1p(-torch.rand(num_classes, num_classes, dtype=torch.float64, generator=generator))
    where.diagonal().zero_()
    return transition_matrix(rates[:, None] * where / where.sum(1, keepdim=True))
