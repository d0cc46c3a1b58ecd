"""One set of names: the registry, the parameters and the styles of the report."""

from typing import get_args

import pytest

from stages.artifacts.report import figures
from stages.estimators.contract import Estimator
from stages.estimators.registry import REGISTRY, Settings, estimator
from stages.params import EstimatorName
from tests.estimators.cases import GRID, LOADING, make_estimator
from tests.worlds import default_parameters

SETTINGS = Settings(LOADING, False)


def test_the_parameters_know_the_names_of_the_registry() -> None:
    assert set(get_args(EstimatorName)) == REGISTRY.keys()


def test_the_default_run_compares_estimators_of_the_registry() -> None:
    compared = default_parameters()["evaluate"]["estimators"]
    assert len(set(compared)) == len(compared)
    assert set(compared) <= REGISTRY.keys()


def test_every_estimator_has_a_style_of_its_own() -> None:
    assert figures._ESTIMATORS.keys() == REGISTRY.keys()
    styles = figures.method_styles(REGISTRY).values()
    for look in ("label", "colour", "marker"):
        assert len({getattr(style, look) for style in styles}) == len(REGISTRY)


@pytest.mark.parametrize("name", REGISTRY)
def test_an_estimator_is_called_by_its_key(name: str) -> None:
    made = make_estimator(name)
    assert isinstance(made, Estimator)
    assert made.name == name


@pytest.mark.parametrize("name", ["", "MUSIC", "music+ml", "esprit"])
def test_an_unknown_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ValueError, match="no estimator is called") as refused:
        estimator(name, GRID, SETTINGS)
    assert str(refused.value) == f"no estimator is called {name!r}; there are {', '.join(REGISTRY)}"
