"""A newcomer's steps from a fresh clone and an empty home, following only README and docs (`make long`)."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import blocks, follow

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long
_OTHERS = ("BYROTE", "XDG", "PYTHON", "PYTEST")  # environment variables that a newcomer's machine would not have


class Newcomer:
    """A simulated newcomer with a clone, an empty home, and a project folder."""

    def __init__(self, folder):
        self.clone, self.project, self.home = folder / "clone", folder / "project", folder / "home"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(self.clone)], check=True)
        self.project.mkdir()
        self.home.mkdir()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        places = [str(self.clone / "src"), *filter(None, [os.environ.get("BYROTE_TEST_LIBRARIES")])]
        self.environment = inherited | {
            "HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(places),
            "OMP_NUM_THREADS": "1",
        }

    def python(self, *arguments, cwd=None):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def command(self, words, cwd=None):
        """Run `byrote ...` as a person types it; returns the exit code."""
        assert words[0] == "byrote"
        done = self.python("-m", *words, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.returncode

    def script(self, text, cwd=None):
        """Run code from a page as a script in the project folder."""
        folder = cwd or self.project
        (folder / "journey.py").write_text(text)
        done = self.python("journey.py", cwd=folder)
        (folder / "journey.py").unlink()
        assert done.returncode == 0, done.stderr
        return done.stdout

    def code(self, page):
        """Return the Python blocks of a page that are not files."""
        snippets = blocks(self.clone / page)
        return "\n".join(text for language, text in snippets if language == "python" and not text.startswith("# "))

    def examples(self, page):
        """Run the examples of a page."""
        options = ("-o", "NORMALIZE_WHITESPACE", "-o", "ELLIPSIS")
        done = self.python("-m", "doctest", *options, page, cwd=self.clone)
        assert done.returncode == 0, done.stdout


@pytest.fixture
def newcomer(tmp_path):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("cloning requires git and a repository")
    return Newcomer(tmp_path)


def test_extend_a_study(newcomer):
    """README: "A study is a TOML file"; docs/own_study.md, then docs/results.md and docs/models.md."""
    assert "(docs/own_study.md)" in (newcomer.clone / "README.md").read_text() or (
        "(own_study.md)" in (newcomer.clone / "docs" / "README.md").read_text()
    )
    files, commands = follow(newcomer.clone / "docs" / "own_study.md", newcomer.project, newcomer.command)
    assert (files, commands) == (2, 7)
    verdicts = json.loads(newcomer.python("-m", "byrote", "claims", "runs/mine", "--json").stdout)
    assert {verdict["id"]: verdict["verdict"] for verdict in verdicts}["M1"] == "holds"
    page = (newcomer.project / "runs" / "mine" / "index.html").read_text()
    assert "Does my loss resist wrong labels?" in page or "mine" in page
    assert newcomer.script(newcomer.code("docs/results.md"), cwd=newcomer.clone)
    assert follow(newcomer.clone / "docs" / "models.md", newcomer.project, newcomer.command) == (1, 1)
    assert "wrong labels:" in newcomer.script(newcomer.code("docs/models.md"))


def test_measure_an_own_loop(newcomer):
    """README's twelve-line example, the section of docs/measures.md on a user's own loop, and the adapters."""
    readme = newcomer.clone / "README.md"
    (example,) = [text for language, text in blocks(readme) if language == "python"]
    assert len(re.findall(r"J1 \d\.\d\d, J2 \d\.\d\d", newcomer.script(example))) == 2
    newcomer.examples("docs/measures.md")
    newcomer.examples("docs/adapters.md")


def test_load_own_images(newcomer):
    """docs/data.md: images in a folder per class, then a study of them without known true labels."""
    pytest.importorskip("PIL", reason="needs the extra: pip install 'byrote[images]'")
    newcomer.examples("docs/data.md")
    newcomer.script("""
import numpy as np
from pathlib import Path
from PIL import Image
rng = np.random.default_rng(0)
for place, name in enumerate(("cat", "dog")):
    folder = Path("photos") / name
    folder.mkdir(parents=True)
    for number in range(40):
        pixels = rng.integers(0, 120, (12, 10, 3)) + 100 * place
        Image.fromarray(pixels.astype("uint8")).save(folder / f"{number}.png")
(Path("photos") / ".DS_Store").write_text("litter")
""")
    (newcomer.project / "photos.toml").write_text("""
name = "photos"
[base]
data = { kind = "image_folder", path = "photos", resolution = 8 }
network = { kind = "mlp", depth = 2, width = 16 }
training = { epochs = 3, batch_size = 16 }
[[part]]
name = "losses"
[part.axes]
loss = ["cross_entropy", "robust_log"]
seed = [0, 1]
""")
    newcomer.command(["byrote", "run", "photos.toml", "--out", "runs/photos"])
    newcomer.command(["byrote", "report", "runs/photos"])
    state = json.loads(newcomer.python("-m", "byrote", "status", "runs/photos", "--json").stdout)
    assert (state["done"], state["missing"], state["file"]) == (4, 0, "photos.toml")
    printed = newcomer.script("""
import byrote
store = byrote.open("runs/photos")
print(len(store.analysis.runs), store.analysis.last("test_given_agreement").min())
""")
    runs, agreement = printed.split()
    assert runs == "4"
    assert float(agreement) > 0.9
    assert (newcomer.project / "runs" / "photos" / "index.html").stat().st_size > 50_000


def test_audit_own_labels(newcomer):
    """docs/audit_tutorial.md: from a folder with flipped labels to a final interval and a cleaned folder."""
    pytest.importorskip("sklearn", reason="needs the extra: pip install 'byrote[audit]'")
    pytest.importorskip("PIL", reason="needs the extra: pip install 'byrote[images]'")
    outputs = {}

    def command(words):
        if words[0] != "python":
            return newcomer.command(words)
        done = newcomer.python(*words[1:])
        assert done.returncode == 0, done.stderr
        outputs[words[1]] = done.stdout.splitlines()
        return 0

    page = newcomer.clone / "docs" / "audit_tutorial.md"
    assert follow(page, newcomer.project, command) == (3, 9)
    (line,) = outputs["photos.py"]
    assert line in page.read_text("utf-8")
    wrong = float(line.split()[-1])
    settled = json.loads((newcomer.project / "audit" / "settled.json").read_text())
    rate = settled["shares"][0]
    assert settled["verdict"] == "settled"
    assert rate["low"] < wrong < rate["high"] < rate["low"] + 0.15
    given, without, corrected = (float(line.split(": ")[1].split()[0]) for line in outputs["accuracy.py"])
    assert min(without, corrected) > given + 0.005
    printed = [
        float(value) for value in re.findall(r"^(?:labels|without|suspects) .*: (\d\.\d+)", page.read_text(), re.M)
    ]
    assert np.allclose(printed, [given, without, corrected], atol=0.02)
    assert len(list((newcomer.project / "audit" / "cleaned").rglob("*.png"))) == 3000
    shown = (newcomer.project / "audit" / "index.html").read_text("utf-8")
    assert "What the checks settle" in shown
    assert 'href="labels.csv"' in shown
