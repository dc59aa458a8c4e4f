"""A setting is defined by every field of a spec except the loss, the noise rate and the seeds.

The components come from the registries and the fields from annotations (`fields.py`), so a new loss, data set or
setting is tested without being listed. A field for which no other value can be made fails the test.
"""

import json
from typing import Any, Literal

import pytest
from pydantic import Field
from stored import results_of
from toys import tiny

from byrote import data, losses, networks, noise
from byrote.analysis import Analysis
from byrote.analysis.specs import Specs, flatten
from byrote.component import Component
from byrote.experiment import Experiment
from byrote.recipe import Optimizer, Schedule, Training
from byrote.table import Table

from .fields import Files, NoOtherValueError, built, families, other_values, slots


class OwnData(data.Dataset):
    """A user's data set, with fields of every type."""

    count = 2
    depth: tuple[float, ...] = (0.5,)
    labels: dict[str, int] = {}
    path: str = ""
    seed: int = 0


class OwnNoise(noise.Noise):
    """A user's law that has no single rate."""

    rates: list[float] = [0.1, 0.2]
    seed: int = 0

    def effective_rate(self, num_classes):
        return 0.1


class OwnLoss(losses.Loss):
    """A user's loss that contains another loss."""

    inner: losses.Loss = losses.CrossEntropy()
    more: tuple[losses.Loss, ...] = (losses.CrossEntropy(),)
    seed: int = 0
    rate: float = 0.5


class OwnNetwork(networks.Network):
    """A user's network."""

    activation: Literal["relu", "tanh"] = "relu"
    bias: bool = True


class OwnOptimizer(Optimizer):
    """A user's optimizer."""

    rho: float | None = None


class OwnSchedule(Schedule):
    """A user's schedule."""

    warm: int = Field(default=0, ge=0)
    at: tuple[tuple[int, float], ...] = ()


OWN = [OwnData, OwnNoise, OwnLoss, OwnNetwork, OwnOptimizer, OwnSchedule]
# these components are registered only during these tests, because other tests read the registries as well
for _member in OWN:
    del _member.registry[_member.kind]


@pytest.fixture(autouse=True)
def registered():
    for member in OWN:
        member.registry[member.kind] = member
    yield
    for member in OWN:
        del member.registry[member.kind]


def members():
    """Return every component that byrote or this module registers, without those of other test modules."""
    for base in families():
        for kind, member in base.registry.items():
            if member.__module__.startswith("byrote."):
                yield base, kind, member
        yield from ((base, member.kind, member) for member in OWN if issubclass(member, base))


FIELDS = [
    pytest.param(slot, member, name, id=f"{slot}-{kind}-{name}")
    for slot, family in slots(Experiment)
    for base, kind, member in members()
    if base is family
    for name in member.model_fields
]
KINDS = [
    pytest.param(slot, member, id=f"{slot}-{kind}")
    for slot, family in slots(Experiment)
    for base, kind, member in members()
    if base is family
]


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def at(path: str, part: Any) -> Experiment:
    """Return the tiny experiment with the component at this path replaced."""
    return tiny(**{path: part.spec() if isinstance(part, Component) else part})


def runs_of(*experiments: Experiment, bind: tuple[str, ...] = ()) -> Table:
    """Return the table of runs that a store of these experiments would contain."""
    return Table.of(
        [
            {
                "key": e.key,
                "spec": json.dumps(e.spec()),
                "contents": json.dumps(e.contents),
                "bind": json.dumps(list(bind)),
            }
            for e in experiments
        ]
    )


def compared(*experiments: Experiment, bind: tuple[str, ...] = ()) -> dict[str, bool]:
    """For setting, loss setting, rate and replicate: whether the experiments all differ in it, or all agree."""
    specs = Specs.of(runs_of(*experiments, bind=bind))
    fields = {
        "setting": specs.setting().tolist(),
        "loss_setting": specs.loss_setting.tolist(),
        "rate": [str(rate) for rate in specs.rate],
        "replicate": specs.replicate.tolist(),
    }
    digests = {"setting": specs.setting_digest, "loss_setting": specs.loss_digest}
    differ = {}
    for name, codes in fields.items():
        assert len(set(codes)) in (1, len(codes)), (
            f"{name}: some of the specs differ and some are equal, expected all or none"
        )
        differ[name] = len(set(codes)) > 1
        if name in digests:
            named = {digests[name](place) for place in range(len(codes))}
            assert len(named) == len(set(codes)), (
                f"the digests of {name} distinguish different specs than the numbers do"
            )
    return differ


SAME = {"setting": False, "loss_setting": False, "rate": False, "replicate": False}


def expected(slot: str, name: str, member: type[Component] | None) -> dict[str, bool]:
    """Return what a changed field should change: the loss, the rate, or (for all other fields) the setting."""
    if slot == "loss":
        return SAME | {"loss_setting": True}
    if slot == "noise" and name == "rate":
        return SAME | {"rate": True}
    return SAME | {"setting": True}


