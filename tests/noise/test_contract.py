"""Properties that every registered noise model must have."""

import pickle

import pandas as pd
import pytest
import torch

from byrote.noise import Noise, realised

from .conftest import CASES, MATRICES, OTHERS, RATED, samples
from .oracles import chi_square

Case = tuple[int, Noise]


def corrupt(noise: Noise, n: int, each: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels, features = samples(n, each)
    generator = torch.Generator().manual_seed(seed)
    return labels, noise.corrupt(labels, n, generator, features=features)


def test_every_kind_is_tried() -> None:
    tried = {case.values[0][1].kind for case in CASES}
    ours = {kind for kind in Noise.registry if ":" not in kind}  # other tests register additional laws
    assert tried == ours - {"recorded"}
    without_matrix = {"instance_dependent", "look_alike", "margin_dependent"}
    assert {case.values[0][1].kind for case in OTHERS} == without_matrix
    assert len({case.values[0][1].kind for case in RATED}) >= 8


@pytest.mark.parametrize("case", CASES)
def test_labels_are_int64_in_range_and_the_input_is_left_alone(case: Case) -> None:
    n, noise = case
    labels, features = samples(n, 40)
    before = labels.clone()
    observed = noise.corrupt(labels, n, torch.Generator().manual_seed(0), features=features)
    narrow = noise.corrupt(labels.to(torch.int16), n, torch.Generator().manual_seed(0), features=features)
    assert torch.equal(observed, narrow)
    assert narrow.dtype == torch.int64
    assert observed.dtype == torch.int64
    assert observed.shape == labels.shape
    assert int(observed.min()) >= 0
    assert int(observed.max()) < noise.num_outputs(n)
    assert torch.equal(labels, before)
    assert observed.data_ptr() != labels.data_ptr()


@pytest.mark.parametrize("case", CASES)
def test_the_generator_is_the_only_randomness(case: Case) -> None:
    n, noise = case
    torch.manual_seed(1)
    _, first = corrupt(noise, n)
    state = torch.random.get_rng_state()
    _, second = corrupt(noise, n)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    _, third = corrupt(noise, n)
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    if 0.02 < noise.effective_rate(n) < 0.98:
        assert not torch.equal(first, corrupt(noise, n, seed=1)[1])


@pytest.mark.parametrize("case", CASES)
def test_a_law_tells_which_samples_it_redrew_or_has_no_redraw(case: Case) -> None:
    n, noise = case
    labels, observed = corrupt(noise, n)
    redrawn = noise.redrawn(labels, n, torch.Generator().manual_seed(0))
    assert (redrawn is not None) == (noise.kind == "uniform")
    if redrawn is not None:
        assert redrawn.dtype == torch.bool
        assert redrawn.shape == labels.shape
        assert redrawn[observed != labels].all()
        assert noise.redrawn(labels[:0], n, torch.Generator()).shape == (0,)
    with pytest.raises(ValueError, match="at least two classes"):
        noise.redrawn(labels, 1, torch.Generator())


@pytest.mark.parametrize("case", MATRICES)
def test_realised_flips_follow_the_law(case: Case) -> None:
    """Flips of 4,000 samples per class pass Pearson's test, which fails a correct model once in 10,000 times."""
    n, noise = case
    labels, observed = corrupt(noise, n, each=4000)
    counted = realised(labels, observed, n, noise.num_outputs(n))
    assert chi_square(counted.counts, noise.transition(n)) > 1e-4


@pytest.mark.parametrize("case", CASES)
def test_the_effective_rate_is_the_expected_share_of_corrupted_samples(case: Case) -> None:
    n, noise = case
    size = 4000 if noise.kind == "look_alike" else 20000  # this law computes distances between all pairs of samples
    labels, observed = corrupt(noise, n, each=size // n)
    rate = noise.effective_rate(n)
    spread = (max(rate * (1 - rate), 0.0) / len(labels)) ** 0.5
    assert abs(float((observed != labels).double().mean()) - rate) <= 4 * spread


@pytest.mark.parametrize("case", MATRICES)
def test_the_transition_is_a_stochastic_matrix(case: Case) -> None:
    n, noise = case
    matrix = noise.transition(n)
    assert matrix.dtype == torch.float64
    assert matrix.shape == (n, noise.num_outputs(n))
    assert float(matrix.min()) >= 0
    torch.testing.assert_close(matrix.sum(1), torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-12)
    assert noise.effective_rate(n) == pytest.approx(1 - float(matrix.trace()) / n, abs=1e-12)


@pytest.mark.parametrize("case", OTHERS)
def test_a_law_that_is_no_matrix_says_so(case: Case) -> None:
    n, noise = case
    with pytest.raises(ValueError, match="has no transition matrix, because its flips depend on more"):
        noise.transition(n)


@pytest.mark.parametrize("case", RATED)
def test_noise_is_nested_in_its_rate(case: Case) -> None:
    n, noise = case
    labels, before = corrupt(noise.replace(rate=0.0), n, each=100)
    assert torch.equal(before, labels), "at rate 0 nothing is corrupted"
    assert noise.replace(rate=0.0).effective_rate(n) == 0
    corrupted = 0
    for rate in (0.05, 0.2, 0.4, 0.6, 0.95):
        _, now = corrupt(noise.replace(rate=rate), n, each=100)
        was = before != labels
        assert torch.equal(now[was], before[was]), f"labels that were corrupted at a lower rate changed at {rate}"
        assert int((now != labels).sum()) > corrupted
        corrupted, before = int((now != labels).sum()), now


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_a_rate_outside_0_1_is_refused(rate: float) -> None:
    for _, noise in [case.values[0] for case in RATED]:
        with pytest.raises(ValueError, match="rate"):
            noise.replace(rate=rate)


@pytest.mark.parametrize("case", CASES)
def test_no_labels_and_missing_classes_are_legal(case: Case) -> None:
    n, noise = case
    labels, features = samples(n, 40)
    generator = torch.Generator().manual_seed(0)
    none = noise.corrupt(labels[:0], n, generator, features=features[:0])
    assert none.shape == (0,)
    assert none.dtype == torch.int64
    if n > 2:  # the last class has no samples
        present = labels < n - 1
        observed = noise.corrupt(labels[present], n, generator, features=features[present])
        assert len(observed) == int(present.sum())


@pytest.mark.parametrize("case", CASES)
def test_the_nominal_rate_is_the_field_rate(case: Case) -> None:
    _, noise = case
    nominal = noise.nominal_rate
    assert isinstance(nominal, float)
    assert nominal == noise.rate if hasattr(noise, "rate") else nominal != nominal


@pytest.mark.parametrize("case", CASES)
def test_it_is_a_value(case: Case) -> None:
    _, noise = case
    assert pickle.loads(pickle.dumps(noise)) == noise
    assert Noise.from_spec(noise.spec()) == noise
    assert hash(Noise.from_spec(noise.spec())) == hash(noise)


@pytest.mark.parametrize("case", CASES)
def test_labels_and_features_in_other_containers_are_the_same(case: Case) -> None:
    n, noise = case
    labels, features = samples(n, 10)
    wanted = noise.corrupt(labels, n, torch.Generator().manual_seed(0), features=features)
    for same in (labels.tolist(), labels.numpy().astype("uint16"), pd.Series(labels.numpy()), labels.to(torch.uint8)):
        observed = noise.corrupt(same, n, torch.Generator().manual_seed(0), features=features.numpy())
        assert torch.equal(observed, wanted)
        redrawn = noise.redrawn(same, n, torch.Generator().manual_seed(0))
        assert redrawn is None or len(redrawn) == len(labels)
        assert torch.equal(realised(same, observed.tolist(), n, noise.num_outputs(n)).counts,
                           realised(labels, observed, n, noise.num_outputs(n)).counts)  # fmt: skip


@pytest.mark.parametrize("num_classes", [1, 0, -5, 2.5, "3", None])
def test_fewer_than_two_classes_give_one_sentence(num_classes: object) -> None:
    for _, law in [case.values[0] for case in MATRICES]:
        for ask in (law.transition, law.effective_rate):
            with pytest.raises(ValueError, match=r"classes, (got|but the data has) "):
                ask(num_classes)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gives_one_sentence(case: Case) -> None:
    n, noise = case
    labels, features = samples(n, 4)
    generator = torch.Generator()
    for bad, error in ((labels + 1, ValueError), (labels - 1, ValueError), (labels.float(), TypeError)):
        with pytest.raises(error, match="labels must"):
            noise.corrupt(bad, n, generator, features=features)
    with pytest.raises(ValueError, match="one number per sample"):
        noise.corrupt(labels[None], n, generator, features=features)
    with pytest.raises(ValueError, match="at least two classes"):
        noise.corrupt(torch.zeros(3, dtype=torch.int64), 1, generator, features=features[:3])
    with pytest.raises(ValueError, match="one row per label"):
        noise.corrupt(labels, n, generator, features=features[1:])
    with pytest.raises(ValueError, match="ids must be one per label"):
        noise.corrupt(labels, n, generator, features=features, ids=torch.arange(1))


@pytest.mark.parametrize("case", CASES)
def test_labels_and_features_in_any_container(case: Case) -> None:
    n, noise = case
    labels, features = samples(n, 10)
    expected = noise.corrupt(labels, n, torch.Generator().manual_seed(0), features=features).tolist()
    for convert in (torch.Tensor.tolist, torch.Tensor.numpy, lambda x: tuple(x.tolist())):
        observed = noise.corrupt(convert(labels), n, torch.Generator().manual_seed(0), features=convert(features))
        assert observed.tolist() == expected
        assert noise.redrawn(convert(labels), n, torch.Generator()) is None or noise.kind == "uniform"
    assert noise.corrupt(
        labels.numpy().astype("u1"), n, torch.Generator().manual_seed(0), features=features
    ).tolist() == (expected)
    for wrong, error in ((labels.double().numpy(), TypeError), (labels[:, None], ValueError), (["a"] * n, TypeError)):
        with pytest.raises(error, match=r"labels (must be|\(n,\), one)"):
            noise.corrupt(wrong, n, torch.Generator(), features=features)
