"""The torchmetrics metrics give the same values as one pass over all samples in one process."""

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
from torchmetrics import MetricCollection

from byrote.adapters.torchmetrics import MemorizationDistance, MemorizationRates, NeuralCollapseNC1

pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return in_two_processes(tmp_path_factory.mktemp("gloo"))


def expected(averaged):
    """Compute the readings of all 23 samples, each counted once, with the functions of `byrote.measures`."""
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
    for answers in both:
        assert answers[share, averaged] == pytest.approx(expected(averaged), rel=1e-12)


def test_the_copies_would_show():
    """If padded samples were counted twice, every reading would change, so the test above would fail."""
    features, logits, true, observed = samples()
    rows = torch.cat([index for rank in (0, 1) for index in SHARES["sampler"](rank)])
    assert len(rows) == SIZE + 1
    assert abs(nc1(features[rows], true[rows]) / expected(True)["nc1"] - 1) > 0.01
    assert j1(logits[rows].argmax(1), observed[rows]) != expected(True)["j1"]


def test_both_processes_agree_to_the_bit(both):
    for share in SHARES:
        assert both[0][share, False] == both[1][share, False]


def test_two_whole_passes_are_refused_where_copies_cannot_be_taken_out(both):
    answer = both[1]["all twice", False]
    assert "DistributedSampler" in answer.pop("error")
    full = expected(False)
    assert answer == pytest.approx({name: full[name] for name in answer}, rel=1e-12)


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
        metric(index, features[index], true[index])  # `forward` also computes the metric of the batch
        metric.compute()
        metric.moments()
    assert metric.compute().item() == pytest.approx(expected(False)["nc1"], rel=1e-12)
    metric.reset()
    assert math.isnan(metric.compute().item())
    assert fed(metric).compute().item() == pytest.approx(expected(False)["nc1"], rel=1e-12)


def test_features_far_from_the_origin_keep_their_digits():
    """The float32 features are shifted by 1e3, where uncentered sums of squares would lose most digits."""
    features, _, true, _ = samples()
    far = (features.double() * 1e-3 + 1e3).float()
    metric = NeuralCollapseNC1(N, M, SIZE, convention="pooled")
    for index in torch.arange(SIZE).split(BATCH):
        metric.update(index, far[index], true[index])
    assert metric.compute().item() == pytest.approx(nc1(far, true, convention="pooled"), rel=1e-9)


