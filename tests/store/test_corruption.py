"""Long: flipped bits and truncated or swapped files never silently change a table, verdict or continued training."""

import random
import shutil

import pytest
from toys import tiny

import byrote
from byrote.store import Entry, Plan, commit, compacted
from byrote.store.status import mark_unavailable
from byrote.store.verified import whole_runs
from byrote.training import Checkpoint, train

pytestmark = pytest.mark.long

FLIPS, CUTS = 150, 30
EXPERIMENTS = [tiny(seed=s, loss=loss) for s in (0, 1) for loss in ("cross_entropy", "robust_log")]
FILES = ["manifest.json", "spec.json", "history.parquet", "features.parquet", "samples.parquet", "weights.safetensors"]
KEY, OTHER = EXPERIMENTS[0].key, EXPERIMENTS[1].key


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    missing = tiny(seed=7)
    entries = (*EXPERIMENTS, missing)
    Plan("study", "", {}, (), tuple(Entry(e.key, "part", e.spec(), e.contents) for e in entries)).write(root)
    for run in train(EXPERIMENTS, keep_weights=True):
        commit(root, run)
    mark_unavailable(root, {missing.key: "no such file"})
    return root


def everything(root):
    """Read everything: tables, specs, samples, weights, and the facts about the store."""
    opened = byrote.open(root)
    results = opened.results
    model = opened.model(KEY)
    about = {name: value for name, value in results.about.items() if name != "files"}
    states = [value.sum().item() for value in model.state_dict().values()]
    return results.runs, results.history, results.features, opened.samples(KEY), about, states


def tables(root):
    results = byrote.open(root).results
    about = {name: value for name, value in results.about.items() if name != "files"}
    return results.runs, results.history, results.features, about


def damages(content):
    """Yield descriptions of damage: flipped bits, in particular in the first and last bytes, and truncations."""
    draw = random.Random(len(content))
    places = [*range(16), *range(len(content) - 16, len(content))]
    places += [draw.randrange(len(content)) for _ in range(FLIPS - len(places))]
    for place in places:
        bit = 1 << draw.randrange(8)
        yield f"bit {bit} of byte {place}", content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    for length in [0, 1, len(content) - 1, *(draw.randrange(len(content)) for _ in range(CUTS - 3))]:
        yield f"cut to {length}", content[:length]


def silent(path, read, wanted):
    """Return the kinds of damage to a file after which reading gives a different result without an error."""
    whole, unnoticed = path.read_bytes(), []
    for what, content in damages(whole):
        path.write_bytes(content)
        sentence = refused(read, wanted)
        if sentence is None:
            unnoticed.append(what)
        elif sentence:
            assert "\n" not in sentence, what
            assert path.parent.name in sentence or path.name in sentence, (what, sentence)
    path.write_bytes(whole)
    return unnoticed


def refused(read, wanted):
    """Return the error message of reading; empty if the result is right, None if it is wrong without an error."""
    try:
        return "" if read() == wanted else None
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("name", [*(f"{KEY}/{name}" for name in FILES), "plan.json", "unavailable.json"])
def test_no_damage_of_a_store_changes_what_is_read(store, name):
    wanted = everything(store)
    assert silent(store / name, lambda: everything(store), wanted) == []
    assert everything(store) == wanted


@pytest.mark.parametrize("name", ["about.json", "runs.parquet", "table.parquet", "features.parquet"])
def test_no_damage_of_compacted_results_changes_what_is_read(store, tmp_path, name, monkeypatch):
    monkeypatch.setattr(compacted, "_PAUSE", 0.0)
    folder = byrote.open(store).compact(tmp_path / "results")
    wanted = tables(folder)
    assert silent(folder / name, lambda: tables(folder), wanted) == []


@pytest.mark.parametrize("name", FILES)
def test_no_file_of_another_run_is_believed(store, name):
    mine, other = store / KEY / name, store / OTHER / name
    whole = mine.read_bytes()
    shutil.copy(other, mine)
    manifests, flaws = whole_runs(store, [KEY], believed=False)
    assert (set(manifests), set(flaws)) == (set(), {KEY})
    mine.write_bytes(whole)
    assert whole_runs(store, [KEY], believed=False)[1] == {}


def test_every_damage_is_known_to_the_next_sweep(store):
    for name in FILES:
        path = store / KEY / name
        whole = path.read_bytes()
        for what, content in damages(whole):
            path.write_bytes(content)
            assert set(whole_runs(store, [KEY])[1]) == {KEY}, (name, what)
        path.write_bytes(whole)


class Stop(Exception):
    pass


def test_no_damage_of_a_checkpoint_changes_the_training_that_goes_on(tmp_path):
    def stop(progress):
        if progress.epoch == 2:
            raise Stop

    (experiment,) = EXPERIMENTS[:1]
    whole = train([experiment])[0]
    path = tmp_path / "c.checkpoint"
    with pytest.raises(Stop):
        train([experiment], on_epoch=stop, checkpoint=Checkpoint(path, seconds=0))
    saved = path.read_bytes()
    for what, content in damages(saved):
        path.write_bytes(content)
        seen = []
        (run,) = train([experiment], on_epoch=lambda p, s=seen: s.append(p.epoch), checkpoint=Checkpoint(path, 3600))
        assert seen[0] == 1, what
        assert all((run.history[name] == whole.history[name]).all() for name in ("train_loss", "j1", "j2")), what
    path.write_bytes(saved)
    seen = []
    train([experiment], on_epoch=lambda p: seen.append(p.epoch), checkpoint=Checkpoint(path, 3600))
    assert seen[0] == 3, "an undamaged checkpoint continues"
