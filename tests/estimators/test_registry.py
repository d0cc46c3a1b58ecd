"""One set of names: the registry and the parameters."""

import pytest

from risolve.estimators.contract import Estimator
from risolve.estimators.registry import REGISTRY, estimator
from tests.estimators.cases import GRID, SETTINGS, make_estimator
from tests.messages import shows
from tests.worlds import default_parameters


def test_the_default_run_compares_estimators_of_the_registry() -> None:
    compared = default_parameters()["evaluate"]["estimators"]
    assert len(set(compared)) == len(compared)
    assert set(compared) <= REGISTRY.keys()


@pytest.mark.parametrize("name", REGISTRY)
def test_an_estimator_is_called_by_its_key(name: str) -> None:
    made = make_estimator(name)
    assert isinstance(made, Estimator)
    assert made.name == name


@pytest.mark.parametrize("name", ["", "MUSIC", "music+ml", "esprit"])
def test_an_unknown_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ValueError, match=shows(f"{name!r} ... {', '.join(sorted(REGISTRY))}")):
        estimator(name, GRID, SETTINGS)
