"""The estimators of the parameters."""

import difflib

from risolve.estimators.comparison import Comparison
from risolve.estimators.contract import Estimator, Settings
from risolve.estimators.registry import REGISTRY, estimator
from risolve.files.model_grid import grid
from risolve.inference.counting import CountingRule
from stages.params.file import fault
from stages.params.model import Params


def settings(params: Params) -> Settings:
    """What the estimators are made with."""
    own = params.estimators
    return Settings(
        params.covariance.diagonal_loading,
        CountingRule(own.counting, own.false_alarm, own.most_sources),
        own.refine_iterations,
        own.fit_iterations,
    )


def estimators(params: Params) -> tuple[Estimator, ...]:
    """Those that are evaluated.

    Raises:
        ParameterError: a name that is not in the registry.
    """
    chosen = params.evaluate.estimators
    unknown = [name for name in chosen if name not in REGISTRY]
    if unknown:
        near = difflib.get_close_matches(unknown[0], REGISTRY, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise fault(
            "evaluate.estimators", f"names of estimators ({', '.join(REGISTRY)}), got {unknown}{hint}"
        )
    return tuple(estimator(name, grid(params.of_model()), settings(params)) for name in chosen)


def comparison(params: Params) -> Comparison:
    """The comparison that is evaluated.

    Raises:
        ParameterError: as `estimators`.
    """
    own = params.evaluate
    return Comparison(
        estimators(params), grid(params.of_model()), settings(params), own.blind, own.refine, own.genie_starts
    )
