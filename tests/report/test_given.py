"""Studies of user files without known true labels: the words on the page, the commands, and the columns."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from byrote import data
from byrote.analysis import open_store
from byrote.cli import main
from byrote.cli.watch import Bar
from byrote.given import AGREEMENT, TRUE_LABELS
from byrote.report.verdicts import FAMILIES
from byrote.sweep import run

CLAIMS_OF_TRUTH = re.compile(
    r"accurac|true (?:class|label|one)|wrong(?:ly)? label|labels wrong|end up wrong|share wrong|memoriz|clean|\bJ2\b|"
    r"\bmem\b|dilat|\bresist",
    re.IGNORECASE,
)


def pixels(count=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return (rng.integers(0, 150, (count, 4, 4)) + 100 * labels[:, None, None]).astype(np.uint8), labels


def arrays(folder):
    images, labels = pixels()
    np.savez(folder / "mine.npz", images=images, labels=labels)
    return {"kind": "arrays", "path": str(folder / "mine.npz")}


def table(folder):
    images, labels = pixels()
    rows = [",".join(map(str, [*image.ravel(), label])) for image, label in zip(images, labels, strict=True)]
    head = ",".join([*(f"p{place}" for place in range(16)), "label"])
    (folder / "mine.csv").write_text("\n".join([head, *rows]))
    return {"kind": "table", "path": str(folder / "mine.csv")}


def image_folder(folder):
    image = pytest.importorskip("PIL.Image")
    for place, (picture, label) in enumerate(zip(*pixels(), strict=True)):
        path = folder / "photos" / ("cat", "dog")[label] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(picture).save(path)
    return {"kind": "image_folder", "path": str(folder / "photos"), "channels": 1}


def study(folder, source, axes=""):
    fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in source.items())
    path = folder / "own.toml"
    path.write_text(f"""
