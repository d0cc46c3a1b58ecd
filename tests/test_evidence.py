"""The committed run and benchmarks show what is promised: accuracy, health, size."""

import json
import math
from typing import Any

import pandas as pd
import pytest

from stages.artifacts.params_file import read_params
from tests.architecture.source import ROOT

FOUND_AT_LEAST = {(1, 0.0): 0.95, (2, 5.0): 0.92, (3, 5.0): 0.80, (3, 10.0): 0.94}
"""(K, SNR in dB) -> found rate of the learned start with maximum likelihood, K known."""


def read_json(path: str) -> dict[str, Any]:
    value = json.loads((ROOT / path).read_text("utf-8"))
    assert isinstance(value, dict)
    return value


def bench(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / f"benchmarks/results/{name}.csv")


@pytest.mark.parametrize(("cell", "least"), FOUND_AT_LEAST.items())
def test_the_learned_start_with_maximum_likelihood_finds_the_sources(
    cell: tuple[int, float], least: float
) -> None:
    strata = pd.read_csv(ROOT / "data/evaluation/strata.csv")
    own = strata[(strata["split"] == "test_independent") & (strata["method"] == "learned+ml")]
    (row,) = own[(own["n_sources"] == cell[0]) & (own["snr_db"] == cell[1])].to_dict("records")
    assert row["n_scenes"] >= 100
    assert row["found_rate"] >= least


def test_the_covariances_of_the_committed_training_are_those_that_the_laws_allow() -> None:
    """Mean ||R_samp||_F of the `independent` training split in 30 ... 60; traces; norms; all gates."""
    health = read_json("data/models/health.json")
    params = read_params(ROOT / "params.yaml")
    n = params.array.n_elements
    assert 30.0 <= health["training_split"]["r_samp_norm"]["mean"] <= 60.0
    assert health["training_split"]["r_samp_trace_error"]["max"] <= 1e-5
    assert len(health["epochs"]) == params.train.epochs
    for epoch in health["epochs"]:
        for name in ("r_samp", "r_pred", "r_blend"):
            assert math.sqrt(n) <= epoch[f"{name}_norm"]["min"] <= epoch[f"{name}_norm"]["max"] <= n
            assert epoch[f"{name}_trace_error"]["max"] <= 1e-5
        assert math.isfinite(epoch["loss"]["max"]) and math.isfinite(epoch["gradient_norm"]["max"])
    assert 1.0 <= health["epochs"][0]["loss"]["train"] <= 1000.0
    assert health["epochs"][-1]["loss"]["train"] < health["epochs"][0]["loss"]["train"]
    assert all(health["gates"].values())
    assert health["warnings"] == {}


def test_refinement_from_the_truth_attains_the_bound() -> None:
    """K = 1, 2, 3 at 20 dB, both source models, 300 scenes or more."""
    table = bench("refinement")
    assert set(zip(table["source_model"], table["n_sources"], strict=True)) == {
        (model, k) for model in ("independent", "constant") for k in (1, 2, 3)
    }
    assert (table["snr_db"] == 20.0).all() and (table["n_scenes"] >= 300).all()
    ratios = table.filter(like="rmse_over_bound")
    assert ratios.shape[1] == 3
    assert ratios.ge(0.9).all(axis=None) and ratios.le(1.15).all(axis=None)


def test_scenes_are_small() -> None:
    """80 kB a scene on disk at most, snapshots, truth, factor and maps."""
    table = bench("throughput").set_index("step")
    assert table.loc["scenes, factor and maps on disk", "bytes_per_scene"] <= 80_000


def test_random_codes_spread_the_power_evenly_and_a_dft_does_not() -> None:
    spread = bench("codebooks").set_index(["kind", "phase_bits"])["spread_db"]
    assert spread.loc[("random", 3)] < 3.0 < 12.0 < spread.loc[("dft2d", 3)]
