"""A split drawn by a seed: the samples and the class sizes stay the same, but the division differs."""

import numpy as np
import pytest
import torch
from toys import Blobs, tiny

from byrote import data
from byrote.training import prepare

SETS = {
    "equal": lambda folder: Blobs(samples=30, num=3),
    "unequal in training and test": lambda folder: data.FashionMNISTSubset(
        classes=(0, 7), per_class=(9, 30), test_per_class=(20, 4), resolution=4
    ),
    "own data": lambda folder: data.Arrays(path=_npz(folder)),
}


def _npz(folder):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [40, 25, 10]))
    np.savez(folder / "mine.npz", images=rng.integers(0, 256, (75, 4, 4), dtype=np.uint8), labels=labels)
    return str(folder / "mine.npz")


@pytest.fixture(params=SETS)
def some(request, tmp_path):
    return SETS[request.param](tmp_path)


def table(images):
    """Return the label and pixels of each sample, by id."""
    return {
        int(id): (int(label), pixels.numpy().tobytes())
        for id, label, pixels in zip(images.ids, images.labels, images.images, strict=True)
    }


def whole(dataset):
    """Return all samples of both splits by id, where samples from the test split get the id -1 - id."""
    test = {-1 - id: sample for id, sample in table(dataset.load("test")).items()}
    return table(dataset.load("train")) | test


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_every_sample_is_in_one_of_the_two_and_keeps_label_and_pixels(some, seed):
    train, test = some.load("train", seed), some.load("test", seed)
    assert len(train) + len(test) == len(whole(some))
    assert not set(train.ids.tolist()) & set(test.ids.tolist())
    assert table(train) | table(test) == whole(some)
    for images in (train, test):
        assert images.num_classes == some.num_classes
        assert images.ids.tolist() == sorted(images.ids.tolist()), "samples are in the order of their ids"


@pytest.mark.parametrize("seed", [0, 1])
def test_each_class_keeps_its_sizes(some, seed):
    for split in ("train", "test"):
        counts = [images.labels.bincount(minlength=3).tolist() for images in (some.load(split), some.load(split, seed))]
        assert counts[0] == counts[1]


def test_the_seed_alone_decides(some):
    first, again, other = (set(some.load("train", seed).ids.tolist()) for seed in (4, 4, 5))
    assert first == again != other
    assert first != set(some.load("train").ids.tolist())
    assert set(some.load("train", 0).ids.tolist()) != set(some.load("train").ids.tolist()), "seed 0 draws a split, too"


def test_samples_of_both_splits_are_drawn_alike():
    """Over many seeds, each sample is in the training split in half of the draws, because 40 of 80 per class are."""
    some = Blobs(samples=40, num=2)
    times = dict.fromkeys(whole(some), 0)
    for seed in range(100):
        for id in some.load("train", seed).ids.tolist():
            times[id] += 1
    # binomial: 100 draws of 1/2, plus or minus 5 standard deviations
    assert 25 < min(times.values()) <= max(times.values()) < 75
    training = np.mean([count for id, count in times.items() if id >= 0])
    # 80 samples of standard deviation 5, dependent because the sizes are fixed
    assert training == pytest.approx(50, abs=2.5)


def test_a_run_is_trained_and_tested_on_its_own_split():
    cohort = prepare([tiny(split_seed=3), tiny(split_seed=3, seed=1, noise_seed=0)])
    for split, images in (("train", cohort.train), ("test", cohort.test)):
        wanted = Blobs().load(split, 3)
        assert torch.equal(images.ids, wanted.ids)
        assert torch.equal(images.images, wanted.images)
        assert torch.equal(images.labels, wanted.labels)
    assert cohort.observed.shape == (2, 80)


@pytest.mark.parametrize("other", [None, 4])
def test_runs_of_two_splits_are_not_trained_together(other):
    with pytest.raises(ValueError, match="a cohort needs"):
        prepare([tiny(split_seed=3), tiny(split_seed=other)])


def test_runs_of_two_seeds_of_noise_train_together_on_their_own_labels():
    alone = [prepare([tiny(noise_seed=seed)]).observed[0] for seed in (0, 1)]
    assert not torch.equal(*alone)
    together = prepare([tiny(noise_seed=seed) for seed in (0, 1)])
    for experiment, observed in zip(together.experiments, together.observed, strict=True):
        assert torch.equal(observed, alone[experiment.noise_seed])
    assert torch.equal(prepare([tiny(seed=7, noise_seed=1)]).observed[0], alone[1])
    assert torch.equal(prepare([tiny(seed=1)]).observed[0], alone[1])
