"""`byrote audit`: from files to an interval for the share of wrong labels; the user's files stay unchanged."""

import csv
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from byrote.cli import main


def world(n=240):
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, n)
    wrong = rng.random(n) < 0.2
    given = np.where(wrong, (true + 1) % 3, true)
    x = (np.eye(3)[true] * 4 + rng.normal(size=(n, 3))).astype(np.float32)
    return x, np.array(["ant", "bee", "cow"])[given], wrong


@pytest.fixture
def files(tmp_path):
    x, given, wrong = world()
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.save(tmp_path / "e.npy", x)
    np.save(tmp_path / "p.npy", p.astype(np.float32))
    (tmp_path / "y.txt").write_text("\n".join(given) + "\n")
    lines = ["a,b,c,y", *(f"{a},{b},{c},{label}" for (a, b, c), label in zip(x, given, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    for row in range(60):
        place = tmp_path / "photos" / given[row]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full((4, 4, 3), 40, dtype=np.uint8)
        pixels[..., int(x[row].argmax())] = 200 + row % 50
        Image.fromarray(pixels).save(place / f"{row:03d}.png")
    return tmp_path, given, wrong


def run(capsys, *arguments):
    code = main(["audit", *map(str, arguments)])
    return code, capsys.readouterr()


def contents(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


WAYS = {
    "table": lambda at: [at / "t.csv", "--label", "y"],
    "embeddings": lambda at: ["--embeddings", at / "e.npy", "--labels", at / "y.txt"],
    "linear": lambda at: ["--embeddings", at / "e.npy", "--labels", at / "y.txt", "--network", "linear"],
    "neighbors": lambda at: ["--embeddings", at / "e.npy", "--labels", at / "y.txt", "--network", "knn"],
    "probabilities": lambda at: ["--probabilities", at / "p.npy", "--labels", at / "y.txt"],
    "images": lambda at: [at / "photos"],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_leads_to_a_settled_interval(way, files, capsys, tmp_path):
    at, given, wrong = files
    before, out = contents(at), tmp_path / "out"
    code, captured = run(capsys, *WAYS[way](at), "--out", out, "--epochs", "3", "--json")
    assert code == 0, captured.err
    audited = json.loads(captured.out)
    assert audited["samples"] == (60 if way == "images" else 240)
    assert audited["classes"] == ["ant", "bee", "cow"]
    assert audited["rate"]["premise"]
    code, captured = run(capsys, "plan", out, "--checks", "40", "--twice", "4")
    assert code == 0, captured.err
    rows = list(csv.DictReader((out / "answers.csv").open()))
    assert len(rows) == 40
    if way != "images":
        assert all(row["given"] == given[int(row["row"])] for row in rows)
        for row in rows:
            row["answer"] = "n" if wrong[int(row["row"])] else "y"
    else:
        for row in rows:
            row["answer"] = "y"
    with (out / "answers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    code, captured = run(capsys, "settle", out, "--json")
    assert code == 0, captured.err
    settled = json.loads(captured.out)
    assert settled == json.loads((out / "settled.json").read_text())
    assert settled["verdict"] == "settled"
    share = settled["shares"][0]
    truth = 0.0 if way == "images" else wrong.mean()
    assert share["low"] <= truth <= share["high"]
    code, captured = run(capsys, "plan", out, "--checks", "40")
    assert code == 2
    assert "has a plan already" in captured.err
    assert {path: digest for path, digest in contents(at).items() if path in before} == before


def test_exports(files, capsys):
    at, _, _ = files
    out = at / "out"
    assert run(capsys, at / "photos", "--out", out, "--epochs", "1")[0] == 0
    for form, name in (("csv", "labels.csv"), ("parquet", "labels.parquet"), ("labelstudio", "labelstudio.json")):
        assert run(capsys, "export", out, "--to", form)[0] == 0
        assert (out / name).stat().st_size
    rows = list(csv.DictReader((out / "labels.csv").open()))
    assert [row["id"].split("/")[0] for row in rows] == [row["given"] for row in rows]
    (at / "said.csv").write_text(f"row,answer\n0,{'cow' if rows[0]['given'] != 'cow' else 'ant'}\n1,y\n")
    assert run(capsys, "export", out, "--to", "imagefolder", "--answers", at / "said.csv")[0] == 0
    copies = sorted(p.relative_to(out / "cleaned").as_posix() for p in (out / "cleaned").rglob("*.png"))
    assert len(copies) == 60
    moved = [name for name in copies if name.split("/")[0] != name.split("/")[1].split("__")[0]]
    assert len(moved) == 1
    code, captured = run(capsys, "export", out, "--to", "imagefolder")
    assert code == 2
    assert "not empty" in captured.err
    assert run(capsys, "export", out, "--to", "excel")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give exactly one of a folder or table, --embeddings, and --probabilities, got 0"),
        (["t.csv"], "--label must name the column"),
        (["t.csv", "--label", "z"], "has no column 'z'"),
        (["--embeddings", "e.npy"], "--labels must name the file"),
        (["--embeddings", "e.npy", "--labels", "short.txt"], "has 240 rows, but"),
        (["--probabilities", "t.csv", "--labels", "y.txt"], "is not a complete npy file"),
        (["t.csv", "--label", "y", "--folds", "many"], "--folds must be a whole number"),
        (["t.csv", "--label", "y", "--network", "vgg"], "network must be"),
        (["plan", "photos"], "needs either checks="),
        (["settle", "nowhere"], "No such file"),
    ],
)
def test_a_wrong_request_gives_one_sentence(arguments, sentence, files, capsys, monkeypatch):
    at, _, _ = files
    (at / "short.txt").write_text("ant\nbee\n")
    monkeypatch.chdir(at)
    if arguments[:1] == ["plan"]:
        assert run(capsys, "t.csv", "--label", "y", "--epochs", "1", "--out", "photos/../done")[0] == 0
        arguments = ["plan", "done"]
    code, captured = run(capsys, *arguments)
    assert code in (1, 2)
    assert sentence in captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_reading_an_audit_loads_no_torch():
    import subprocess
    import sys

    code = (
        "import sys\nfrom byrote.audit import Audit, Plan, Settled\nimport byrote.audit.export\n"
        "import byrote.cli.audit\nprint('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert out.stdout.strip() == "False", out.stderr