name = "own"
[base]
data = {{ {fields} }}
noise = {{ kind = "symmetric" }}
network = {{ kind = "mlp", depth = 2, width = 8, feature_width = 2 }}
training = {{ epochs = 3, batch_size = 16, evaluate_every = 1 }}
[[part]]
name = "grid"
[part.axes]
loss = ["cross_entropy", "label_smoothing"]
"noise.rate" = [0.0, 0.3]
seed = [0, 1]
{axes}
""")
    return path


class Words(HTMLParser):
    """Collects the words that a reader sees: text, titles and labels, without scripts and untested claims."""

    def __init__(self, page):
        super().__init__()
        self.seen, self.hidden, self.untested = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("script", "style") or attrs.get("class") == "untested" or (self.hidden and tag == "details"):
            self.hidden.append(tag)
        if not self.hidden:
            self.seen += [attrs[name] for name in ("title", "aria-label") if attrs.get(name)]

    def handle_endtag(self, tag):
        if self.hidden and self.hidden[-1] == tag:
            self.hidden.pop()

    def handle_data(self, data):
        (self.untested if self.hidden else self.seen).append(" ".join(data.split()))


def page_of(root, out):
    assert main(["-q", "report", str(root), "--out", str(out)]) == 0
    return (out / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    "source", [arrays, *(pytest.param(one, marks=pytest.mark.long) for one in (table, image_folder))]
)
def test_no_word_claim_figure_or_column_is_about_true_labels(source, tmp_path, capsys):
    root = tmp_path / "store"
    outcome = run(study(tmp_path, source(tmp_path)), root, on="serial")
    assert (outcome.done, outcome.failed) == (8, {})
    page = page_of(root, tmp_path / "page")
    words = Words(page)
    text = " ".join(word for word in words.seen if word not in FAMILIES.values())
    sentence = "no claim and no figure about true labels uses them"
    assert text.count(sentence) == 1
    assert CLAIMS_OF_TRUTH.findall(text.replace(sentence, "")) == []
    assert text.lower().count("agreement with the given labels") >= 4
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', page, re.DOTALL).group(1))
    assert list(specs) == ["given-labels"]
    assert CLAIMS_OF_TRUTH.findall(json.dumps(specs)) == []
    assert [path.name for path in sorted((tmp_path / "page" / "figures").iterdir())] == [
        "given-labels.csv",
        "given-labels.pdf",
        "given-labels.svg",
    ]
    tables = {path.stem: path.read_text("utf-8") for path in (tmp_path / "page" / "tables").iterdir()}
    assert tables.keys() == {"verdicts", "agreement", "cells", "parts"}
    assert CLAIMS_OF_TRUTH.findall(tables["agreement"] + tables["cells"]) == []
    capsys.readouterr()
    assert main(["claims", str(root), "--json"]) == 0
    verdicts = {verdict["id"]: verdict for verdict in json.loads(capsys.readouterr().out)}
    tested = {id for id, verdict in verdicts.items() if verdict["word"] != "not tested"}
    assert tested <= {"B9"}
    assert all('(data.labels = "given")' in v["reason"] for id, v in verdicts.items() if id != "B9")
    for command in (["status", str(root)], ["figures", str(root), "--out", str(tmp_path / "drawn")]):
        assert main(command) == 0
        shown = capsys.readouterr()
        assert CLAIMS_OF_TRUTH.findall(shown.out + shown.err) == [], command
    history = open_store(root).history()
    for name in TRUE_LABELS:
        assert np.isnan(np.ma.filled(history[name], np.nan)).all(), name
    stored = open_store(root).results.history
    for name, reading in AGREEMENT.items():
        assert history[name].tolist() == stored[reading].tolist(), name
    assert np.isfinite(history["j1"]).all()


def test_in_one_store_each_is_treated_right(tmp_path, capsys):
    source = arrays(tmp_path)
    alone, mixed = tmp_path / "alone", tmp_path / "mixed"
    run(study(tmp_path, source | {"labels": "known"}), alone, on="serial")
    run(study(tmp_path, source, axes='"data.labels" = ["given", "known"]'), mixed, on="serial")
    pages = {}
    for root in (alone, mixed):
        capsys.readouterr()
        assert main(["claims", str(root), "--json"]) == 0
        pages[root] = {verdict["id"]: verdict for verdict in json.loads(capsys.readouterr().out)}
    words = {id: verdict["word"] for id, verdict in pages[alone].items()}
    assert {id: verdict["word"] for id, verdict in pages[mixed].items()} == words
    assert len([word for word in words.values() if word != "not tested"]) >= 3
    assert pages[mixed]["B7"]["runs"] == pages[alone]["B7"]["runs"] == 8
    assert "runs whose labels are only given (data.labels) left out: 8" in pages[mixed]["B7"]["reason"]
    page = Words(page_of(mixed, tmp_path / "page")).seen
    text = " ".join(page)
    assert "8 of the 16 runs have data (arrays) whose labels are only given" in text
    assert "Who resists" in text
    assert "of the labels wrong (arrays " in text, "the first sentence is about the data with true labels"
    assert "Agreement with the given labels" in text
    history = open_store(mixed).history()
    given = history["data.labels"] == "given"
    assert given.sum() == (~given).sum() > 0
    for name in (*TRUE_LABELS, *AGREEMENT):
        column = np.ma.filled(history[name].astype(float), np.nan)
        expected = ~given if name in TRUE_LABELS else given
        assert not np.isfinite(column[~expected]).any(), name
    assert np.isfinite(history["j2"][~given]).all()
    assert np.isfinite(history["test_given_agreement"][given]).all()


@pytest.mark.parametrize(("labels", "words"), [("given", "agreement with the given labels 0.5"), ("known", "J2 0.5")])
def test_the_line_of_progress_names_what_it_shows(tmp_path, labels, words):
    from types import SimpleNamespace

    from byrote.experiment import Experiment

    own = data.Arrays(path=arrays(tmp_path)["path"], labels=labels)
    bar = Bar()
    bar._experiments = {"k": Experiment(data=own)}
    event = SimpleNamespace(
        kind="epoch",
        task=SimpleNamespace(keys=("k",), cost=1.0),
        data={"epoch": 1, "epochs": 2, "rows": {"k": {"j1": 0.25, "j2": 0.5}}},
    )
    bar.event(event, SimpleNamespace(done=0))
    assert f"J1 0.250 {words}" in bar._latest
