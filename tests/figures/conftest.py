"""Fixtures: figures drawn once for all tests in this folder."""

import pytest

from byrote import figures
from figures import made


@pytest.fixture(scope="session")
def demo_table():
    return made.demo()


@pytest.fixture(scope="session")
def demo(demo_table):
    return made.analysis(demo_table, made.plane(demo_table))


@pytest.fixture(scope="session")
def matters_table():
    return made.matters()


@pytest.fixture(scope="session")
def matters(matters_table):
    return made.analysis(matters_table)


@pytest.fixture(scope="session")
def drawn(demo):
    return {figure.name: figure for figure in figures.draw(demo)}


@pytest.fixture(scope="session")
def past_table():
    return made.past()


@pytest.fixture(scope="session")
def past(past_table):
    return made.analysis(past_table)
