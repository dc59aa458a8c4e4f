"""The real files, if this machine has them (otherwise skipped), have the published sizes and statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch

from byrote import data
from byrote.data import bundled, cifar, mnist

from .conftest import REAL, needs

pytestmark = pytest.mark.usefixtures("real")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("mnist", marks=needs("mnist")),
        pytest.param("fashion_mnist", marks=needs("fashion_mnist")),
        pytest.param("cifar10", marks=needs("cifar10")),
        pytest.param("svhn", marks=needs("svhn")),
    ],
)
def test_statistics_of_the_full_training_sets(kind: str) -> None:
    dataset = data.Dataset.member(kind)()
    raw = dataset.decode("train")
    counts = np.bincount(raw.labels)
    expected = {"mnist": (5421, 6742), "fashion_mnist": (6000, 6000), "cifar10": (5000, 5000), "svhn": (4659, 13861)}
    assert (counts.min(), counts.max()) == expected[kind]
    gray = np.arange(256) / 255
    for channel, (mean, std) in enumerate(zip(*dataset.statistics(), strict=True)):
        share = np.bincount(raw.images[:, channel].ravel(), minlength=256) / raw.images[:, channel].size
        assert abs(float(share @ gray) - mean) < 6e-5
        assert abs(float(share @ (gray - share @ gray) ** 2) ** 0.5 - std) < 6e-5
    assert np.bincount(dataset.decode("test").labels).sum() == (26_032 if kind == "svhn" else 10_000)


@needs("fashion_mnist")
def test_the_embedded_subset_is_the_first_of_each_class() -> None:
    for split in ("train", "test"):
        full = mnist.decode_split(mnist.FASHION_MNIST.read(REAL / "fashion_mnist"), split)  # type: ignore[arg-type]
        raw = bundled.decode(split)  # type: ignore[arg-type]
        assert np.array_equal(raw.images, full.images[raw.ids])
        assert np.array_equal(raw.labels, full.labels[raw.ids])
        for c, k in enumerate(bundled._COUNTS[split]):
            assert np.array_equal(raw.ids[raw.labels == c], np.flatnonzero(full.labels == c)[:k])
    same = data.FashionMNIST(classes=(3, 1), per_class=1000).load()
    more = data.FashionMNIST(classes=(3, 1), per_class=1001).load()
    shared = torch.isin(more.ids, same.ids)
    assert torch.equal(more.images[shared], same.images)
    assert int((~shared).sum()) == 2


@needs("fashion_mnist")
def test_the_script_makes_the_embedded_file_again(tmp_path: Path) -> None:
    import runpy

    script = Path(__file__).parents[2] / "scripts" / "make_subset.py"
    arrays = runpy.run_path(str(script))["subset"](REAL / "fashion_mnist")
    assert bundled.content_digest(arrays) == bundled.CONTENT


@needs("cifar10n")
@needs("cifar10")
def test_human_labels_have_their_published_rates() -> None:
    true = data.CIFAR10().decode("train").labels
    assert np.array_equal(true, cifar._human_arrays()["clean_label"])
    rates = {"aggre": 0.0901, "random1": 0.1723, "random2": 0.1812, "random3": 0.1764, "worst": 0.4021}
    for name, rate in rates.items():
        assert abs(float((data.human_labels(name) != true).mean()) - rate) < 6e-5
