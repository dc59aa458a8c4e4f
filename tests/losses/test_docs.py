"""The examples on the page about losses run, and its table agrees with the code."""

import doctest
import math
import re
from pathlib import Path

from byrote import losses

from .cases import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "losses.md"


def test_examples_run() -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    try:
        failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    finally:
        losses.Loss.registry.pop("__main__:Linear", None)
    assert failed == 0
    assert tried > 15


def test_every_loss_has_its_row_with_its_true_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert sorted(rows) == KINDS
    for kind, call in rows.items():
        member = losses.Loss.member(kind)
        if "transition" in call:
            continue  # the field is required and has no default
        written = eval(call, {name: getattr(losses, name) for name in losses.__all__})
        assert type(written) is member
        fields = re.findall(r"(\w+)=", re.sub(r"\(.*?\)", "", call.partition("(")[2]))
        assert fields == list(member.model_fields)
        for field, value in member().spec().items():
            if isinstance(value, float):
                assert math.isclose(written.spec()[field], value, rel_tol=1e-3), (kind, field)
            else:
                assert written.spec()[field] == value, (kind, field)
