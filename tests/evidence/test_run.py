"""The committed run is healthy and small, and the pipeline around it takes little."""

import math

import pytest

from stages.params.file import read_params
from tests.architecture.source import ROOT
from tests.evidence.committed import bench, read_json


def test_the_covariances_of_the_committed_training_are_those_that_the_laws_allow() -> None:
    """Mean ||R_samp||_F of the `independent` training split in 30 ... 60; traces; norms; all gates."""
    health = read_json("data/models/health.json")
    params = read_params(ROOT / "params.yaml")
    n = params.array.n_elements
    assert 30.0 <= health["training_split"]["r_samp_norm_independent"]["mean"] <= 60.0
    assert health["training_split"]["r_samp_norm_constant"]["mean"] == pytest.approx(n, rel=1e-5)
    assert health["training_split"]["r_samp_trace_error"]["max"] <= 1e-5
    assert len(health["epochs"]) == params.train.epochs
    for epoch in health["epochs"]:
        for name in ("r_samp", "r_pred", "r_blend"):
            low, high = math.sqrt(n) * (1.0 - 1e-5), n * (1.0 + 1e-5)
            assert low <= epoch[f"{name}_norm"]["min"] <= epoch[f"{name}_norm"]["max"] <= high
            assert epoch[f"{name}_trace_error"]["max"] <= 1e-5
        assert math.isfinite(epoch["loss"]["max"]) and math.isfinite(epoch["gradient_norm"]["max"])
    assert 1.0 <= health["epochs"][0]["loss"]["train"] <= 1000.0
    assert health["epochs"][-1]["loss"]["train"] < health["epochs"][0]["loss"]["train"]
    assert all(health["gates"].values())
    assert health["warnings"] == {}


def test_scenes_are_small() -> None:
    """80 kB a scene on disk at most, snapshots, truth, factor and maps."""
    table = bench("throughput").set_index("step")
    assert table.loc["scenes, factor and maps on disk", "bytes_per_scene"] <= 80_000


def test_random_codes_spread_the_power_evenly_and_a_dft_does_not() -> None:
    spread = bench("codebooks").set_index(["kind", "phase_bits"])["spread_db"]
    assert spread.loc[("random", 3)] < 3.0 < 12.0 < spread.loc[("dft2d", 3)]


def test_the_search_spends_its_time_in_trials() -> None:
    assert read_json("benchmarks/results/search.json")["overhead"] <= 0.05


def test_what_the_search_gains_is_what_the_page_says() -> None:
    gained = read_json("benchmarks/results/search.json")
    rates = bench("search").set_index("hyperparameters")["found_rate"]
    low, high = (100.0 * end for end in gained["interval"])
    words = " ".join((ROOT / "docs/search.md").read_text("utf-8").split())
    for figure in (
        f"the {gained['n_trials']} trials took {gained['trial_s'] / 60.0:.0f} CPU-minutes",
        f"{gained['n_pruned']} of them were pruned, and {100.0 * gained['overhead']:.1f} % more went",
        f"finds {100.0 * gained['difference']:.2f} points more",
        f"from {low:.2f} to {high:.2f} points",
        f"differ by {100.0 * (rates['params.yaml'].max() - rates['params.yaml'].min()):.2f} points",
        f"{gained['n_scenes']} scenes",
    ):
        assert figure in words


def test_the_flow_adds_little_to_dvc() -> None:
    """Two seconds a stage at most, where nothing is to be done."""
    assert bench("orchestration")["overhead_s_per_stage"].median() <= 2.0