def test_the_parts_and_their_places_are_found():
    assert {slot for slot, _ in slots(Experiment)} == {
        *("data", "noise", "loss", "start", "network", "training.optimizer", "training.schedule")
    }
    names = {member.__name__ for _, _, member in members()}
    assert {"OwnData", "OwnNoise", "OwnLoss", "OwnNetwork", "OwnOptimizer", "OwnSchedule"} <= names
    assert {"Recorded", "Weighted", "ActivePassive", "Own", "ImageFolder", "ClassConditional", "Cosine"} <= names


@pytest.mark.parametrize(("slot", "member", "name"), FIELDS)
def test_two_specs_that_differ_in_one_field_of_a_part_never_stand_together(files, slot, member, name):
    part = built(member, files)
    changed = other_values(part, name, files)
    assert compared(*(at(slot, one) for one in (part, *changed))) == expected(slot, name, member)


@pytest.mark.parametrize(("slot", "member"), KINDS)
def test_two_kinds_of_a_part_never_stand_together(files, slot, member):
    part = built(member, files)
    others = [
        one
        for base, kind, other in members()
        if issubclass(member, base) and other is not member
        for one in [built(other, files)]
    ]
    assert others
    for other in others:
        differ = compared(at(slot, part), at(slot, other))
        assert differ[("loss_" if slot == "loss" else "") + "setting"], f"{part} and {other}"


@pytest.mark.parametrize("name", Training.model_fields)
def test_two_specs_that_differ_in_one_field_of_training_never_stand_together(files, name):
    changed = [tiny().replace(training=one) for one in other_values(tiny().training, name, files)]
    assert compared(tiny(), *changed) == SAME | {"setting": True}


@pytest.mark.parametrize("name", Experiment.model_fields)
def test_two_specs_that_differ_in_one_field_of_an_experiment_never_stand_together(files, name):
    changes = {"loss": "loss_setting", "seed": "replicate", "noise_seed": "replicate", "split_seed": "replicate"}
    wanted = SAME | {changes.get(name, "setting"): True}
    differences = [compared(tiny(), one) for one in other_values(tiny(), name, files, count=4)]
    for differ in differences:
        # a different law may also have a different rate
        assert differ | ({"rate": False} if name == "noise" else {}) == wanted


def test_every_loss_inside_a_loss_counts(files):
    """A loss counts even three levels deep inside other losses, in a field or in a tuple."""
    deep = [losses.Weighted(losses.Normalized(losses.Focal(gamma=gamma))) for gamma in (1.0, 2.0, 3.0)]
    assert compared(*(at("loss", loss) for loss in deep)) == SAME | {"loss_setting": True}
    assert compared(*(at("start", loss) for loss in deep)) == SAME | {"setting": True}
    listed = [OwnLoss(more=(losses.CrossEntropy(), losses.Focal(gamma=gamma))) for gamma in (1.0, 2.0)]
    assert compared(*(at("loss", loss) for loss in listed)) == SAME | {"loss_setting": True}


@pytest.mark.parametrize("rate", ["rates", "matrix"])
def test_a_law_without_a_rate_keeps_all_its_fields_in_the_setting(rate):
    laws = {
        "rates": [noise.PerClass((a, 0.3)) for a in (0.1, 0.2)],
        "matrix": [noise.ClassConditional(((1 - a, a), (0.3, 0.7))) for a in (0.1, 0.2)],
    }[rate]
    specs = Specs.of(runs_of(*(at("noise", law) for law in laws)))
    assert specs.setting().tolist() == [0, 1]
    assert [str(value) for value in specs.rate] == ["nan", "nan"]


def test_no_noise_is_rate_0_and_a_setting_of_its_own():
    clean, none = Specs.of(runs_of(tiny(noise="clean"))), Specs.of(runs_of(tiny(**{"noise.rate": 0.0})))
    assert clean.rate.tolist() == none.rate.tolist() == [0.0]
    assert compared(tiny(noise="clean"), tiny(**{"noise.rate": 0.0}))["setting"]


# ------------------------------------------------------------------------------------------------ bound fields

BIND = ("training.optimizer.lr",)


def with_rate(lr, **changes):
    return tiny(**{"training.optimizer": {"kind": "sgd", "lr": lr}, **changes})


def test_a_bound_field_belongs_to_the_loss_and_not_to_the_setting():
    pair = with_rate(0.1), with_rate(0.2)
    assert compared(*pair) == SAME | {"setting": True}
    assert compared(*pair, bind=BIND) == SAME | {"loss_setting": True}
    losses_apart = with_rate(0.1, loss="cross_entropy"), with_rate(0.2, loss="robust_log")
    assert compared(*losses_apart, bind=BIND) == SAME | {"loss_setting": True}
    assert compared(with_rate(0.1), with_rate(0.1, **{"training.clip": 1.0}), bind=BIND) == SAME | {"setting": True}


@pytest.mark.parametrize(("slot", "member", "name"), [p for p in FIELDS if p.values[0].startswith("training.")])
def test_every_field_below_a_bound_one_is_bound(files, slot, member, name):
    part = built(member, files)
    pair = [at(slot, one) for one in (part, *other_values(part, name, files))]
    assert compared(*pair, bind=(slot,)) == SAME | {"loss_setting": True}
    beside = {"training.optimizer": "training.schedule", "training.schedule": "training.optimizer"}[slot]
    assert compared(*pair, bind=(beside,)) == SAME | {"setting": True}


