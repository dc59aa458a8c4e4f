"""The torchmetrics states against one pass in one process."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.processes import BATCH, SHARES, SIZE, M, N, in_two_processes, samples
from byrote.measures import fates, j1, j2, memorization, nc1
from byrote.measures.moments import ClassMoments

pytest.importorskip("torchmetrics", reason="needs the extra: pip install 'byrote[torchmetrics]'")
from byrote.adapters.torchmetrics import MemorizationDistance, MemorizationRates, NeuralCollapseNC1

pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return in_two_processes(tmp_path_factory.mktemp("gloo"))


def expected(averaged):
    """The readings of all 23 samples, each once, by the functions for data at hand."""
    features, logits, true, observed = samples()
    predicted = logits.argmax(1)
    mem, fate = memorization(features, true, observed, torch.eye(N, M) * 3), fates(predicted, true, observed)
    return {
        "nc1": nc1(features, true, convention="class-averaged" if averaged else "pooled"),
        "count": SIZE,
        "j1": j1(predicted, observed),
        "j2": j2(predicted, true),
        "realised_rate": fate.realised_rate,
        "clean_accuracy": fate.clean_accuracy,
        "corrupted_as_observed": fate.corrupted_as_observed,
        "corrupted_as_true": fate.corrupted_as_true,
        "mem_total": mem.total,
        "mem_mean": mem.mean,
        "mem_noise_weighted": mem.noise_weighted,
        "mem_relative": mem.relative,
        "mem_weighted_relative": mem.noise_weighted_relative,
        "mem_clean_mean": mem.clean_mean,
    }


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("share", [share for share in SHARES if share != "all twice"])
def test_two_processes_with_padded_shares_give_the_answer_of_one(both, share, averaged):
    for found in both:
        assert found[share, averaged] == pytest.approx(expected(averaged), rel=1e-12)


def test_the_copies_would_show():
    """Counted twice, the padded samples move every reading: the test above can fail."""
    features, logits, true, observed = samples()
    rows = torch.cat([index for rank in (0, 1) for index in SHARES["sampler"](rank)])
    assert len(rows) == SIZE + 1
    assert abs(nc1(features[rows], true[rows]) / expected(True)["nc1"] - 1) > 0.01
    assert j1(logits[rows].argmax(1), observed[rows]) != expected(True)["j1"]


def test_both_processes_agree_to_the_bit(both):
    for share in SHARES:
        assert both[0][share, False] == both[1][share, False]


def test_two_whole_passes_are_refused_where_copies_cannot_be_taken_out(both):
    found = both[1]["all twice", False]
    assert "DistributedSampler" in found.pop("error")
    full = expected(False)
    assert found == pytest.approx({name: full[name] for name in found}, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=9), min_size=1, max_size=8))
def test_one_process_counts_each_sample_once_in_any_batches(batches):
    features, logits, true, observed = samples()
    collapse, fate, mem = (
        NeuralCollapseNC1(N, M, SIZE, convention="pooled"),
        MemorizationRates(SIZE),
        MemorizationDistance(SIZE),
    )
    mem.measure_from(torch.eye(N, M) * 3)
    for batch in batches:
        index = torch.tensor(batch)
        collapse.update(index, features[index], true[index])
        fate.update(index, logits[index], true[index], observed[index])
        mem.update(index, features[index], true[index], observed[index])
    rows = torch.tensor(sorted({i for batch in batches for i in batch}))
    moments = collapse.moments()
    slow = ClassMoments.of(features[rows], true[rows], N)
    assert moments.counts.tolist() == slow.counts.tolist()
    torch.testing.assert_close(moments.means, slow.means, rtol=1e-12, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(moments.scatter, slow.scatter, rtol=1e-9, atol=1e-9)
    assert collapse.compute().item() == pytest.approx(
        nc1(features[rows], true[rows], N, convention="pooled"), nan_ok=True
    )
    assert fate.compute()["j1"].item() == j1(logits[rows].argmax(1), observed[rows])
    away = memorization(features[rows], true[rows], observed[rows], torch.eye(N, M) * 3)
    assert mem.compute()["mem_total"].item() == pytest.approx(away.total, rel=1e-12)


def fed(metric=None):
    features, _, true, _ = samples()
    metric = NeuralCollapseNC1(N, M, SIZE, convention="pooled") if metric is None else metric
    for index in torch.arange(SIZE).split(BATCH):
        metric.update(index, features[index], true[index])
    return metric


def test_reading_midway_and_resetting_change_nothing():
    features, _, true, _ = samples()
    metric = NeuralCollapseNC1(N, M, SIZE, convention="pooled")
    for index in torch.arange(SIZE).split(BATCH):
        metric(index, features[index], true[index])  # forward: the batch's value too
        metric.compute()
        metric.moments()
    assert metric.compute().item() == pytest.approx(expected(False)["nc1"], rel=1e-12)
    metric.reset()
    assert math.isnan(metric.compute().item())
    assert fed(metric).compute().item() == pytest.approx(expected(False)["nc1"], rel=1e-12)


def test_features_far_from_the_origin_keep_their_digits():
    """float32 features shifted by 1e3: raw sums would be far off."""
    features, _, true, _ = samples()
    far = (features.double() * 1e-3 + 1e3).float()
    metric = NeuralCollapseNC1(N, M, SIZE, convention="pooled")
    for index in torch.arange(SIZE).split(BATCH):
        metric.update(index, far[index], true[index])
    assert metric.compute().item() == pytest.approx(nc1(far, true, convention="pooled"), rel=1e-9)


def test_copies_and_pickles_go_on():
    for copied in (copy.deepcopy(fed()), pickle.loads(pickle.dumps(fed()))):
        assert copied.compute().item() == fed().compute().item()


def test_constant_features_have_no_nc1_whatever_the_dtype():
    metric = NeuralCollapseNC1(2, 3, 20)
    metric.update(torch.arange(20), torch.full((20, 3), 0.1, dtype=torch.bfloat16), torch.arange(20) % 2)
    assert math.isnan(metric.compute().item())


def test_no_sample_at_all_is_nan():
    assert math.isnan(MemorizationRates(3).compute()["j1"].item())
    mem = MemorizationDistance(3)
    mem.measure_from(torch.eye(2))
    assert mem.compute()["mem_total"].item() == 0
    assert math.isnan(mem.compute()["mem_mean"].item())


def test_measuring_from_new_means_forgets_the_samples():
    mem = MemorizationDistance(2)
    for shift in (0.0, 1.0):
        mem.measure_from(torch.eye(2) + shift)
        mem.update(torch.tensor([0, 1]), torch.eye(2), torch.tensor([0, 1]), torch.tensor([1, 1]))
        assert mem.compute()["mem_total"].item() == pytest.approx(shift * 2**0.5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: NeuralCollapseNC1(2, 3, 0), ValueError, "size must be at least 1, got 0"),
        (lambda: fed().update(torch.tensor([SIZE]), torch.ones(1, M), torch.tensor([0])), ValueError, "index must lie"),
        (lambda: fed().update(torch.tensor([0]), torch.ones(1, M + 1), torch.tensor([0])), ValueError, "width 4"),
        (lambda: fed().update(torch.tensor([0, 1]), torch.ones(1, M), torch.tensor([0])), ValueError, "equal lengths"),
        (lambda: fed(NeuralCollapseNC1(N, M, SIZE)).compute(), ValueError, "counts="),
        (lambda: fed(NeuralCollapseNC1(N, M, SIZE, counts=[1, 1, 1])).compute(), ValueError, "announced"),
        (
            lambda: MemorizationDistance(2).update(
                torch.tensor([0]), torch.ones(1, M), torch.tensor([0]), torch.tensor([0])
            ),
            RuntimeError,
            "measure_from",
        ),
        (
            lambda: MemorizationRates(2).update(
                torch.tensor([0]), torch.ones(1, 2), torch.tensor([0, 1]), torch.tensor([0])
            ),
            ValueError,
            "equal lengths",
        ),
    ],
)
def test_a_mistake_is_one_sentence(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
