"""Laws between the values of params.yaml: an impossible combination names law and numbers."""

import re
from typing import Any

import pytest

from stages.params.model import SPLITS
from tests.parameters import changed, refusal
from tests.worlds import parsed

ONE_SOURCE = {"only": {"n_sources": [1, 1], "snr_db": [0.0, 0.0], "n_scenes": 4}}

LAWS: list[tuple[str, list[tuple[str, Any]], str]] = [
    (
        "MVDR without loading",
        [("covariance.diagonal_loading", 0.0)],
        r"MVDR inverts R \+ eps I, so covariance.diagonal_loading > 0 .* got 0",
    ),
    (
        "test split of the other source model",
        [("simulate.test_independent.source_model", "constant")],
        "simulate.test_independent.source_model is independent, .* splits of its own; got constant",
    ),
    (
        "training split of the other source model",
        [("simulate.train.source_model", "constant")],
        "simulate.train.source_model is independent, .* splits of its own; got constant",
    ),
    (
        "constant training split of the other source model",
        [("simulate.train_constant.source_model", "independent")],
        "simulate.train_constant.source_model is constant, .* splits of its own; got independent",
    ),
    (
        "more independent sources than the snapshots determine",
        [
            ("receiver.n_antennas", 3),
            ("receiver.n_snapshots", 2),
            ("sources.max_sources", 2),
            *((f"simulate.{split}.strata", ONE_SOURCE) for split in SPLITS),
            ("simulate.test_independent.strata", {"only": {**ONE_SOURCE["only"], "n_sources": [2, 2]}}),
        ],
        r"test_independent\.strata\.only asks for up to 2 .*2 L min\(M, N\) >= .* L = 2 .* M = 3 .*allow 1",
    ),
    (
        "more constant sources than the snapshots determine",
        [
            ("receiver.n_antennas", 6),
            ("receiver.n_snapshots", 2),
            *((f"simulate.{split}.strata", ONE_SOURCE) for split in SPLITS),
            ("simulate.test_constant.strata", {"only": {**ONE_SOURCE["only"], "n_sources": [1, 5]}}),
        ],
        r"test_constant\.strata\.only asks for up to 5 .* 2 min\(L M, N\) >= 5 K: L = 2 .* M = 6 .*allow 4",
    ),
    (
        "more sources than a small surface tells apart",
        [
            ("array.n_horizontal", 2),
            ("array.n_vertical", 2),
            ("sources.max_sources", 4),
            *((f"simulate.{split}.strata", ONE_SOURCE) for split in SPLITS),
            ("simulate.validation.strata", {"only": {**ONE_SOURCE["only"], "n_sources": [4, 4]}}),
        ],
        r"validation\.strata\.only asks for up to 4 .*N = 4 elements allow 3",
    ),
    (
        "a training without sources",
        [("simulate.train.strata", {"only": {**ONE_SOURCE["only"], "n_sources": [0, 0]}})],
        r"simulate\.train\.strata hold scenes with sources.* got strata of 0 sources alone",
    ),
    (
        "a grid beyond memory",
        [("grid.n_u", 2000)],
        r"n_u n_v n_w <= 20000: .* 2000 x 13 x 5 = 130000",
    ),
    (
        "a cell of two SNR",
        [("simulate.test_independent.strata.k1_00db.snr_db", [0.0, 10.0])],
        r"simulate\.test_independent\.strata\.k1_00db is a cell .* got snr_db = \[0, 10\]",
    ),
    (
        "source nearer than the refinement looks",
        [("sources.range_m", [0.1, 10.0])],
        r"half a wavelength or more from the centre, 0\.15 m.*starts at 0\.1 m",
    ),
    (
        "K < M",
        [("sources.max_sources", 16)],
        r"sources\.max_sources = 16 must be below receiver\.n_antennas = 16",
    ),
    (
        "stacked rank",
        [("array.n_horizontal", 2), ("array.n_vertical", 2)],
        r"rank at most min\(L M, N\) = 4: too low for sources\.max_sources = 5",
    ),
    (
        "source at the surface",
        [("sources.azimuth_deg", [-89.0, 89.0])],
        r"lambda / \(2 pi\) = 0\.04775 m.*= 0\.007557 m",
    ),
    (
        "sources of a stratum",
        [("simulate.test_constant.strata.k3_10db.n_sources", [3, 6])],
        r"simulate\.test_constant\.strata\.k3_10db asks for up to 6 sources; sources\.max_sources is 5",
    ),
    (
        "behind the surface",
        [("sources.azimuth_deg", [-90.0, 60.0])],
        r"azimuth_deg lies inside.*\[-90\.0, 60\.0\]",
    ),
    ("above the surface", [("sources.elevation_deg", [-30.0, 95.0])], r"elevation_deg lies inside.*95\.0"),
    (
        "order of azimuth",
        [("sources.azimuth_deg", [60.0, -60.0])],
        r"azimuth_deg is \[lowest, highest\].*60\.0, -60",
    ),
    (
        "order of range",
        [("sources.range_m", [10.0, 0.5])],
        r"range_m is \[lowest, highest\], got \[10\.0, 0\.5\]",
    ),
    ("order of K-factor", [("channel.k_factor", [10.0, 0.5])], r"k_factor is \[lowest, highest\]"),
    (
        "order of counts",
        [("simulate.train.strata.mixed.n_sources", [5, 1])],
        r"n_sources is \[lowest, highest\]",
    ),
    (
        "order of SNR",
        [("simulate.train.strata.mixed.snr_db", [20.0, -5.0])],
        r"snr_db is \[lowest, highest\]",
    ),
    (
        "order of maps",
        [("normalize.map_iterations", [3, 0])],
        r"map_iterations increases strictly, got \[3, 0\]",
    ),
    (
        "order of the threshold",
        [("threshold.snr_db", [0.0, -5.0])],
        r"snr_db increases strictly, got \[0\.0, -5\.0\]",
    ),
    (
        "order of the levels of a sweep",
        [("sweep.points.phase_error_deg", [10.0, 0.0])],
        r"phase_error_deg increases strictly, got \[10\.0, 0\.0\]",
    ),
    (
        "sources of a sweep",
        [("sweep.n_sources", 6)],
        r"sweep\.n_sources is at most sources\.max_sources = 5.* got 6",
    ),
    *(
        (
            f"order of {name} of augmented scenes",
            [(f"simulate.augmentation.{name}", [high, low])],
            rf"{name} is \[lowest, highest\], got \[{high}, {low}\]",
        )
        for name, low, high in (
            ("power_spread_db", 0.0, 20.0),
            ("phase_bits", 1, 3),
            ("position_jitter_m", 0.0, 0.02),
            ("phase_error_deg", 0.0, 20.0),
            ("gain_jitter_db", 0.0, 1.0),
            ("dead_fraction", 0.0, 0.1),
            ("channel_error", 0.0, 0.15),
        )
    ),
    ("maps once", [("normalize.map_iterations", [0, 0])], r"map_iterations increases strictly, got \[0, 0\]"),
    ("group norm", [("network.groups", 5)], r"channels is a multiple of groups.*got 32 and 5"),
    (
        "a detection loss",
        [("train.detection_weight", 0.0)],
        r"detection_weight\s+Input should be greater than 0",
    ),
    (
        "a buffer for a batch",
        [("train.batch_size", 129), ("train.buffer_blocks", 3)],
        r"\(buffer_blocks - 1\) block_scenes >= batch_size, got \(3 - 1\) x 64 and 129",
    ),
]


