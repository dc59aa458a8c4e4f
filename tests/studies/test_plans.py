"""Built-in studies plan the runs that the claims need; these tests inspect the plans and train nothing."""

import json
from functools import cache

import numpy as np
import pytest

from byrote import claims
from byrote.analysis import Analysis
from byrote.store import Results
from byrote.study import Study
from byrote.table import Table
from byrote.training import train
from byrote.training.facts import facts_of

STUDIES = ("memorization-dilation", "loss-function", "robust")
MD = {"A2", "A3", "A4", "A5", "A5r", "A6", "A7", "A8", "A10", "A11", "A12", "A13", "A14", "A15", "B7"}
MD_MEDIUM = MD - {"A2", "A14"}  # these two claims are tested by the study "mechanism"
LF = {"B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10"}
COUNTS = {
    ("memorization-dilation", "quick"): (100, 150),
    ("memorization-dilation", "small"): (1400, 1800),
    ("memorization-dilation", "paper"): (3000, 4000),
    ("memorization-dilation", "medium"): (1100, 1150),
    ("loss-function", "medium"): (290, 300),
    ("loss-function", "quick"): (40, 80),
    ("loss-function", "small"): (140, 170),
    ("loss-function", "paper"): (150, 200),
    ("robust", "quick"): (40, 90),
    ("robust", "small"): (450, 650),
    ("robust", "paper"): (450, 700),
}
SIZES = {"mnist": 6000, "fashion_mnist": 6000, "cifar10": 5000, "svhn": 7000, "fashion_mnist_subset": 1000}


def planned(study, scale):
    return Study.load(study).experiments(scale)


def n_train(data):
    counts = data.per_class or SIZES[data.kind]
    return sum(counts) if isinstance(counts, tuple) else counts * data.num_classes


def facts(study, scale, monkeypatch):
    """Return a row per planned run: its spec by dotted path, and its facts as the engine writes them."""
    monkeypatch.setattr("byrote.noise.Recorded.effective_rate", lambda *_: 0.4)  # this test does not read the labels
    monkeypatch.setattr("byrote.noise.Recorded.content", lambda own: own.path, raising=False)
    return _facts(study, scale)


@cache
def _facts(study, scale):
    rows = []
    for part, e in Study.load(study).grid(scale):
        width = getattr(e.network, "feature_width", 256)
        row = {"key": e.key, "part": part.name, "spec": json.dumps(e.spec()), "contents": "{}"}
        row["bind"] = json.dumps(part.bind)
        rows.append({**leaves(e.spec()), **row, **facts_of(e, n_train(e.data), 1000, width)})
    return rows


def leaves(spec, path=()):
    """Return every field of a spec by its dotted path."""
    if not isinstance(spec, dict):
        return {".".join(path): spec}
    return {place: leaf for key, inner in spec.items() for place, leaf in leaves(inner, (*path, key)).items()}


STORED = ("key", "part", "spec", "contents", "bind", "loss", "alpha", "num_classes", "n_train", "n_test")
STORED += ("feature_width", "effective_rate", "start_loss")


def imagined(rows):
    """Make a table with four evaluations per run, in which every premise is met and all runs differ."""
    rng = np.random.default_rng(0)
    runs, table = [], []
    for place, row in enumerate(rows):
        row = {name: np.nan if value is None else value for name, value in row.items()}
        runs.append({name: row[name] for name in STORED} | {"status": "done", "error": ""})
        rho = row["effective_rate"]
        m = 0.99 if row["loss"] not in ("RLL", "nMSE") or row["start_loss"] else 0.05
        for part in (0.1, 0.5, 0.8, 1.0):
            epoch = max(round(part * row["training.epochs"]), 1)
            noise = rng.standard_normal(8)
            late = m if part > 0.4 else 0.1
            mem = rho * (1 + 0.1 * noise[0]) + 0.01
            nc1 = 0.05 + mem
            readings = {
                "epoch": epoch,
                "j1": (1 - rho) * 0.999 + rho * late,
                "j2": (1 - rho) * 0.999 + rho * (1 - late) * 0.9,
                "corrupted_as_observed": late,
                "corrupted_as_true": (1 - late) * 0.9,
                "clean_accuracy": 0.999,
                "test_accuracy": 0.95 - 0.2 * nc1 + 0.001 * noise[1],
                "nc1_test": nc1 + 0.001 * noise[2],
                "nc1_train_clean": nc1 * 0.3 + 0.001 * noise[3],
                "realised_rate": rho,
                "norm_cv": 0.1,
                "uncentred_cosine": 0.01,
                "centred_cosine": -1.0,
                "train_norm_cv": 0.1,
                "train_uncentred_cosine": 0.01,
                "train_classes_at_zero": 0,
                "collapsed": False,
                "class_distance": 1.0,
                "mem_mean": 1 + 0.1 * noise[4],
                "mem_relative": 0.5 + 0.05 * noise[5],
                "mem_noise_weighted": mem,
                "mem_noise_weighted_relative": mem / 2,
                "mem_total": mem * row["n_train"],
                "mem_clean_mean": 0.1,
                "train_loss": 0.1,
                "rate_estimate": rho,
                "rate_low": rho - 0.01,
                "rate_high": rho + 0.01,
                "underfits": False,
            }
            table.append({"run": place, "key": row["key"], **readings})
    return Analysis.of(Results(Table.of(runs), Table.of(table), "imagined", {}))


