"""Fixtures: the analysis, verdicts and report page of an artificial store, for all tests in this folder."""

import pytest
from figures import made

from byrote import claims, figures
from byrote.report.page import render


@pytest.fixture(scope="session")
def table():
    return made.demo()


@pytest.fixture(scope="session")
def analysis(table):
    return made.analysis(table, made.plane(table), machine={"processors": 2, "torch": "2.13"})


@pytest.fixture(scope="session")
def small():
    history = made.runs(made.Cells(made.TWO, ("CE", "LS", "RLL"), (0.0, 0.1, 0.2), seeds=2, every=20))
    return made.analysis(history, made.plane(history, points=30))


@pytest.fixture(scope="session")
def verdicts(analysis):
    return claims.evaluate(analysis)


@pytest.fixture(scope="session")
def page(analysis, verdicts):
    return render(analysis, verdicts, figures.draw(analysis))
