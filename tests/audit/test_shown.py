"""Samples as shown to a reviewer, from every kind of source, including files that no longer exist."""

import io

import numpy as np
import pytest
from PIL import Image

from audit.folders import images, probabilities, table, truth
from byrote.audit import audit_probabilities
from byrote.audit.shown import Samples


def with_array(at, kind, array, labels="y.txt"):
    true, given = truth(60)
    np.save(at / "x.npy", array)
    audit = audit_probabilities(probabilities(true), given, ("ant", "bee", "cow"))
    return audit.with_about(source={"kind": kind, "path": str(at / "x.npy"), "labels": str(at / labels)})


def test_a_picture_keeps_its_pixels_and_a_large_one_becomes_small(tmp_path):
    audit = images(tmp_path, 30)
    samples = Samples(audit)
    assert samples.pictured
    picture = samples.picture(3, 112)
    assert (picture.kind, picture.width, picture.height) == ("image/png", 8, 8)
    stored = np.asarray(Image.open(tmp_path / "photos" / audit.samples["id"][3]))
    assert (np.asarray(Image.open(io.BytesIO(picture.data))) == stored).all()
    noise = np.random.default_rng(0).integers(0, 256, (400, 800, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "photos" / audit.samples["id"][3])
    picture = samples.picture(3, 112)
    assert (picture.kind, picture.width, picture.height) == ("image/jpeg", 112, 56)
    assert len(picture.data) < 8_000


def test_files_that_are_gone_or_broken_are_no_error(tmp_path):
    audit = images(tmp_path, 30)
    samples = Samples(audit)
    (tmp_path / "photos" / audit.samples["id"][0]).unlink()
    (tmp_path / "photos" / audit.samples["id"][1]).write_bytes(b"no image")
    assert samples.picture(0, 112) is None
    assert samples.picture(1, 112) is None
    assert samples.picture(2, 112) is not None


def test_rows_of_a_table_in_any_order_without_their_label(tmp_path):
    samples = Samples(table(tmp_path, 50))
    assert not samples.pictured
    fields = samples.fields([41, 7], 500)
    assert list(fields) == [41, 7]
    assert [name for name, _ in fields[7]] == ["text", "size"]
    assert fields[41][0][1].startswith("A <b>letter</b> & more 41, ")
    assert fields[41][1] == ("size", "41")
    assert samples.fields([41], 10)[41][0][1] == "A <b>lett…"
    (tmp_path / "t.csv").unlink()
    assert samples.fields([41], 10) == {41: ()}


def test_embeddings_show_their_first_numbers_and_the_texts_beside_their_labels(tmp_path):
    rng = np.random.default_rng(0)
    audit = with_array(tmp_path, "embeddings", rng.normal(size=(60, 40)), "y.csv")
    (tmp_path / "y.csv").write_text("label,note\n" + "".join(f"ant,note {row}\n" for row in range(60)))
    fields = dict(Samples(audit).fields([5], 100)[5])
    assert fields["note"] == "note 5"
    assert "label" not in fields
    assert fields["embedding"].count(",") == 16
    assert fields["embedding"].endswith("(40 numbers)")
    (tmp_path / "y.csv").write_text("label\n" + "ant\n" * 60)
    assert [name for name, _ in Samples(audit).fields([5], 100)[5]] == ["embedding"]


def test_probabilities_show_the_likeliest_classes(tmp_path):
    true, _ = truth(60)
    p = probabilities(true)
    audit = with_array(tmp_path, "probabilities", p)
    ((name, text),) = Samples(audit).fields([9], 100)[9]
    assert name == "probabilities"
    assert text.startswith(f"{audit.names[int(p[9].argmax())]} {p[9].max():.2g}")


@pytest.mark.parametrize("shape", [(60, 6, 6), (60, 3, 6, 6), (60, 6, 6, 1)])
def test_arrays_of_images_are_pictures(shape, tmp_path):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    samples = Samples(with_array(tmp_path, "embeddings", array))
    assert samples.pictured
    pixels = np.asarray(Image.open(io.BytesIO(samples.picture(4, 112).data)))
    assert pixels.shape[:2] == (6, 6)
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_an_audit_made_in_python_knows_ids_alone():
    true, given = truth(60)
    samples = Samples(audit_probabilities(probabilities(true), given, ("ant", "bee", "cow")))
    assert not samples.pictured
    assert samples.picture(0, 112) is None
    assert samples.fields([0], 100) == {0: ()}