def judged(analysis, claim):
    (verdict,) = claims.evaluate(analysis, [claim])
    return verdict


@pytest.mark.parametrize(("study", "scale"), COUNTS)
def test_every_scale_is_valid_and_of_the_size_it_should_be(study, scale):
    low, high = COUNTS[study, scale]
    runs = planned(study, scale)
    assert low <= len(runs) <= high, len(runs)
    assert len({e.key for _, e in runs}) == len(runs)


@pytest.mark.parametrize(
    ("study", "wanted"),
    [("memorization-dilation", MD), ("loss-function", LF), ("robust", {"A5", "A5r", "B7", "C4"})],
)
def test_the_claims_find_their_cells(study, wanted, monkeypatch):
    """On tables in which every premise holds, no claim of the study is "not tested"."""
    analysis = imagined(facts(study, "small", monkeypatch))
    for name in sorted(wanted):
        verdict = judged(analysis, name)
        assert verdict.verdict != "not tested", (name, verdict.reason)


@pytest.mark.parametrize(("study", "wanted"), [("memorization-dilation", MD_MEDIUM), ("loss-function", LF | {"C4"})])
def test_the_claims_find_their_cells_at_medium(study, wanted, monkeypatch):
    analysis = imagined(facts(study, "medium", monkeypatch))
    for name in sorted(wanted):
        verdict = judged(analysis, name)
        assert verdict.verdict != "not tested", (name, verdict.reason)


def test_variations_in_the_number_of_images_decide_nothing(monkeypatch):
    rows = facts("loss-function", "medium", monkeypatch)
    deciding = [row for row in rows if row["part"] not in ("images-a-class", "all-images", "printed-rate")]
    both = [imagined(some) for some in (rows, deciding)]
    for name in sorted(LF - {"B7"}):
        whole, alone = (judged(one, name) for one in both)
        (first, second) = ([row for row in one.details if not row.get("variation")] for one in (whole, alone))
        assert {row["cell"] for row in first} >= {row["cell"] for row in second}
        assert len(first) == len(second) > 0, name


@pytest.mark.parametrize("scale", ["quick", "small", "medium", "paper"])
def test_seeds_suffice_for_intervals(scale):
    fewest = {"quick": 1, "small": 3, "medium": 3, "paper": 3}[scale]
    for study in (one for one in STUDIES if scale in Study.load(one).scale_names):
        cells = {}
        for part, e in planned(study, scale):
            cells.setdefault((part, e.replace(seed=0).key), set()).add(e.seed)
        short = {part for (part, _), seeds in cells.items() if len(seeds) < fewest and part != "rll-alpha"}
        assert not short, (study, short)


MD_FIELDS = ("network.depth", "network.width", "network.feature_width", "training.epochs")
MD_FIELDS += ("training.optimizer.lr", "training.optimizer.weight_decay")


def test_memorization_dilation_is_the_papers_grid(monkeypatch):
    rows = [row for row in facts("memorization-dilation", "paper", monkeypatch) if row["part"].startswith("figure-1")]
    assert {row["data.kind"] for row in rows} == {"mnist", "fashion_mnist", "cifar10", "svhn"}
    assert {row["loss"] for row in rows} == {"CE", "LS", "LR", "MSE", "RLL", "nMSE"}
    assert {row["seed"] for row in rows} == set(range(10))
    rates = {row["noise.rate"] for row in rows} - {0}
    assert (min(rates), max(rates)) == (0.025, 0.4)
    settings = {tuple(r[name] for name in MD_FIELDS) for r in rows}
    assert settings == {(9, 2048, 2, 200, 0.1, 0.001)}
    assert {
        (row["training.schedule.kind"], row["training.schedule.every"], row["data.preprocessing"]) for row in rows
    } == {("step", 40, "md")}


