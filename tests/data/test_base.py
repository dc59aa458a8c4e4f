"""Selecting classes and counts, relabeling, scaling, and ids; the messages for invalid requests."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote import data
from byrote.data import bundled, prepare
from byrote.data.base import Dataset, Raw, Split

from .toy import Toy

# -------------------------------------------------------------------------------------------- Images


def good() -> dict[str, torch.Tensor]:
    return {"images": torch.zeros(3, 1, 2, 2), "labels": torch.tensor([0, 1, 1]), "ids": torch.tensor([4, 2, 9])}


def test_images_hold_what_they_say() -> None:
    images = data.Images(**good())
    assert len(images) == 3
    assert images.shape == (1, 2, 2)
    assert images.num_classes == 2
    assert data.Images(**good(), num_classes=5).num_classes == 5
    with pytest.raises(AttributeError):
        images.labels = torch.zeros(3)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": torch.zeros(3, 1, 2, 2, dtype=torch.float64)}, TypeError, "float32"),
        ({"images": torch.zeros(3, 2, 2)}, TypeError, r"\(n, C, H, W\)"),
        ({"images": torch.full((3, 1, 2, 2), torch.nan)}, ValueError, "finite"),
        ({"images": torch.full((3, 1, 2, 2), torch.inf)}, ValueError, "finite"),
        ({"images": torch.zeros(2, 1, 2, 2)}, ValueError, "equal lengths"),
        ({"labels": torch.tensor([0, 1, 1], dtype=torch.int32)}, TypeError, "int64"),
        ({"labels": torch.tensor([0, -1, 1])}, ValueError, "labels must lie in"),
        ({"labels": torch.tensor([0, 2, 1]), "num_classes": 2}, ValueError, r"labels must lie in 0..1, got 2"),
        ({"ids": torch.tensor([4, 2, 4])}, ValueError, "different"),
        ({"ids": torch.tensor([4.0, 2, 4])}, TypeError, "int64"),
    ],
)
def test_images_refuse(change: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.Images(**(good() | change))  # type: ignore[arg-type]


def test_images_refuse_to_be_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        data.Images(**{name: tensor[:0] for name, tensor in good().items()})


def test_nan_is_found_wherever_it_is() -> None:
    images = torch.zeros(5000, 1, 1, 1)
    images[4999] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        data.Images(images, torch.zeros(5000, dtype=torch.int64), torch.arange(5000))


# ------------------------------------------------------------------------------------------ selection


def test_classes_are_relabeled_in_the_order_given() -> None:
    loaded = Toy(classes=(7, 2)).load()
    raw = Toy().decode("train")
    assert loaded.num_classes == Toy(classes=(7, 2)).num_classes == 2
    for label, original in ((0, 7), (1, 2)):
        ids = loaded.ids[loaded.labels == label]
        assert (raw.labels[ids] == original).all()
        assert len(ids) == (raw.labels == original).sum()
    assert loaded.ids.tolist() == sorted(loaded.ids.tolist())
    expected = raw.images[loaded.ids].astype(np.float32) / 255
    assert torch.equal(Toy(classes=(7, 2), preprocessing="unit").load().images, torch.from_numpy(expected))


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.permutations(range(5)),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_select_against_plain_python(labels: list[int], order: list[int], n: int, k: int) -> None:
    classes = tuple(order[: n + 1])
    counts = k or None
    column = np.array(labels)
    expected: list[tuple[int, int]] = []
    for place, label in enumerate(labels):
        before = sum(1 for earlier in labels[:place] if earlier == label)
        if label in classes and (counts is None or before < counts):
            expected.append((place, classes.index(label)))
    if any(labels.count(c) < (counts or 1) for c in classes):
        with pytest.raises(ValueError, match=r"no sample of class|are requested"):
            prepare.select(column, classes, counts, "toy")
        return
    where, new = prepare.select(column, classes, counts, "toy")
    assert list(zip(where.tolist(), new.tolist(), strict=True)) == expected


def test_imbalance_and_test_counts() -> None:
    toy = Toy(classes=(3, 1), per_class=(9, 1), test_per_class=2)
    assert toy.load().labels.bincount().tolist() == [9, 1]
    assert toy.load("test").labels.bincount().tolist() == [2, 2]
    first = np.flatnonzero(Toy().decode("train").labels == 3)[:9]
    assert toy.load().ids[toy.load().labels == 0].tolist() == first.tolist()


def test_ids_are_stable_across_choices() -> None:
    whole, some = Toy().load(), Toy(classes=(5, 0), per_class=3, resolution=2).load()
    places = {i: n for n, i in enumerate(whole.ids.tolist())}
    for i, label in zip(some.ids.tolist(), some.labels.tolist(), strict=True):
        assert whole.labels[places[i]] == (5, 0)[label]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": (0, 10)}, r"has no class 10; it has 0..9"),
        ({"classes": (0, -1)}, "has no class -1"),
        ({"classes": (1, 1)}, "given only once"),
        ({"classes": (1,)}, "classes"),
        ({"per_class": 0}, "at least 1 sample"),
        ({"per_class": (3, 0), "classes": (0, 1)}, "at least 1 sample"),
        ({"preprocessing": "other"}, "preprocessing"),
        ({"resolution": 0}, "resolution"),
        ({"clases": (0, 1)}, "did you mean 'classes'"),
    ],
)
def test_bad_fields_are_refused_at_once(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        data.MNIST(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "split", "message"),
    [
        ({"per_class": (1, 2, 3), "classes": (0, 1)}, "train", "expected one count for each of the 2 classes, got 3"),
        ({"per_class": 41}, "train", r"\(train\) has 40 samples of class 0, but 41 are requested"),
        ({"test_per_class": 11}, "test", r"\(test\) has 10 samples of class 0, but 11 are requested"),
        ({"resolution": 7}, "train", "that of the images, 6 pixels, got 7"),
        ({}, "validation", "split must be one of train, test"),
        ({"missing": 4, "classes": (4, 5)}, "train", "has no sample of class 4"),
        ({"missing": 4}, "test", "has no sample of class 4"),
    ],
)
def test_bad_requests_are_refused_at_load(fields: dict[str, object], split: Split, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Toy(**fields).load(split)
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------- preprocessing


def test_standardized_unit_and_raw_differ_by_exactly_their_scale() -> None:
    raw, unit, standard = (Toy(preprocessing=p).load().images for p in ("raw", "unit", "standardized"))
    stored = torch.from_numpy(Toy().decode("train").images)
    assert torch.equal(raw, stored.float())
    assert raw.max() == 255
    assert torch.equal(unit, stored.float() / 255)
    mean, std = Toy().statistics()
    for channel in range(3):
        expected = (stored[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(standard[:, channel].double(), expected, atol=1e-5, rtol=1e-5)


def test_md_makes_three_by_thirty_two() -> None:
    gray = data.FashionMNISTSubset(classes=(0, 1), per_class=4, preprocessing="md").load()
    assert gray.shape == (3, 32, 32)
    assert torch.equal(gray.images[:, 0], gray.images[:, 2])
    unit = data.FashionMNISTSubset(classes=(0, 1), per_class=4, preprocessing="unit").load().images
    pixels = gray.images[:, 0] * 0.3081 + 0.1307
    # enlarging by 8/7 with half-pixel centers: row i is read at (i + .5) 7/8 - .5, clipped to the image
    where = ((np.arange(32) + 0.5) * 28 / 32 - 0.5).clip(0, 27)
    low = np.floor(where).astype(int)
    high, part = np.minimum(low + 1, 27), torch.from_numpy(where - low).float()
    rows = unit[:, 0][:, low] * (1 - part[:, None]) + unit[:, 0][:, high] * part[:, None]
    expected = rows[:, :, low] * (1 - part) + rows[:, :, high] * part
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)
    color = Toy(preprocessing="md", classes=(0, 1)).load()
    assert color.shape == (3, 32, 32)
    back = color.images[:, 2] * prepare.CIFAR_STD[2] + prepare.CIFAR_MEAN[2]
    assert back.max() <= 1.0001
    assert back.min() >= -0.0001


@given(st.integers(1, 30), st.integers(1, 30))
def test_area_weights_are_exact_averages(source: int, target: int) -> None:
    if target > source:
        with pytest.raises(ValueError, match="the resolution must be at most"):
            prepare.area_weights(source, target)
        return
    weights = prepare.area_weights(source, target)
    assert weights.shape == (target, source)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=0), target / source, atol=1e-12)  # every pixel has the same weight
    # each pixel is cut into `target` pieces, so that the mean over pieces is exact
    fine = np.repeat(np.arange(source, dtype=float), target)
    np.testing.assert_allclose(weights @ np.arange(source), fine.reshape(target, source).mean(axis=1), atol=1e-9)


def test_resize_area_is_the_block_mean_where_sizes_divide() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        prepare.resize_area(images, 16), torch.nn.functional.avg_pool2d(images, 2), atol=1e-6, rtol=0
    )
    uneven = prepare.resize_area(images[:, :, :, :20], 10)
    assert uneven.shape == (2, 3, 10, 10)
    torch.testing.assert_close(uneven.mean((2, 3)), images[:, :, :, :20].mean((2, 3)), atol=1e-6, rtol=0)


def test_resolution_keeps_the_mean() -> None:
    full, small = Toy(preprocessing="unit").load().images, Toy(preprocessing="unit", resolution=4).load().images
    assert small.shape[1:] == (3, 4, 4)
    torch.testing.assert_close(small.mean((2, 3)), full.mean((2, 3)), atol=1e-6, rtol=0)


# --------------------------------------------------------------------------------- specs, cache, subset


def test_specs_round_trip_and_never_name_a_place() -> None:
    for kind in ("mnist", "fashion_mnist", "fashion_mnist_subset", "cifar10", "svhn"):
        dataset = Dataset.member(kind)(classes=(1, 0), per_class=(900, 100), resolution=16)
        assert Dataset.from_spec(dataset.spec()) == dataset
        assert pickle.loads(pickle.dumps(dataset)) == dataset
        assert hash(dataset) == hash(Dataset.from_spec(dataset.spec()))
        names = {"kind", "classes", "per_class", "test_per_class", "preprocessing", "resolution"}
        assert set(dataset.spec()) == names


def test_loads_are_shared_in_a_process() -> None:
    first = data.FashionMNISTSubset(classes=(0, 1), per_class=10).load()
    assert data.FashionMNISTSubset(classes=(0, 1), per_class=10).load() is first
    assert data.FashionMNISTSubset(classes=(1, 0), per_class=10).load() is not first


def test_the_embedded_subset() -> None:
    assert bundled.FILE.stat().st_size < 6_500_000
    train, test = data.FashionMNISTSubset().load(), data.FashionMNISTSubset().load("test")
    assert train.labels.bincount().tolist() == [1000] * 10
    assert test.labels.bincount().tolist() == [1000, 1000, *[200] * 8]
    assert train.shape == (1, 28, 28)
    assert abs(float(train.images.mean())) < 0.02
    assert abs(float(train.images.std()) - 1) < 0.02
    assert 10_000 < int(train.ids.max()) < 60_000  # ids are positions in the full set, not in the subset
    some = data.FashionMNISTSubset(classes=(9, 3), per_class=5).load()
    places = [int((train.ids == i).nonzero()) for i in some.ids]
    assert train.labels[places].tolist() == [(9, 3)[label] for label in some.labels]
    assert torch.equal(train.images[places], some.images)


def test_a_damaged_subset_is_refused(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bundled.FILE.read_bytes()
    path = type(bundled.FILE)(str(tmp_path)) / "damaged.npz"
    monkeypatch.setattr(bundled, "FILE", path)
    with pytest.raises(FileNotFoundError):
        data.FashionMNISTSubset().load()
    for damaged in (content[:-500], content[:200_000] + b"\0" * 9 + content[200_009:], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="install byrote again"):
            data.FashionMNISTSubset().load()
    with np.load(type(path)(data.base.__file__).parent / "fashion_mnist_subset.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["train_labels"] = arrays["train_labels"][::-1]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="a different file"):
        data.FashionMNISTSubset().load()


def test_small_requests_to_the_full_set_need_nothing_else() -> None:
    fields = {"classes": (0, 1), "per_class": 50, "test_per_class": 1000}
    full, subset = data.FashionMNIST(**fields), data.FashionMNISTSubset(**fields)
    assert full.available()
    for split in ("train", "test"):
        assert torch.equal(full.load(split).images, subset.load(split).images)
        assert torch.equal(full.load(split).ids, subset.load(split).ids)
    for more in ({"per_class": None}, {"per_class": 1001}, {"classes": (0, 2)}, {"test_per_class": (201, 1001)}):
        assert not data.FashionMNIST(**(fields | more)).available()


def test_preprocessing_leaves_its_input_alone() -> None:
    for images in (torch.rand(2, 3, 32, 32), torch.full((2, 1, 4, 4), 7, dtype=torch.uint8)):
        before = images.clone()
        for preprocessing in ("standardized", "unit", "md", "raw"):
            prepare.pixels(images, preprocessing, None, (0.5,), (0.5,))
        assert torch.equal(images, before)


def test_raw_is_a_plain_tuple_of_arrays() -> None:
    assert Raw._fields == ("images", "labels", "ids")
