"""Keys identify experiments by content, studies are grids, and a mistake in a study gives one sentence."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import torch
from toys import tiny

from byrote import data, losses, networks, noise
from byrote.experiment import Experiment
from byrote.identity import run_key
from byrote.recipe import Training
from byrote.study import Part, Study, list_studies


def test_the_key_is_pinned():
    """If this key changes, every stored run gets a new key: fix the cause, or raise the format version on purpose."""
    subset = data.FashionMNISTSubset(classes=(0, 1), per_class=8, test_per_class=4)
    network = networks.MLP(depth=2, width=8)
    assert (
        Experiment(subset, noise.Uniform(0.2), losses.LabelSmoothing(0.1), network, Training(epochs=1)).key
        == "53b7a3643b99682b"
    )
    assert run_key(tiny().spec(), {"module:toys": "0123456789abcdef"}) == "7bd6e50374ec4bd0"


def test_the_key_is_the_digest_of_spec_and_contents():
    assert tiny().key == run_key(tiny().spec(), tiny().contents)
    assert list(tiny().contents) == ["module:toys"]
    assert tiny().key != run_key(tiny().spec(), {"module:toys": "0" * 16}) != run_key(tiny().spec(), {})


def test_the_key_changes_with_every_field_that_changes_the_result():
    changes = [
        {"seed": 1},
        {"noise.rate": 0.3},
        {"loss": "robust_log"},
        {"network.width": 17},
        {"training.epochs": 5},
        {"training.precision": "bf16"},
        {"data.samples": 41},
        {"training.optimizer": {"kind": "sgd", "lr": 0.2}},
        {"training.drop_last": True},
        {"training.dropout": 0.1},
        {"noise_seed": 0},
        {"split_seed": 0},
        {"start": "cross_entropy"},
    ]
    keys = [tiny(**change).key for change in changes] + [tiny().key]
    assert len(set(keys)) == len(keys)


def corrupted(experiment, purpose="noise"):
    labels = torch.arange(200) % 2
    return experiment.noise.corrupt(labels, 2, experiment.generator(purpose)).tolist()


@pytest.mark.parametrize("purpose", ["noise", "held-out noise"])
def test_the_seed_of_the_noise_may_be_given_apart(purpose):
    assert corrupted(tiny(noise_seed=3), purpose) == corrupted(tiny(seed=3), purpose)
    assert corrupted(tiny(seed=5, noise_seed=3), purpose) == corrupted(tiny(noise_seed=3), purpose)
    assert corrupted(tiny(noise_seed=3), purpose) != corrupted(tiny(), purpose)
    assert corrupted(tiny(noise_seed=0), purpose) == corrupted(tiny(), purpose), (
        "noise seed 0 equals the default, which is the seed 0"
    )


@pytest.mark.parametrize("purpose", ["weights", "order", "dropout"])
def test_the_seed_of_the_noise_leaves_everything_else_alone(purpose):
    def draw(experiment):
        return torch.rand(8, generator=experiment.generator(purpose)).tolist()

    assert draw(tiny(noise_seed=3)) == draw(tiny()) != draw(tiny(seed=3))
    assert draw(tiny(split_seed=3)) == draw(tiny())


def test_an_experiment_survives_its_spec():
    experiment = tiny(loss={"kind": "label_smoothing", "alpha": 0.2})
    assert Experiment(**experiment.spec()) == experiment
    assert Experiment(**experiment.spec()).key == experiment.key


STUDY = """
name = "s"
[base]
data = { kind = "toys:Blobs" }
network = { kind = "mlp", depth = 2, width = 16 }
noise = { kind = "uniform" }
training = { epochs = 3, batch_size = 16 }
[scales.quick]
"training.epochs" = 1
[scales.long]
[[part]]
name = "product"
[part.axes]
loss = ["cross_entropy", { kind = "label_smoothing", alpha = 0.2 }]
"noise.rate" = [0.1, 0.2]
[[part]]
name = "paired"
only = ["long"]
[part.base]
loss = "cross_entropy"
"training.optimizer" = { kind = "adam", lr = 0.01 }
[part.paired]
"noise.rate" = [0.1, 0.3]
seed = [4, 5]
[part.scales.long.axes]
"network.width" = [8, 9]
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(STUDY)
    return Study.load(path)


