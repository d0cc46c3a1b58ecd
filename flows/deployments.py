"""The deployments of the flows: what `flows.serve` serves, and prefect.yaml puts on a work pool."""

from pathlib import Path
from typing import Any

from prefect import Flow

from flows.dvc import find_root
from flows.experiment import experiment, form_values
from flows.localize import localize
from flows.pipeline import pipeline
from flows.replay import replay
from flows.search import search

POOL = "pool"
"""Name of every deployment on a work pool."""

SERVED: tuple[Flow[..., Any], ...] = (pipeline, experiment, search, replay, localize)
"""The flows; served, their deployments have the same names."""

FILLED: dict[Flow[..., Any], str] = {experiment: "parameters"}
"""Flow -> the parameter in whose place its form shows params.yaml."""


def description(own: Flow[..., Any]) -> str:
    """What a flow does, in the first paragraph of its docstring."""
    return (own.description or "").partition("\n\n")[0]


def texts_and_parameters(directory: str | Path) -> dict[str, dict[str, Any]]:
    """Description and initial parameters of every deployment, by the name of its flow.

    Args:
        directory: a folder of the DVC repository whose params.yaml is read.

    Raises:
        GraphError: if it is not inside a DVC repository.
        ParametersError: the first fault of params.yaml.
    """
    root = find_root(Path(directory))
    return {
        own.name: {
            "description": description(own),
            "parameters": {FILLED[own]: form_values(root)} if own in FILLED else {},
        }
        for own in SERVED
    }
