"""The number of inputs that the fuzz tests generate."""

from . import test_commands, test_components, test_files, test_measures
from .harness import COUNTS, TIMES

MODULES = (test_commands, test_components, test_files, test_measures)


def test_thousands_of_inputs_are_made() -> None:
    tested = [name for module in MODULES for name in COUNTS if hasattr(module, name)]
    assert sorted(tested) == sorted(COUNTS)
    assert sum(COUNTS.values()) >= 2_000
    assert sum(COUNTS.values()) * TIMES >= 20_000