def test_axes_are_a_product_and_paired_lists_go_row_by_row(study):
    quick = study.experiments("quick")
    assert [part for part, _ in quick] == ["product"] * 4
    assert {(e.loss.kind, e.noise.rate) for _, e in quick} == {
        (kind, rate) for kind in ("cross_entropy", "label_smoothing") for rate in (0.1, 0.2)
    }
    assert {e.training.epochs for _, e in quick} == {1}
    long = study.experiments("long")
    paired = [e for part, e in long if part == "paired"]
    assert [(e.noise.rate, e.seed, e.network.width) for e in paired] == [
        (0.1, 4, 8),
        (0.1, 4, 9),
        (0.3, 5, 8),
        (0.3, 5, 9),
    ]
    assert {e.training.optimizer.kind for e in paired} == {"adam"}
    assert {e.training.epochs for _, e in long} == {3}


def test_equal_runs_are_planned_once(study):
    doubled = study.replace(part=(study.part[0], study.part[0].replace(name="again")))
    assert doubled.experiments("quick") == study.experiments("quick")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, study):
    """Some editors begin a file with a byte order mark."""
    path = tmp_path / "s.toml"
    path.write_text(STUDY, "utf-8-sig")
    assert Study.load(str(path)) == study


def test_overrides_go_over_everything(study):
    runs = study.experiments("quick", {"noise.rate": 0.05, "training.epochs": 7})
    assert {e.noise.rate for _, e in runs} == {0.05}
    assert {e.training.epochs for _, e in runs} == {7}
    assert len(runs) == 2, "if an axis is overridden, equal runs are kept once"


@pytest.mark.parametrize(
    ("find", "replace", "sentence"),
    [
        ('"training.epochs" = 1', '"training.epoch" = 1', "did you mean 'epochs'"),
        ('kind = "uniform"', 'kind = "unifrom"', "did you mean 'uniform'"),
        ("[0.1, 0.2]", "[0.1, 1.0]", "less than 1"),
        ("alpha = 0.2", "alhpa = 0.2", "did you mean 'alpha'"),
        ('name = "product"', 'nam = "product"', "nam"),
        ("[0.1, 0.3]", "[0.1]", "lists of equal length"),
        ('name = "s"', "name = s", "not valid TOML"),
        ("[part.scales.long.axes]", "[part.scales.long.axis]", "part 'paired' at scale 'long' has no 'axis'"),
        ("[part.scales.long.axes]", "[part.scales.long.axis]", "did you mean 'axes'?"),
        ("[part.scales.long.axes]", "[part.scales.lnog.axes]", "part 'paired' names scale 'lnog'"),
        ("[part.scales.long.axes]", "[part.scales.lnog.axes]", "did you mean 'long'?"),
        ('"network.width" = [8, 9]', '"network.wdith" = [8, 9]', "did you mean 'width'?"),
        ('only = ["long"]', 'only = ["lung"]', "did you mean 'long'?"),
        ('only = ["long"]', 'onyl = ["long"]', "part 'paired': Part has no 'onyl'; did you mean 'only'?"),
        ('name = "s"', 'name = "s"\ndefault_scale = "quikc"', "did you mean 'quick'?"),
        ('name = "s"', 'name = "s"\ndefualt_scale = "quick"', "Study has no 'defualt_scale'"),
        ("[base]", "[bsae]", "Study has no 'bsae'; did you mean 'base'?"),
        ("[base]", "[base]\ntrainnig = {}", "did you mean 'training'?"),
        ("[base]", '[base]\n"training.optimizer" = {}', "'training.optimizer' is set to an empty table"),
        ("seed = [4, 5]", "seed = [true, 5]", "Experiment.seed: expected a number, got True"),
        ("seed = [4, 5]", "seed = []", "'seed' needs a list of at least one value in axes and paired, got []"),
        ('"noise.rate" = [0.1, 0.2]', '"noise.rate" = 0.1', "input should be a valid list, got 0.1"),
        ("seed = [4, 5]", "seed = [4, 5]\n'network.width' = [4, 5]", "'network.width' is both in axes and in paired"),
    ],
)
def test_a_mistake_in_a_study_gives_one_sentence(tmp_path, find, replace, sentence):
    path = tmp_path / "bad.toml"
    path.write_text(STUDY.replace(find, replace, 1))
    with pytest.raises(ValueError) as caught:
        Study.load(path).experiments("long") + Study.load(path).experiments("quick")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_without_a_part_is_a_mistake(tmp_path):
    path = tmp_path / "bad.toml"
    for text in ('name = "s"\n', 'name = "s"\npart = 3\n'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"bad\.toml: a study needs at least one \[\[part\]\] table"):
            Study.load(path)


