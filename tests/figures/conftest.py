"""Figures drawn once for all tests of this folder."""

import pytest

from byrote import figures
from figures import made
from figures.made import results


@pytest.fixture(scope="session")
def demo():
    history = made.demo()
    return results(history, made.plane(history))


@pytest.fixture(scope="session")
def matters():
    return results(made.matters())


@pytest.fixture(scope="session")
def drawn(demo):
    return {figure.name: figure for figure in figures.draw(demo)}


@pytest.fixture(scope="session")
def past():
    return results(made.past())
