"""Estimators by the names of the parameters."""

import pytest

from risolve.errors import ParameterError
from risolve.estimators.registry import REGISTRY
from stages.params import estimators as estimator_setup
from tests.worlds import default_parameters, parsed


def test_the_estimators_are_those_that_the_parameters_name() -> None:
    params = parsed(default_parameters())
    made = estimator_setup.estimators(params)
    assert tuple(one.name for one in made) == params.evaluate.estimators


def test_an_unknown_name_is_refused_with_the_list() -> None:
    values = default_parameters()
    values["evaluate"]["estimators"].append("esprit")
    with pytest.raises(ParameterError, match=r"params\.yaml:\d+: evaluate\.estimators: ") as refused:
        estimator_setup.estimators(parsed(values))
    assert "['esprit']" in str(refused.value)
    assert ", ".join(REGISTRY) in str(refused.value)