def test_a_study_without_scales_says_so():
    with pytest.raises(ValueError, match=r"study 'demo' has a single size and no scale 'quick'; leave the scale out$"):
        Study.load("demo").experiments("quick")
    part = {"name": "p", "base": {"data": "toys:Blobs"}, "only": ["quick"]}
    with pytest.raises(ValueError, match=r"names scale 'quick', which the study does not have; it has no \[scales"):
        Study(name="s", part=[part])


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"p": {}}, "Experiment has no 'p'; known: data, loss, "),
        ({"trainig": {}}, "did you mean 'training'?"),
        ({"training": {}}, "'training' is set to an empty table, which changes nothing; give it fields"),
    ],
)
def test_an_override_that_changes_nothing_is_a_mistake(study, overrides, sentence):
    with pytest.raises(ValueError) as caught:
        study.experiments("quick", overrides)
    assert sentence in str(caught.value)


def test_unknown_studies_and_scales_name_the_nearest(study, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'demo'"):
        Study.load("demi")
    with pytest.raises(ValueError, match="did you mean 'quick'"):
        study.experiments("quik")
    with pytest.raises(ValueError, match="cannot be read"):
        Study.load(tmp_path / "none.toml")


@pytest.mark.parametrize("name", list_studies())
def test_built_in_studies_are_whole(name):
    study = Study.load(name)
    assert study.title
    for scale in study.scale_names:
        runs = study.experiments(scale)
        assert runs
        assert len({e.key for _, e in runs}) == len(runs)


def test_the_demo_is_the_grid_it_claims_to_be():
    runs = Counter(part for part, _ in Study.load("demo").experiments())
    assert runs == {
        "two-class": 2 * 5 * 4,
        "two-class-others": 4 * 3 * 3,
        "ten-class": 4 * 2 * 3,
        "fewer-images": 2 * 2 * 3,
    }


BOUND = """
name = "s"
bind = ["training.optimizer.lr"]
[base]
data = { kind = "toys:Blobs" }
network = { kind = "mlp", depth = 2, width = 16 }
noise = { kind = "uniform" }
[[part]]
name = "of the study"
[[part]]
name = "its own"
bind = ["training.optimizer", "training.epochs"]
base = { seed = 1 }
[[part]]
name = "none"
bind = []
base = { seed = 2 }
"""


def bound_study(tmp_path, text=BOUND):
    path = tmp_path / "s.toml"
    path.write_text(text)
    return Study.load(path)


def test_a_part_binds_what_it_says_or_else_what_its_study_says(tmp_path):
    bound = {part.name: part.bind for part, _ in bound_study(tmp_path).grid()}
    assert bound == {
        "of the study": ("training.optimizer.lr",),
        "its own": ("training.optimizer", "training.epochs"),
        "none": (),
    }


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "training.optimizer.rl",
            "binds 'training.optimizer.rl', which is not a field of its experiments; did you",
        ),
        ("loss", "cannot bind 'loss'"),
        ("loss.alpha", "cannot bind 'loss.alpha'"),
        ("seed", "cannot bind 'seed'"),
        ("noise_seed", "cannot bind 'noise_seed'"),
        ("split_seed", "cannot bind 'split_seed'"),
        ("noise.rate", "cannot bind 'noise.rate'"),
        ("noise", "cannot bind 'noise'"),
    ],
)
def test_what_cannot_be_bound_gives_one_sentence(tmp_path, path, sentence):
    study = bound_study(tmp_path, BOUND.replace("training.optimizer.lr", path))
    with pytest.raises(ValueError) as caught:
        study.grid()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_two_parts_ask_for_belongs_to_the_first(tmp_path):
    runs = bound_study(tmp_path, BOUND.replace("base = { seed = 1 }", "")).grid()
    assert [part.name for part, _ in runs] == ["of the study", "none"]


def test_the_study_that_the_docs_show_is_one():
    text = (Path(__file__).resolve().parent.parent / "docs" / "studies.md").read_text("utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    runs = Study(name="shown", **tomllib.loads(shown)).grid()
    assert len({e.key for _, e in runs}) == 2 * 2 * 2 * 2
    assert {part.bind for part, _ in runs} == {("training.optimizer.lr",)}
    assert {(e.loss.kind, e.training.optimizer.lr) for _, e in runs} == {("cross_entropy", 0.1), ("robust_log", 0.01)}


def test_a_part_is_checked():
    with pytest.raises(ValueError, match="Part has no 'axs'"):
        Part(name="x", axs={})