@pytest.mark.parametrize(("edits", "message"), [law[1:] for law in LAWS], ids=[law[0] for law in LAWS])
def test_an_impossible_combination_names_law_and_numbers(edits: list[tuple[str, Any]], message: str) -> None:
    assert re.search(message, refusal(changed(*edits)))


BOUNDS: list[tuple[str, float, bool]] = [
    ("array.wavelength_m", 0.0, False),
    ("array.spacing_m", 0.0, False),
    ("array.n_horizontal", 1, False),
    ("array.n_vertical", 1, False),
    ("array.n_vertical", 2, True),
    ("receiver.n_antennas", 0, False),
    ("receiver.n_snapshots", 1, False),
    ("codebook.phase_bits", 0, False),
    ("codebook.phase_bits", 1, True),
    ("codebook.phase_bits", 2, True),
    ("codebook.phase_bits", 4, False),
    ("channel.k_factor.0", -0.1, False),
    ("channel.k_factor.0", 0.0, True),
    ("sources.power_spread_db", -1.0, False),
    ("impairments.dead_fraction", 1.0, False),
    ("impairments.dead_fraction", 0.99, True),
    ("impairments.amplitude_minimum", 1.1, False),
    ("impairments.amplitude_minimum", 0.0, True),
    ("impairments.channel_error", -0.1, False),
    ("simulate.seed", -1, False),
    ("simulate.augmentation.spread_share", 1.01, False),
    ("simulate.augmentation.spread_share", -0.01, False),
    ("simulate.augmentation.spread_share", 1.0, True),
    ("simulate.augmentation.impaired_share", 1.01, False),
    ("simulate.augmentation.impaired_share", 0.0, True),
    ("simulate.augmentation.power_spread_db.0", -1.0, False),
    ("simulate.augmentation.power_spread_db.1", 201.0, False),
    ("simulate.augmentation.phase_bits.0", 0, False),
    ("simulate.augmentation.phase_bits.0", 3, True),
    ("simulate.augmentation.phase_bits.1", 4, False),
    ("simulate.augmentation.position_jitter_m.0", -0.01, False),
    ("simulate.augmentation.phase_error_deg.0", -1.0, False),
    ("simulate.augmentation.gain_jitter_db.1", 101.0, False),
    ("simulate.augmentation.dead_fraction.1", 1.0, False),
    ("simulate.augmentation.dead_fraction.1", 0.99, True),
    ("simulate.augmentation.channel_error.0", -0.1, False),
    ("simulate.workers", 0, False),
    ("grid.n_u", 2, False),
    ("grid.n_w", 1, False),
    ("covariance.ls_ridge", 0.0, False),
    ("train.blend_beta_end", -0.01, False),
    ("train.blend_beta_end", 0.0, True),
    ("train.blend_beta_end", 1.0, True),
    ("train.blend_beta_end", 1.01, False),
    ("covariance.diagonal_loading", -1e-3, False),
    ("train.lr", 0.0, False),
    ("train.lr", 1e300, False),
    ("train.target_width_cells", 1e-200, False),
    ("impairments.gain_jitter_db", 200.0, False),
    ("covariance.diagonal_loading", 1e300, False),
    ("array.wavelength_m", 1e-300, False),
    ("channel.k_factor.1", 1e300, False),
    ("sources.power_spread_db", 1e6, False),
    ("simulate.train.strata.mixed.snr_db.1", 4000.0, False),
    ("train.lr", 1e-5, True),
    ("train.ema_decay", 1.0, False),
    ("train.ema_decay", 0.0, True),
    ("train.warmup_fraction", 1.0, False),
    ("train.clip_norm", 0.0, False),
    ("train.epochs", 0, False),
    ("evaluate.gospa_cutoff_m", 0.0, False),
    ("evaluate.bootstrap_samples", 0, False),
    ("threshold.scenes", 0, False),
    ("sweep.points.dead_fraction.4", 1.0, False),
    ("sweep.points.channel_error.4", 2.0, True),
    ("sweep.points.position_jitter_m.0", -0.001, False),
    ("sweep.n_sources", 0, False),
    ("sweep.n_scenes", 0, False),
    ("threshold.draws", 0, False),
    ("threshold.snr_db.0", -201.0, False),
]


@pytest.mark.parametrize(("path", "value", "valid"), BOUNDS, ids=[f"{p}={v}" for p, v, _ in BOUNDS])
def test_ranges_end_where_they_are_said_to(path: str, value: float, valid: bool) -> None:
    if valid:
        parsed(changed((path, value)))
    else:
        assert path in refusal(changed((path, value)))


@pytest.mark.parametrize(
    "path",
    [
        "simulate.train.strata",
        "normalize.map_iterations",
        "evaluate.estimators",
        "evaluate.refine",
        "threshold.snr_db",
        "sweep.points.dead_fraction",
    ],
)
def test_lists_are_not_empty(path: str) -> None:
    assert path in refusal(changed((path, [])))


@pytest.mark.parametrize(
    "path",
    [
        "channel.k_factor",
        "sources.range_m",
        "train.focal_exponents",
        "simulate.augmentation.power_spread_db",
        "simulate.augmentation.channel_error",
    ],
)
@pytest.mark.parametrize("length", [1, 3])
def test_pairs_are_pairs(path: str, length: int) -> None:
    assert path in refusal(changed((path, [1.0] * length)))