def test_loss_function_is_the_papers_recipes(monkeypatch):
    rows = facts("loss-function", "paper", monkeypatch)
    fields = ("optimizer.kind", "optimizer.lr", "epochs", "schedule.kind")
    recipes = {row["part"]: tuple(row[f"training.{name}"] for name in fields) for row in rows}
    assert {row.get("training.schedule.gamma") for row in rows if row["part"] == "inception-lite"} == {0.95}
    assert {str(row.get("training.schedule.milestones")) for row in rows if row["part"] == "resnet-32"} == {
        "[100, 150]"
    }
    assert recipes["inception-lite"] == ("sgd", 0.01, 100, "exponential")
    assert recipes["resnet-32"] == ("sgd", 0.1, 200, "multi_step")
    assert recipes["resnet-18"] == ("adam", 0.001, 200, "constant")
    for part in ("inception-lite", "resnet-32", "resnet-18"):
        mine = [row for row in rows if row["part"] == part]
        assert {row["noise.rate"] for row in mine} == {0.0, 0.2, 0.4, 0.6}
        assert {row["loss"] for row in mine} == {"CE", "MSE-p", "RLL", "nMSE"}
    assert {row["alpha"] for row in rows if row["loss"] == "RLL"} == {0.01, 0.1, 0.45}


def test_factors_are_there(monkeypatch):
    rows = facts("memorization-dilation", "small", monkeypatch)

    def listed(part, name):
        return [row[name] for row in rows if row["part"] == part]

    def values(part, name):
        return set(listed(part, name))

    assert values("batch-size", "training.batch_size") | values("feature-width", "training.batch_size") >= {16, 128}
    assert values("feature-width", "network.feature_width") == {8, 64}, "M = 2 is in the part figure-1"
    assert values("width", "network.width") == {32, 512}, "width 256 is in the part figure-1"
    assert {str(v) for v in listed("imbalance", "data.per_class")} == {"[900, 100]", "[500, 1400]"}
    assert {str(v) for v in listed("similar-classes", "data.classes")} == {"[0, 6]"}
    assert values("more-classes", "noise.kind") == {"uniform", "symmetric", "pair_flip", "latent_class"}
    assert {(row["num_classes"], row["feature_width"]) for row in rows if row["part"] == "more-classes"} == {
        (4, 4),
        (10, 10),
    }
    assert values("doubled", "training.epochs") == {160}


def test_human_noise_is_pinned_and_the_same_everywhere():
    models = {e.noise for part, e in planned("robust", "small") if part == "human-noise" and e.noise.kind == "recorded"}
    assert len(models) == 2
    for model in models:
        assert model.path.startswith("cache:cifar10n/")
        assert len(model.sha256) == 64


def test_quick_needs_nothing_beyond_the_package():
    for study in STUDIES:
        assert {e.data.kind for _, e in planned(study, "quick")} == {"fashion_mnist_subset"}
        assert all(e.noise.kind != "recorded" for _, e in planned(study, "quick"))


@pytest.mark.parametrize(
    ("study", "part", "claim"),
    [
        ("memorization-dilation", "doubled", "A10"),
        ("memorization-dilation", "figure-1-other-losses", "A4"),
        ("memorization-dilation", "similar-classes", "A14"),
        ("memorization-dilation", "more-classes", "A8"),
        ("memorization-dilation", "feature-width", "A7"),
        ("memorization-dilation", "width", "A13"),
        ("robust", "path-from-memorized", "C4"),
        ("loss-function", "weight-decay", "B10"),
        ("loss-function", "dropout", "B10"),
    ],
)
@pytest.mark.every(2)
def test_each_part_is_what_its_claim_reads(study, part, claim, monkeypatch):
    rows = facts(study, "small", monkeypatch)
    whole = judged(imagined(rows), claim)
    lacking = judged(imagined([row for row in rows if row["part"] != part]), claim)
    assert lacking.runs < whole.runs
    assert len(lacking.details) < len(whole.details)
    assert whole.verdict != "not tested"
    if claim == "A10":
        counts = [sum("when doubled" in row["what"] for row in one.details) for one in (whole, lacking)]
        assert counts[0] > 0 == counts[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "study", [pytest.param(s, marks=[pytest.mark.long] if s == "loss-function" else []) for s in STUDIES]
)
def test_every_configuration_trains(study):
    """Every network, loss, noise law and data set of the quick scale trains for an epoch without failure."""
    distinct = {}
    for part, e in planned(study, "quick"):
        distinct.setdefault((part, e.loss.label, e.noise.kind, e.data.digest()), e)
    short = {"epochs": 1, "evaluate_every": 1}
    for name, e in distinct.items():
        (run,) = train([e.replace(training=e.training.replace(**short))])
        assert run.status == "done", (name, run.error)
        assert np.isfinite(run.final["j1"]), name