def test_runs_that_bind_and_runs_that_do_not_are_told_apart():
    """The same learning rate is bound to the loss in one run, and is part of the setting in the other."""
    bound, free = runs_of(with_rate(0.1), bind=BIND).rows(), runs_of(with_rate(0.1, seed=1)).rows()
    specs = Specs.of(Table.of(bound + free))
    assert specs.setting().tolist() == [0, 1]
    assert specs.setting_digest(0) != specs.setting_digest(1)


# ------------------------------------------------------------------------------------------------ files by content


def arrays(path):
    return tiny(data={"kind": "arrays", "path": str(path)})


def test_files_count_by_their_content_and_not_by_their_name(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    one, other = tmp_path / "a" / "mine.npz", tmp_path / "b" / "mine.npz"
    one.write_bytes(b"content")
    other.write_bytes(b"content")
    first = arrays(one)
    assert compared(first, arrays(other)) == SAME, "two files with the same content are the same data"
    assert first.key == arrays(other).key
    other.write_bytes(b"another")
    assert compared(first, arrays(other)) == SAME | {"setting": True}, (
        "files with the same name and different content are different data"
    )
    one.write_bytes(b"a third")
    assert compared(first, arrays(one)) == SAME | {"setting": True}, "a file with changed content is different data"
    (tmp_path / "a" / "folder").mkdir()
    for name in ("images", "labels"):
        (tmp_path / "a" / "folder" / f"{name}.npy").write_bytes(b"content")
    assert compared(first, arrays(tmp_path / "a" / "folder")) == SAME | {"setting": True}


def test_a_checksum_that_stands_beside_a_path_tells_contents_apart(tmp_path):
    path = tmp_path / "mine.npz"
    path.write_bytes(b"content")
    pinned = [tiny(data={"kind": "arrays", "path": str(path), "sha256": digit * 64}) for digit in "01"]
    assert compared(*pinned) == SAME | {"setting": True}
    right = arrays(path).contents[f"file:{path}"]
    assert compared(arrays(path), tiny(data={"kind": "arrays", "path": str(path), "sha256": right})) == SAME


def test_own_modules_count_by_their_source():
    experiment = tiny(loss=OwnLoss().spec(), network=OwnNetwork().spec())
    assert f"module:{__name__}" in experiment.contents
    row = runs_of(experiment).rows()[0]
    contents = json.loads(row["contents"]) | {f"module:{__name__}": "0" * 16}
    specs = Specs.of(Table.of([row, row | {"contents": json.dumps(contents)}]))
    assert specs.setting().tolist() == [0, 1], "a changed module changes the setting, because it defines the network"
    assert specs.loss_setting.tolist() == [0, 1], (
        "a changed module changes the loss setting, because it defines the loss"
    )


# ------------------------------------------------------------------------------------------------ repetitions


def test_repetitions_differ_by_every_combination_of_their_seeds():
    seeds = [(0, None, None), (1, None, None), (0, 0, None), (0, 1, None), (0, None, 0), (0, 1, 1), (1, 0, None)]
    runs = [tiny(seed=a, noise_seed=b, split_seed=c) for a, b, c in seeds]
    assert compared(*runs) == SAME | {"replicate": True}
    assert Specs.of(runs_of(*runs)).replicate.tolist()[:2] == [0, 1], (
        "if only the seed differs, the replicate number is the seed"
    )


def row_of(key, **changes):
    return {"key": key, "loss": "CE", "rate": 0.2, "seed": 0, "epoch": 1, "j1": 0.5, **changes}


def test_two_runs_of_equal_setting_loss_rate_and_seed_are_an_error_that_names_both():
    with pytest.raises(ValueError, match=r"runs aaa and bbb have the same setting, loss, rate, and seeds") as caught:
        Analysis.of(results_of([row_of("xxx", seed=1), row_of("aaa"), row_of("yyy", rate=0.3), row_of("bbb")]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"noise_seed": 0},
        {"rate": 0.3},
        {"loss": "LS"},
        {"width": 8},
        {"spec": {"training.clip": 1.0}},
        {"spec": {"split_seed": 0}},
    ],
)
def test_runs_that_differ_in_one_of_them_are_not(change):
    analysis = Analysis.of(results_of([row_of("aaa"), row_of("bbb", **change)]))
    assert analysis.runs["key"].tolist() == ["aaa", "bbb"]


def test_a_field_without_another_value_fails(files):
    class Stuck(Schedule, kind="stuck"):
        only: Literal["this"] = "this"

    try:
        with pytest.raises(NoOtherValueError, match=r"Stuck.only"):
            other_values(Stuck(), "only", files)
    finally:
        Schedule.registry.pop("stuck")


def test_leaves_are_named_by_their_paths():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None}) == {
        "a.b.c": 1,
        "a.d": [1, {"e": 2}],
        "f": None,
    }