def test_copies_and_pickles_can_be_updated():
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
def test_a_mistake_gives_one_sentence(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def three(**options):
    """Return the three metrics by the names under which a MetricCollection reports them."""
    collapse = NeuralCollapseNC1(N, M, SIZE, convention="pooled", **options)
    distance = MemorizationDistance(SIZE, **options)
    distance.measure_from(torch.eye(N, M) * 3)
    return {"collapse": collapse, "rates": MemorizationRates(SIZE, **options), "distance": distance}


def arguments(index):
    """Return a batch as keyword arguments for all metrics; each metric takes the arguments that it needs."""
    features, logits, true, observed = samples()
    labels = {"labels": true[index], "true_labels": true[index], "observed_labels": observed[index]}
    return {"index": index, "features": features[index], "logits": logits[index], **labels}


def feed(metric, batches):
    for index in batches:
        metric.update(**metric._filter_kwargs(**arguments(torch.as_tensor(index))))
    return metric


def readings(value):
    return {name: float(one) for name, one in (value.items() if isinstance(value, dict) else [("nc1", value)])}


def test_a_collection_takes_all_three_by_names_and_gives_flat_values():
    collection = MetricCollection(three())
    for index in torch.arange(SIZE).split(BATCH):
        collection.update(**arguments(index))
    values = {name: float(value) for name, value in collection.compute().items()}
    wanted = {"collapse" if name == "nc1" else name: value for name, value in expected(False).items()}
    wanted.pop("count")
    assert values == pytest.approx(wanted, rel=1e-12)
    collection.reset()
    assert math.isnan(collection.compute()["j1"])


def test_metrics_of_equal_states_share_them_in_a_collection():
    pair = {name: NeuralCollapseNC1(N, M, SIZE, convention=name) for name in ("pooled", "sample-centred")}
    collection = MetricCollection(pair)
    features, _, true, _ = samples()
    for index in torch.arange(SIZE).split(BATCH):
        collection.update(index=index, features=features[index], labels=true[index])
    for name, value in collection.compute().items():
        assert value.item() == pytest.approx(nc1(features, true, convention=name), rel=1e-12)


@pytest.mark.parametrize("name", ["collapse", "rates", "distance"])
def test_called_as_a_function_it_gives_the_value_of_the_batch(name):
    metric, alone = three()[name], three()[name]
    for index in torch.arange(SIZE).split(6):
        value = metric(**metric._filter_kwargs(**arguments(index)))
        assert readings(value) == pytest.approx(readings(feed(alone, [index]).compute()), rel=1e-12, nan_ok=True)
        alone.reset()
    assert readings(metric.compute()) == pytest.approx(
        readings(feed(three()[name], [range(SIZE)]).compute()), rel=1e-12
    )


def test_the_batch_value_needs_no_announced_counts_and_is_nan_without_a_class():
    features, _, true, _ = samples()
    metric = NeuralCollapseNC1(N, M, SIZE, counts=torch.bincount(true))
    rows = torch.cat([(true == k).nonzero()[:2, 0] for k in range(N)] + [(true == 0).nonzero()[2:5, 0]])
    counts = torch.bincount(true[rows])
    slow = nc1(ClassMoments.of(features[rows], true[rows], N, counts=counts))
    assert metric(rows, features[rows], true[rows]).item() == pytest.approx(slow, rel=1e-12)
    some = (true == 1).nonzero()[2:5, 0]
    assert math.isnan(metric(some, features[some], true[some]).item())


@pytest.mark.parametrize("name", ["collapse", "rates", "distance"])
@pytest.mark.parametrize("as_states", [False, True])
def test_merged_metrics_are_one_that_has_seen_all(name, as_states):
    """Two loaders each read a share, and each one's last batch repeats samples of the other share."""
    first = [range(6), range(6, 12), [12, 13, 14, 20, 15]]
    second = [range(15, 20), [20, 21, 22, 12, 13]]
    one, other, whole = (feed(three()[name], some) for some in (first, second, [range(SIZE)]))
    assert not math.isnan(next(iter(readings(one.compute()).values()))), "this call makes torchmetrics cache a value"
    one.merge_state(other.metric_state if as_states else other)
    assert readings(one.compute()) == pytest.approx(readings(whole.compute()), rel=1e-12)
    feed(one, [range(3), range(20, 23)])
    assert readings(one.compute()) == pytest.approx(readings(whole.compute()), rel=1e-12), (
        "after the merge, copies are still counted once"
    )
    empty = three()[name]
    empty.merge_state(one)
    assert readings(empty.compute()) == pytest.approx(readings(whole.compute()), rel=1e-12)


def test_of_a_sample_in_two_merged_metrics_the_first_stays():
    both = []
    for predicted in (0, 1):
        metric = MemorizationRates(2)
        metric.update(torch.tensor([0]), torch.tensor([predicted]), torch.tensor([0]), torch.tensor([0]))
        both.append(metric)
    both[0].merge_state(both[1])
    assert both[0].compute()["j1"] == 1.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MemorizationRates(3).merge_state(MemorizationRates(4)), "over the same data set"),
        (lambda: MemorizationRates(3).merge_state(MemorizationDistance(3)), "a MemorizationRates or its states"),
        (lambda: three()["collapse"].merge_state({}), "over the same data set"),
        (lambda: fed().merge_state(fed()), "got 20 samples that both have seen"),
        (lambda: MemorizationDistance(3).merge_state(three()["distance"]), "same test means|over the same data set"),
    ],
)
def test_metrics_that_cannot_be_merged_give_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["collapse", "rates", "distance"])
def test_states_are_saved_with_a_module_where_they_are_persistent(name):
    metric, loaded = feed(three()[name], [range(SIZE)]), three()[name]
    for one in (metric, loaded):
        one.persistent(True)
    loaded.load_state_dict(metric.state_dict())
    assert readings(loaded.compute()) == pytest.approx(readings(metric.compute()), rel=0)


def test_a_metric_takes_the_options_of_every_metric_and_says_what_is_better():
    for metric in three(sync_on_compute=False, compute_with_cache=False).values():
        assert (metric.sync_on_compute, metric.compute_with_cache) == (False, False)
        assert (metric.full_state_update, metric.is_differentiable) == (True, False)
    assert NeuralCollapseNC1.higher_is_better is False
    assert MemorizationRates.higher_is_better is MemorizationDistance.higher_is_better is None
    with pytest.raises(ValueError, match="Unexpected keyword arguments"):
        MemorizationRates(3, sizes=4)


@pytest.mark.parametrize("name", ["collapse", "rates", "distance"])
def test_every_metric_draws_itself(name):
    pytest.importorskip("matplotlib")
    figure, axes = feed(three()[name], [range(SIZE)]).plot()
    assert figure is not None
    assert axes is not None
