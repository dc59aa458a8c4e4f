"""The page's command for a stored run trains exactly this run again."""

import shlex

from figures import made
from stored import results_of

from byrote.analysis import Analysis
from byrote.report.rerun import command, toml, varying
from byrote.report.tables import cells


def test_toml_is_read_back():
    import tomllib

    value = {"kind": 'a "b"', "n": [1, 2.5], "deep": {"on": True, "none": None}, "tiny": 1e-08}
    read = tomllib.loads(f"value = {toml(value)}")["value"]
    assert read == {"kind": 'a "b"', "n": [1, 2.5], "deep": {"on": True}, "tiny": 1e-08}


def keys_of(words, study):
    """Return the keys of the runs that a command with these overrides selects from a study."""
    from byrote.cli.run import _settings

    given = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    return [experiment.key for _, experiment in study.experiments("", _settings(given, "--set"))]


def test_the_command_trains_that_run_and_no_other():
    from byrote.study import Study

    study = Study.load("demo")
    planned = [experiment for _, experiment in study.experiments()]
    specs = [experiment.spec() for experiment in planned]
    for place in (0, len(planned) // 2, len(planned) - 1):
        words = shlex.split(command(specs[place], varying(specs), {"study": "demo", "overrides": {}}, "k"))
        assert words[:3] == ["byrote", "run", "demo"]
        assert keys_of(words, study) == [planned[place].key]


def test_the_command_of_a_run_from_scratch_beside_started_ones(tmp_path):
    from byrote.study import Study

    study = Study(
        name="two",
        base={"data": {"kind": "fashion_mnist_subset"}, "noise": {"kind": "symmetric", "rate": 0.2}},
        part=(
            {"name": "started", "base": {"start": {"kind": "cross_entropy"}}, "axes": {"noise_seed": [3, 4]}},
            {"name": "scratch"},
        ),
    )
    planned = [experiment for _, experiment in study.experiments()]
    specs = [experiment.spec() for experiment in planned]
    for place in range(3):
        words = shlex.split(command(specs[place], varying(specs), {"study": "two"}, "k"))
        assert keys_of(words, study) == [planned[place].key]


def test_the_command_repeats_scale_overrides_and_imports():
    text = {"study": "own.toml", "scale": "small", "imports": ["mine"], "overrides": {"training.epochs": 3}}
    words = shlex.split(command({"seed": 1}, varying([{"seed": 1}, {"seed": 2}]), text, "abc"))
    assert words[:6] == ["byrote", "run", "own.toml", "--scale", "small", "--import"]
    assert "training.epochs=3" in words
    assert words[-1] == "seed=1"
    assert "runs/again/abc" in words


def commands(rows_found):
    """Return the command for each run in the cells, by run key."""
    filled = {}
    for cell in rows_found:
        for words in cell["runs"].values():
            text = cell["command"]
            for name, value in words.items():
                text = text.replace(name, value)
            filled[words["KEY"]] = text.strip()
    return filled


def test_cells_give_the_command_of_each_run():
    history = made.runs(made.Cells(made.TWO, ("CE", "LS"), (0.1, 0.2), seeds=3, every=60))
    one = made.analysis(history)
    rows_found = cells(one)
    assert [(cell["part"], cell["loss"], cell["rate"], list(cell["runs"])) for cell in rows_found] == [
        ("two-class", loss, rate, ["0", "1", "2"]) for loss in ("CE", "LS") for rate in ("0.1", "0.2")
    ]
    assert {cell["setting"] for cell in rows_found} == {"Fashion-MNIST subset 0/1, MLP"}
    specs = one.results.specs
    wanted = {key: command(spec, varying(specs.values()), one.results.about, key) for key, spec in specs.items()}
    assert {key: sorted(shlex.split(text)) for key, text in commands(rows_found).items()} == {
        key: sorted(shlex.split(text)) for key, text in wanted.items()
    }


def test_settings_of_one_part_have_cells_of_their_own():
    rows = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=2, every=60)).rows()
    clipped = [row | {"key": f"{row['key']}-clipped", "spec": {"training.clip": 1.0}} for row in rows]
    rows_found = cells(Analysis.of(results_of(rows + clipped)))
    assert [(cell["setting"], len(cell["runs"])) for cell in rows_found] == [
        ("Fashion-MNIST subset 0/1, MLP", 2),
        ("Fashion-MNIST subset 0/1, MLP, clipping 1", 2),
    ]
    assert len(commands(rows_found)) == 4


def test_seeds_given_apart_are_named_and_repeated():
    rows = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=1, every=60)).rows()
    apart = [row | {"key": f"{row['key']}-{n}", "noise_seed": n} for row in rows for n in (5, 6)]
    (cell,) = cells(Analysis.of(results_of(apart)))
    assert list(cell["runs"]) == ["0, noise 5", "0, noise 6"]
    ends = [text.split("--set ")[-1] for text in commands([cell]).values()]
    assert ends == ["noise_seed=5", "noise_seed=6"]
