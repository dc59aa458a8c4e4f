"""Short runs of all configurations at the `paper` scale of the studies: 8 images per class and one epoch.

Everything else is as in the papers. A configuration is a data set with its preparation, a network, a recipe, a noise
law and a start. Each is trained once, and each loss once with each kind of network. Data sets that are not on this
machine are skipped one by one.
"""

import math

import pytest

from byrote.files import DataUnavailableError
from byrote.study import Study
from byrote.training import train

STUDIES = ("loss-function", "robust", "memorization-dilation")
VARIED = {"noise.rate", "seed"}
SHORTENED = {"data.per_class", "data.test_per_class", "training.epochs"}
FINITE = {"train_loss", "j1", "j2", "test_accuracy", "realised_rate", "mem_total"}
RECORDED = FINITE | {
    *("epoch", "clean_accuracy", "corrupted_as_observed", "corrupted_as_true", "class_distance", "collapsed"),
    *("nc1_train_observed", "nc1_train_true", "nc1_train_clean", "nc1_test"),
    *("norm_cv", "uncentred_cosine", "centred_cosine"),
    *("mem_mean", "mem_noise_weighted", "mem_relative", "mem_noise_weighted_relative", "mem_clean_mean"),
    *("rate_estimate", "rate_low", "rate_high", "rate_stated", "underfits"),
}


def leaves(spec, path=()):
    """Return every field of a spec by its dotted path."""
    if not isinstance(spec, dict):
        return {".".join(path): spec}
    return {place: leaf for key, inner in spec.items() for place, leaf in leaves(inner, (*path, key)).items()}


def values(e):
    """Return every field with its value, except the noise rate and the seed."""
    return {(place, str(leaf)) for place, leaf in leaves(e.spec()).items() if place not in VARIED}


def learning(e):
    """Return the kind of network and the loss."""
    return e.network.kind, e.loss.digest()


def chosen(study):
    """Choose runs that cover all values, if possible with much noise and on Fashion-MNIST (partly in the package)."""

    def order(run):
        return run[1].data.kind != "fashion_mnist", -getattr(run[1].noise, "rate", 0)

    covered, selection = set(), []
    for part, e in sorted(Study.load(study).experiments("paper"), key=order):
        configuration = frozenset((place, leaf) for place, leaf in values(e) if not place.startswith("loss."))
        new = {configuration, learning(e)} - covered
        if new:
            covered |= new
            selection.append((part, e))
    return selection


def title(study, part, e):
    fields = e.network.spec() | {"loss": e.loss.label, "alpha": getattr(e.loss, "alpha", None), "noise": e.noise.kind}
    words = [part, e.data.kind, *(str(value) for value in fields.values() if value is not None)]
    return f"{study}:{'-'.join(words)}"


CHOSEN = {study: chosen(study) for study in STUDIES}


def cases():
    """Return a case per chosen run; only the first for each study and kind of network is tested without `make long`."""
    seen = set()
    for study in STUDIES:
        for part, e in CHOSEN[study]:
            kind = study, e.network.kind
            marks = [pytest.mark.long] if kind in seen else []
            seen.add(kind)
            yield pytest.param(e, id=title(study, part, e), marks=marks)


def short(e):
    counts = e.data.per_class
    few = tuple(8 * count // min(counts) for count in counts) if isinstance(counts, tuple) else 8
    data = e.data.replace(per_class=few, test_per_class=4)
    return e.replace(data=data, training=e.training.replace(epochs=1))


@pytest.mark.parametrize("study", STUDIES)
def test_the_chosen_runs_have_every_value_that_the_study_has(study):
    everything = [e for _, e in Study.load(study).experiments("paper")]
    few = [e for _, e in CHOSEN[study]]
    assert set().union(*map(values, few)) == set().union(*map(values, everything))
    assert {learning(e) for e in few} == {learning(e) for e in everything}


@pytest.mark.slow
@pytest.mark.parametrize("e", cases())
def test_a_run_of_the_paper_scale_trains(e):
    shorter = short(e)
    printed, trained = leaves(e.spec()), leaves(shorter.spec())
    assert printed.keys() == trained.keys()
    assert {place for place in printed if printed[place] != trained[place]} == SHORTENED
    if not shorter.data.available():
        pytest.skip(f"{e.data.kind} is not on this machine: byrote data get {e.data.kind}")
    try:
        (run,) = train([shorter])
    except DataUnavailableError as error:
        pytest.skip(str(error))
    assert (run.status, run.error) == ("done", "")
    assert run.experiment == shorter
    assert run.final["epoch"] == 1
    assert set(run.final) >= RECORDED
    assert {column for column in FINITE if not math.isfinite(run.final[column])} == set()
    assert (run.final["realised_rate"] > 0) == (e.noise.nominal_rate != 0)  # a recorded law has no nominal rate: NaN
    assert set(run.samples["true"].tolist()) == set(range(e.data.num_classes))
