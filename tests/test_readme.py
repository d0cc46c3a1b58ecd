"""Every figure of the README stands in a committed table."""

import pandas as pd

from stages.page.run_files import PICTURE
from tests.architecture.source import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_the_picture_is_that_of_the_committed_run() -> None:
    assert f"({PICTURE.as_posix()})" in README
    assert (ROOT / PICTURE).is_file()


def test_the_efficiency_of_the_refinement_is_that_of_the_benchmark() -> None:
    table = pd.read_csv(ROOT / "benchmarks/results/refinement.csv")
    ratios = table[[name for name in table.columns if name.startswith("rmse_over_bound")]].to_numpy()
    assert f"between {ratios.min():.2f} and {ratios.max():.2f}" in " ".join(README.split())


def test_the_lead_over_the_genie_is_that_of_the_benchmark() -> None:
    table = pd.read_csv(ROOT / "benchmarks/results/learned_genie.csv").set_index(
        ["source_model", "n_sources", "snr_db"]
    )
    lead = 100.0 * table.loc["independent", "genie_difference"]
    words = " ".join(README.split())
    assert f"{lead[2, 0]:.1f} and {lead[3, 0]:.1f} points more than the genie" in words
    assert f"{lead[3, 5]:.1f} with three at 5 dB and {lead[5, 10]:.1f} with five at 10 dB" in words


def test_the_spread_of_the_codebooks_is_that_of_the_benchmark() -> None:
    spread = pd.read_csv(ROOT / "benchmarks/results/codebooks.csv").set_index(["kind", "phase_bits"])[
        "spread_db"
    ]
    words = " ".join(README.split())
    assert f"within {spread[('random', 3)]:.1f} dB (5th to 95th percentile)" in words
    assert f"DFT codebook within {spread[('dft2d', 3)]:.1f} dB" in words
    assert f"Hadamard codes within {spread[('hadamard', 3)]:.1f} dB" in words


def test_the_bias_of_the_fresnel_phase_is_that_of_the_benchmark() -> None:
    bias = pd.read_csv(ROOT / "benchmarks/results/fresnel.csv").set_index("range_m")[
        "median_azimuth_bias_deg"
    ]
    words = f"{bias[1.0]:.1f} degrees of azimuth at 1 m, {bias[3.0]:.1f} at 3 m and {bias[5.0]:.1f} at 5 m"
    assert words in " ".join(README.split())
