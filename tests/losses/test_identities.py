"""Known identities, limits and special cases of single losses, each compared with an independent formula."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from byrote import losses
from byrote.losses.stable import log_p_and_rest_of_all, log_sum_exp, margin

from .cases import batch, function


def test_torch_agrees_on_what_it_has() -> None:
    z, y = batch(5)
    for alpha in (0.0, 0.1, 0.6):
        value = losses.LabelSmoothing(alpha)(z, y)
        torch.testing.assert_close(value, F.cross_entropy(z, y, label_smoothing=alpha))
    torch.testing.assert_close(losses.CrossEntropy()(z, y), F.cross_entropy(z, y))
    torch.testing.assert_close(losses.MeanSquaredError()(z, y), F.mse_loss(z, F.one_hot(y, 5).double()))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weights_and_ignored_labels_as_in_torch(reduction: str) -> None:
    z, y = batch(4)
    y[::5] = -100
    weights = (1.0, 0.0, 2.5, 0.5)
    given_weights = torch.tensor(weights, dtype=torch.float64)
    for w, tensor in ((weights, given_weights), (None, None)):
        value = losses.Weighted(losses.CrossEntropy(), w, -100)(z, y, reduction)
        expected = F.cross_entropy(z, y, weight=tensor, ignore_index=-100, reduction=reduction)
        torch.testing.assert_close(value, expected)
    value = losses.Weighted(losses.LabelRelaxation(), weights)(z[:4], torch.arange(4), reduction)
    rows = losses.LabelRelaxation()(z[:4], torch.arange(4), "none") * given_weights
    mean = rows.sum() / given_weights.sum()
    torch.testing.assert_close(value, {"none": rows, "sum": rows.sum(), "mean": mean}[reduction])


def test_an_ignored_sample_does_nothing_whatever_its_logits() -> None:
    z = torch.tensor([[1.0, 2.0], [math.nan, math.inf]], requires_grad=True)
    value = losses.Weighted(losses.CrossEntropy(), ignore_index=9)(z, torch.tensor([0, 9]))
    value.backward()
    torch.testing.assert_close(value.detach(), F.cross_entropy(torch.tensor([[1.0, 2.0]]), torch.tensor([0])))
    assert z.grad is not None
    assert z.grad[1].tolist() == [0.0, 0.0]
    assert z.grad[0].abs().min() > 0.1


def test_a_mean_over_nothing_is_nan_as_in_torch() -> None:
    z, y = batch(3)
    nothing = losses.Weighted(losses.CrossEntropy(), ignore_index=7)
    assert nothing(z, torch.full_like(y, 7)).isnan()
    assert nothing(z, torch.full_like(y, 7), "sum") == 0
    assert losses.CrossEntropy()(z[:0], y[:0]).isnan()


def test_weighted_symmetry_and_bounds() -> None:
    mae = losses.MeanAbsoluteError()
    assert losses.Weighted(mae, (2.0, 2.0, 2.0)).symmetry(3) == 8.0
    assert losses.Weighted(mae, (2.0, 1.0, 2.0)).symmetry(3) is None
    assert losses.Weighted(mae, (2.0, 2.0, 2.0), 1).symmetry(3) is None
    assert losses.Weighted(mae, ignore_index=-1).symmetry(3) == 4.0
    assert losses.Weighted(mae, (0.5, 3.0)).bounds(2) == (0.0, 6.0)
    assert losses.Weighted(losses.AEL(1.0), (0.0, 3.0)).bounds(2) == (0.0, 3.0)
    assert losses.Weighted(losses.AEL(1.0), (0.5, 3.0)).bounds(2) == (0.5 * math.exp(-1), 3.0)


def test_label_relaxation_is_zero_inside_its_set_and_smooth_at_its_edge() -> None:
    loss, edge = losses.LabelRelaxation(0.2), math.log(0.8 / 0.2)
    z = torch.tensor([[edge + 1e-3, 0.0], [edge - 1e-3, 0.0], [edge - 1.0, 0.0]], dtype=torch.float64)
    z.requires_grad_()
    values = loss(z, torch.zeros(3, dtype=torch.int64), "none")
    (slopes,) = torch.autograd.grad(values.sum(), z)
    assert values[0] == 0
    assert slopes[0].tolist() == [0.0, 0.0]
    assert 0 < values[1] < 1e-6
    assert -2e-4 < slopes[1, 0] < 0
    p = torch.sigmoid(z[2, 0].detach())
    assert slopes[2, 0].item() == pytest.approx(float(p - 0.8))  # d/dm of KL((1-a, a), (p, 1-p))


def test_limits_between_losses() -> None:
    z, y = batch(4)
    ce = losses.CrossEntropy()(z, y, "none")
    mae = losses.MeanAbsoluteError(scale=1.0)(z, y, "none")
    same = torch.testing.assert_close
    same(losses.LabelRelaxation(0.0)(z, y, "none"), ce)
    same(losses.Focal(0.0)(z, y, "none"), ce)
    same(losses.GeneralizedCrossEntropy(1e-9)(z, y, "none"), ce)
    same(losses.SoftBootstrap(1.0)(z, y, "none"), ce)
    same(losses.HardBootstrap(1.0)(z, y, "none"), ce)
    same(losses.ForwardCorrection(np.eye(4))(z, y, "none"), ce)
    same(losses.BackwardCorrection(torch.eye(4))(z, y, "none"), ce)
    for linear in (losses.GeneralizedCrossEntropy(1.0), losses.AGCE(2.0, 1.0), losses.AUL(2.0, 1.0)):
        same(linear(z, y, "none"), mae)
        assert linear.symmetry(4) == 3
    same(losses.AGCE(1e-12, 0.7)(z, y, "none"), losses.GeneralizedCrossEntropy(0.7)(z, y, "none"))
    same(losses.ReverseCrossEntropy(-4.0)(z, y, "none"), 4 * mae)
    sce = losses.SymmetricCrossEntropy(0.3, 2.0, -4.0)(z, y, "none")
    same(sce, 0.3 * ce + 8 * mae)


def test_robust_log_constant_and_the_price_of_memorizing() -> None:
    # On one noisy sample the clean prediction costs eps N/(N-1) log((1+alpha)/alpha); memorizing the label costs 0.
    loss, N, eps = losses.RobustLog(0.1), 10, 0.4
    assert loss.symmetry(N) == pytest.approx(N * math.log(11))
    z = torch.zeros(1, N, dtype=torch.float64)
    z[0, 3] = 200.0
    assert loss(z, torch.tensor([3])).item() == pytest.approx(0, abs=1e-12)
    assert eps * loss(z, torch.tensor([5])).item() == pytest.approx(1.066, abs=5e-4)


def test_normalized_mse_is_the_brier_score_over_its_class_sum() -> None:
    z, y = batch(6)
    p = z.softmax(-1)
    brier = losses.MeanSquaredError("probabilities")
    class_sum = sum(brier(z, torch.full_like(y, k), "none") for k in range(6))
    torch.testing.assert_close(class_sum, 6 * p.square().sum(-1) + 6 - 2)
    torch.testing.assert_close(losses.NormalizedMSE()(z, y, "none"), losses.Normalized(brier)(z, y, "none"))
    torch.testing.assert_close(losses.NormalizedMSE(0.1)(z, y), 0.1 * losses.NormalizedMSE()(z, y))


NON_NEGATIVE = [
    losses.CrossEntropy(),
    losses.LabelSmoothing(0.2),
    losses.LabelRelaxation(0.1),
    losses.Focal(0.5),
    losses.MeanSquaredError("logits"),
    losses.MeanSquaredError("probabilities"),
    losses.RobustLog(0.1),
    losses.MeanAbsoluteError(),
    losses.GeneralizedCrossEntropy(0.7),
    losses.AEL(2.5),
    losses.SoftBootstrap(),
]


@pytest.mark.parametrize("inner", NON_NEGATIVE, ids=lambda inner: inner.label)
def test_any_non_negative_loss_can_be_normalized(inner: losses.Loss) -> None:
    loss = losses.Normalized(inner)
    assert loss.symmetry(5) == 1
    z = torch.cat([batch(5, scale=scale)[0] for scale in (0.3, 5.0, 300.0)])
    each = torch.stack([loss(z, torch.full((len(z),), k), "none") for k in range(5)])
    torch.testing.assert_close(each.sum(0), torch.ones(len(z), dtype=torch.float64))
    torch.testing.assert_close(each.T, loss.formula_of_all(z))
    low, high = loss.bounds(5)
    assert low - 1e-9 <= each.min()
    assert each.max() <= high + 1e-9
    if inner.symmetry(5) is not None:  # these bounds are sharp: they equal the loss up to a constant factor
        assert (low, high) == tuple(end / inner.symmetry(5) for end in inner.bounds(5))


def test_normalized_where_the_class_sum_vanishes() -> None:
    loss = losses.Normalized(losses.LabelRelaxation(0.9))
    z = torch.zeros(1, 3, requires_grad=True)  # every p is 1/3 > 1 - .9
    loss(z, torch.tensor([0])).backward()
    assert z.grad is not None
    assert z.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_normalized_refuses_what_can_be_negative_or_remembers() -> None:
    with pytest.raises(ValueError, match="never negative, got BWD with values from -inf to inf"):
        losses.Normalized(losses.BackwardCorrection(((0.9, 0.1), (0.1, 0.9))))
    for outer in (losses.Normalized, losses.Weighted):
        with pytest.raises(ValueError, match="ELR remembers every sample"):
            outer(losses.EarlyLearning())


def test_active_passive_is_the_sum_and_the_named_pairs_are_its_cases() -> None:
    z, y = batch(4)
    nce, nfl = losses.Normalized(losses.CrossEntropy()), losses.Normalized(losses.Focal(0.5))
    mae, rce, agce = losses.MeanAbsoluteError(1.0), losses.ReverseCrossEntropy(), losses.AGCE(6.0, 1.5)
    named = [
        (losses.NCEAndMAE(2.0, 3.0), nce, mae, "NCE+MAE"),
        (losses.NCEAndRCE(2.0, 3.0), nce, rce, "NCE+RCE"),
        (losses.NFLAndRCE(2.0, 3.0), nfl, rce, "NFL+RCE"),
        (losses.NCEAndAGCE(2.0, 3.0), nce, agce, "NCE+AGCE"),
    ]
    for short, active, passive, label in named:
        general = losses.ActivePassive(active, passive, 2.0, 3.0)
        expected = 2 * active(z, y, "none") + 3 * passive(z, y, "none")
        torch.testing.assert_close(short(z, y, "none"), expected)
        torch.testing.assert_close(general(z, y, "none"), expected)
        assert short.label == general.label == label
        assert short.bounds(4) == general.bounds(4)
        assert short.symmetry(4) == general.symmetry(4)
    assert named[0][0].symmetry(4) == 2 * 1 + 3 * 3
    assert named[3][0].symmetry(4) is None
    assert losses.ActivePassive(losses.CrossEntropy(), mae, 0.0, 2.0).symmetry(4) == 6


@given(st.integers(2, 5), st.floats(0.0, 0.45), st.integers(0, 10_000))
def test_backward_correction_is_unbiased(N: int, rate: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(N, N, generator=generator, dtype=torch.float64) + 1e-3
    T = (1 - rate) * torch.eye(N, dtype=torch.float64) + rate * noise / noise.sum(-1, keepdim=True)
    loss, (z, _) = losses.BackwardCorrection(T), batch(N, seed=seed)
    each = torch.stack([loss.per_sample(z, torch.full((len(z),), k)) for k in range(N)], -1)
    torch.testing.assert_close(each @ T.T, -z.log_softmax(-1), rtol=1e-8, atol=1e-8)


def test_forward_correction_has_its_least_noisy_risk_at_the_clean_posterior() -> None:
    T = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.0, 0.8]], dtype=torch.float64)
    posterior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    loss = losses.ForwardCorrection(T)

    def noisy_risk(z: torch.Tensor) -> torch.Tensor:
        return (posterior @ T) @ loss(z.expand(3, 3), torch.arange(3), "none")

    best = posterior.log().requires_grad_()
    (slope,) = torch.autograd.grad(noisy_risk(best), best)
    assert slope.abs().max() < 1e-12
    for k in range(3):
        moved = best.detach().clone()
        moved[k] += 0.1
        assert noisy_risk(moved) > noisy_risk(best) + 1e-5


def test_forward_correction_of_pure_noise_is_constant() -> None:
    T = ((0.3, 0.7), (0.3, 0.7))
    assert losses.ForwardCorrection(T).symmetry(2) == pytest.approx(-math.log(0.3) - math.log(0.7))
    assert losses.ForwardCorrection(((0.3, 0.7), (0.7, 0.3))).symmetry(2) is None
    low, high = losses.ForwardCorrection(((1.0, 0.0), (0.3, 0.7))).bounds(2)
    assert (low, high) == (0.0, math.inf)


@pytest.mark.parametrize(("loss", "N", "eta"), [(losses.MeanAbsoluteError(), 3, 0.5), (losses.NormalizedMSE(), 4, 0.2)])
def test_symmetric_losses_keep_the_order_of_risks(loss: losses.Loss, N: int, eta: float) -> None:
    # noisy risk = C eta/(N-1) + (1 - eta N/(N-1)) clean risk, under Symmetric(eta): an identity
    z, y = batch(N)
    clean = loss(z, y)
    others = [(y + shift) % N for shift in range(1, N)]
    noisy = (1 - eta) * clean + eta / (N - 1) * sum(loss(z, moved) for moved in others)
    constant = loss.symmetry(N)
    assert constant is not None
    torch.testing.assert_close(noisy, constant * eta / (N - 1) + (1 - eta * N / (N - 1)) * clean)


def test_labels_and_parameters_used_in_tables() -> None:
    shown = {
        "CE": losses.CrossEntropy(),
        "LS": losses.LabelSmoothing(0.1),
        "LR": losses.LabelRelaxation(0.1),
        "MSE": losses.MeanSquaredError(),
        "MSE-p": losses.MeanSquaredError(on="probabilities"),
        "RLL": losses.RobustLog(0.1),
        "nMSE": losses.NormalizedMSE(),
        "GCE": losses.GeneralizedCrossEntropy(),
        "NCE": losses.Normalized(losses.CrossEntropy()),
        "NFL": losses.Normalized(losses.Focal(0.5)),
        "ELR": losses.EarlyLearning(),
    }
    assert {name: loss.label for name, loss in shown.items()} == {name: name for name in shown}
    assert shown["LS"].parameter == shown["LR"].parameter == shown["RLL"].parameter == 0.1
    assert math.isnan(shown["CE"].parameter)
    assert shown["GCE"].parameter == 0.7
    assert shown["NFL"].parameter == 0.5
    kinds = [losses.Loss.member(kind).example(3).label for kind in losses.Loss.registry]
    assert len(set(kinds)) >= len(kinds) - 1  # ActivePassive's default is one of the named pairs


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: losses.LabelSmoothing(1.0), r"LabelSmoothing\.alpha.*less than 1, got 1\.0"),
        (lambda: losses.LabelRelaxation(-0.1), r"LabelRelaxation\.alpha.*greater than or equal to 0"),
        (lambda: losses.RobustLog(0.0), r"RobustLog\.alpha.*greater than 0"),
        (lambda: losses.GeneralizedCrossEntropy(1.5), r"GeneralizedCrossEntropy\.q.*less than or equal to 1"),
        (lambda: losses.AUL(a=1.0), r"AUL\.a.*greater than 1"),
        (lambda: losses.MeanSquaredError("margins"), r"MeanSquaredError\.on.*'logits' or 'probabilities'"),
        (lambda: losses.LabelSmoothing(alfa=0.1), "did you mean 'alpha'"),
        (lambda: losses.Loss.from_spec("cros_entropy"), "did you mean 'cross_entropy'"),
        (lambda: losses.ForwardCorrection(((0.5, 0.5),)), "a square matrix of at least 2 classes"),
        (lambda: losses.ForwardCorrection(((0.5, 0.6), (0.5, 0.5))), "sum to 1, but row 0"),
        (lambda: losses.ForwardCorrection(((1.0, 0.0), (1.0, 0.0))), "never gives class 1"),
        (lambda: losses.BackwardCorrection(((0.5, 0.5), (0.5, 0.5))), "must be invertible"),
        (lambda: losses.Weighted(losses.CrossEntropy(), (0.0, 0.0)), "not all 0"),
        (lambda: losses.Weighted(losses.CrossEntropy(), (1.0, -1.0)), "at least 0"),
        (lambda: losses.CrossEntropy().symmetry(1), "num_classes must be an integer of at least 2, got 1"),
        (lambda: losses.CrossEntropy().bounds(2.0), "num_classes must be an integer of at least 2, got 2.0"),
    ],
)
def test_bad_parameters_get_one_sentence(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


def test_class_counts_must_agree() -> None:
    z, y = batch(3)
    with pytest.raises(ValueError, match="the transition has 2 classes, but the logits have 3"):
        losses.ForwardCorrection(np.eye(2))(z, y.clamp(max=1))
    with pytest.raises(ValueError, match="expected 3 weights, one per class, got 2"):
        losses.Weighted(losses.CrossEntropy(), (1.0, 2.0))(z, y.clamp(max=1))


# ---- helpers ----


@given(st.lists(st.floats(-2e4, 2e4), min_size=2, max_size=6))
def test_margin_and_log_sum_exp(logits: list[float]) -> None:
    z = torch.tensor(logits, dtype=torch.float64)
    assert log_sum_exp(z).item() == pytest.approx(float(np.logaddexp.reduce(z.numpy())), rel=1e-12, abs=1e-12)
    for y in range(len(logits)):
        rest = np.logaddexp.reduce(np.delete(z.numpy(), y))
        assert margin(z, torch.tensor(y)).item() == pytest.approx(z[y].item() - rest, rel=1e-11, abs=1e-8)


def test_rest_of_all_survives_ties_and_certainty() -> None:
    rows = [[0.0, 0.0], [1e4, 1e4], [40.0, 0.0], [-40.0, 1e4]]
    for row, other in itertools.product(rows, rows):
        z = torch.tensor([row, other], dtype=torch.float32, requires_grad=True)
        log_p, log_rest = log_p_and_rest_of_all(z)
        torch.testing.assert_close(log_p.exp() + log_rest.exp(), torch.ones(2, 2))
        torch.testing.assert_close(log_rest, log_p.flip(-1), rtol=1e-5, atol=1e-6)  # N = 2: 1 - p is the other p
        (slope,) = torch.autograd.grad(log_rest.sum() + log_p.sum(), z)
        assert slope.isfinite().all()


def test_gradient_near_ten_thousand_is_as_good_as_near_zero() -> None:
    for shift in (0.0, 1e4):
        z = torch.tensor([[shift, shift, -shift - 1.0]], requires_grad=True)
        value = function(losses.ForwardCorrection(np.full((3, 3), 1 / 3)), z)(z, torch.tensor([0]))
        (slope,) = torch.autograd.grad(value, z)
        assert slope.abs().max() < 1e-6  # the loss is constant
    z = torch.tensor([[-1e4, 0.0, 0.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(margin(z, torch.tensor([0])), z)
    torch.testing.assert_close(slope, torch.tensor([[1.0, -0.5, -0.5]]), rtol=1e-6, atol=1e-7)
