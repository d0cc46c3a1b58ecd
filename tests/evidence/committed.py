"""What is committed of the last run and of the benchmarks."""

import json
from typing import Any

import pandas as pd

from tests.architecture.source import ROOT

ANGLES_AND_RANGE = ("azimuth", "elevation", "inverse_range")
MODELS = ("independent", "constant")


def read_json(path: str) -> dict[str, Any]:
    value = json.loads((ROOT / path).read_text("utf-8"))
    assert isinstance(value, dict)
    return value


def bench(name: str) -> pd.DataFrame:
    """A table of benchmarks/results."""
    return pd.read_csv(ROOT / f"benchmarks/results/{name}.csv")


def ratios(table: pd.DataFrame, ending: str = "") -> pd.DataFrame:
    """RMSE over bound of both angles and of the inverse range."""
    return table[[f"rmse_over_bound_{parameter}{ending}" for parameter in ANGLES_AND_RANGE]]
