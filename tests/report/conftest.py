"""One made store's results, its verdicts and its page, for all tests of this folder."""

import pytest
from figures import made

from byrote import claims, figures
from byrote.report.page import render


@pytest.fixture(scope="session")
def results():
    history = made.demo()
    return made.results(history, made.plane(history), machine={"processors": 2, "torch": "2.13"})


@pytest.fixture(scope="session")
def small():
    history = made.runs(made.Cells(made.TWO, ("CE", "LS", "RLL"), (0.0, 0.1, 0.2), seeds=2, every=20))
    return made.results(history, made.plane(history, points=30))


@pytest.fixture(scope="session")
def verdicts(results):
    return claims.evaluate(results)


@pytest.fixture(scope="session")
def page(results, verdicts):
    return render(results, verdicts, figures.draw(results))
