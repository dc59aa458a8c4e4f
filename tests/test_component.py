"""Every component can be built from a spec, rebuilt from its own data, and identified by its content."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from byrote.component import Component, Spec, canonical, did_you_mean, digest


class Shape(Component, family="shapes"):
    """A family of components for these tests."""


class Circle(Shape, kind="circle"):
    radius: float = Field(default=1.0, gt=0)


class Ring(Shape, kind="ring"):
    outer: Shape = Circle(2.0)
    holes: tuple[int, ...] = ()


class Drawing(Spec):
    shape: Shape
    copies: int = 1


def test_a_spec_rebuilds_the_same_value():
    ring = Ring(Circle(3), holes=(1, 2))
    assert ring.spec() == {"kind": "ring", "outer": {"kind": "circle", "radius": 3.0}, "holes": [1, 2]}
    again = Shape.from_spec(ring.spec())
    assert again == ring
    assert hash(again) == hash(ring)
    assert again.digest() == ring.digest()
    assert pickle.loads(pickle.dumps(ring)) == ring
    drawing = Drawing(shape="ring")
    assert Drawing(**drawing.spec()) == drawing


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_different_values_have_different_digests(a, b):
    assert (Circle(a).digest() == Circle(b).digest()) == (a == b)


def test_digests_are_pinned():
    assert canonical({"b": 1, "a": [0.1, None]}) == '{"a":[0.1,null],"b":1}'
    assert digest({"b": 1, "a": [0.1, None]}) == "39c1a64c21a6f8de"
    assert Circle(1.0).digest() == Circle(1).digest(), "an integer and an equal float are the same value"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Circle(-1), "Circle.radius: input should be greater than 0, got -1"),
        (lambda: Circle(radios=1), "Circle has no 'radios'; did you mean 'radius'?"),
        (lambda: Circle(True), "Circle.radius: expected a number, got True"),
        (lambda: Ring(holes=(1, False)), "Ring.holes: expected a number, got (1, False)"),
        (lambda: Drawing("ring", copies=True), "Drawing.copies: expected a number, got True"),
        (lambda: Circle(float("nan")), "Circle.radius: input should be a finite number, got nan"),
        (lambda: Drawing(), "Drawing needs 'shape'"),
        (lambda: Drawing("cirle"), "Drawing.shape: shapes has no 'cirle'; did you mean 'circle'?"),
        (lambda: Drawing({"kind": "circle", "radius": 0}), "Circle.radius: input should be greater than 0, got 0"),
        (lambda: Drawing(7), "a mapping with a 'kind', got 7"),
        (lambda: Shape.from_spec("nowhere:Thing"), "'nowhere:Thing' cannot be imported"),
    ],
)
def test_a_mistake_gives_one_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_positional_arguments_are_checked_like_a_function():
    with pytest.raises(TypeError, match="at most 1 argument"):
        Circle(1, 2)
    with pytest.raises(TypeError, match="'radius' twice"):
        Circle(1, radius=2)


def test_a_second_class_of_one_kind_is_refused():
    with pytest.raises(TypeError, match="already has a member 'circle'"):
        type("Disc", (Shape,), {"__module__": "elsewhere"}, kind="circle")


def test_specs_are_frozen_and_replaced():
    circle = Circle(1.0)
    with pytest.raises(ValueError):
        circle.radius = 2.0
    assert circle.replace(radius=2.0) == Circle(2.0)
    with pytest.raises(ValueError, match="greater than 0"):
        circle.replace(radius=0)


def test_the_nearest_name():
    assert did_you_mean("symetric", ["uniform", "symmetric"]) == "did you mean 'symmetric'?"
    assert did_you_mean("xyz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("x", []) == "none is known"
