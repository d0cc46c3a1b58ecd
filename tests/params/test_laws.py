"""Laws between the values of params.yaml: an impossible combination names law and numbers."""

import re
from typing import Any

import pytest

from stages.params.model import SPLITS
from tests.messages import shows
from tests.parameters import changed, refusal
from tests.worlds import parsed

ONE_SOURCE = {"only": {"n_sources": [1, 1], "snr_db": [0.0, 0.0], "n_scenes": 4}}

LAWS: list[tuple[str, list[tuple[str, Any]], str]] = [
    (
        "MVDR without loading",
        [("covariance.diagonal_loading", 0.0)],
        "MVDR ... covariance.diagonal_loading > 0 ... got 0",
    ),
    (
        "test split of the other source model",
        [("simulate.test_independent.source_model", "constant")],
        "simulate.test_independent.source_model ... independent ... got constant",
    ),
    (
        "training split of the other source model",
        [("simulate.train.source_model", "constant")],
        "simulate.train.source_model ... independent ... got constant",
    ),
    (
        "constant training split of the other source model",
        [("simulate.train_constant.source_model", "independent")],
        "simulate.train_constant.source_model ... constant ... got independent",
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
        "test_independent.strata.only ... 2 ... 2 L min(M, N) >= ... L = 2 ... M = 3 ... allow 1",
    ),
    (
        "more constant sources than the snapshots determine",
        [
            ("receiver.n_antennas", 6),
            ("receiver.n_snapshots", 2),
            *((f"simulate.{split}.strata", ONE_SOURCE) for split in SPLITS),
            ("simulate.test_constant.strata", {"only": {**ONE_SOURCE["only"], "n_sources": [1, 5]}}),
        ],
        "test_constant.strata.only ... 5 ... 2 min(L M, N) >= 5 K: L = 2 ... M = 6 ... allow 4",
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
        "validation.strata.only ... 4 ... N = 4 elements allow 3",
    ),
    (
        "a training without sources",
        [("simulate.train.strata", {"only": {**ONE_SOURCE["only"], "n_sources": [0, 0]}})],
        "simulate.train.strata ... 0 sources",
    ),
    (
        "a grid beyond memory",
        [("grid.n_u", 2000)],
        "<= 20000: ... 2000 x 13 x 5 = 130000",
    ),
    (
        "a cell of two SNR",
        [("simulate.test_independent.strata.k1_00db.snr_db", [0.0, 10.0])],
        "simulate.test_independent.strata.k1_00db ... cell ... snr_db = [0, 10]",
    ),
    (
        "source nearer than the refinement looks",
        [("sources.range_m", [0.1, 10.0])],
        "wavelength ... 0.15 m ... 0.1 m",
    ),
    (
        "K < M",
        [("sources.max_sources", 16)],
        "sources.max_sources = 16 ... receiver.n_antennas = 16",
    ),
    (
        "stacked rank",
        [("array.n_horizontal", 2), ("array.n_vertical", 2)],
        "rank ... min(L M, N) = 4: ... sources.max_sources = 5",
    ),
    (
        "source at the surface",
        [("sources.azimuth_deg", [-89.0, 89.0])],
        "lambda / (2 pi) = 0.04775 m ... = 0.007557 m",
    ),
    (
        "sources of a stratum",
        [("simulate.test_constant.strata.k3_10db.n_sources", [3, 6])],
        "simulate.test_constant.strata.k3_10db ... 6 sources; sources.max_sources ... 5",
    ),
    (
        "behind the surface",
        [("sources.azimuth_deg", [-90.0, 60.0])],
        "azimuth_deg ... inside ... [-90.0, 60.0]",
    ),
    ("above the surface", [("sources.elevation_deg", [-30.0, 95.0])], "elevation_deg ... inside ... 95.0"),
    (
        "order of azimuth",
        [("sources.azimuth_deg", [60.0, -60.0])],
        "azimuth_deg ... [lowest, highest], got [60.0, -60.0]",
    ),
    (
        "order of range",
        [("sources.range_m", [10.0, 0.5])],
        "range_m ... [lowest, highest], got [10.0, 0.5]",
    ),
    (
        "order of K-factor",
        [("channel.k_factor", [10.0, 0.5])],
        "k_factor ... [lowest, highest], got [10.0, 0.5]",
    ),
    (
        "order of counts",
        [("simulate.train.strata.mixed.n_sources", [5, 1])],
        "n_sources ... [lowest, highest], got [5, 1]",
    ),
    (
        "order of SNR",
        [("simulate.train.strata.mixed.snr_db", [20.0, -5.0])],
        "snr_db ... [lowest, highest], got [20.0, -5.0]",
    ),
    (
        "order of maps",
        [("normalize.map_iterations", [3, 0])],
        "map_iterations ... strictly, got [3, 0]",
    ),
    (
        "order of the threshold",
        [("threshold.snr_db", [0.0, -5.0])],
        "snr_db ... strictly, got [0.0, -5.0]",
    ),
    (
        "order of the levels of a sweep",
        [("sweep.points.phase_error_deg", [10.0, 0.0])],
        "phase_error_deg ... strictly, got [10.0, 0.0]",
    ),
    (
        "sources of a sweep",
        [("sweep.n_sources", 6)],
        "sweep.n_sources ... sources.max_sources = 5 ... got 6",
    ),
    *(
        (
            f"order of {name} of augmented scenes",
            [(f"simulate.augmentation.{name}", [high, low])],
            f"{name} ... [lowest, highest], got [{high}, {low}]",
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
    ("maps once", [("normalize.map_iterations", [0, 0])], "map_iterations ... strictly, got [0, 0]"),
    ("group norm", [("network.groups", 5)], "channels ... groups ... got 32 ... 5"),
    (
        "a detection loss",
        [("train.detection_weight", 0.0)],
        "detection_weight ... 0",
    ),
    (
        "a buffer for a batch",
        [("train.batch_size", 129), ("train.buffer_blocks", 3)],
        "(buffer_blocks - 1) block_scenes >= batch_size, got (3 - 1) x 64 ... 129",
    ),
]


@pytest.mark.parametrize(("edits", "message"), [law[1:] for law in LAWS], ids=[law[0] for law in LAWS])
def test_an_impossible_combination_names_law_and_numbers(edits: list[tuple[str, Any]], message: str) -> None:
    assert re.search(shows(message), refusal(changed(*edits)))


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
    ("impairments.background", -0.1, False),
    ("impairments.noise_spread_db", -1.0, False),
    ("impairments.noise_spread_db", 10.0, True),
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
