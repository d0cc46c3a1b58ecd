"""The table of sources: every true source matched or missed, every false alarm, of every method.

sources.csv, one row a true source or a false alarm of a method; an empty cell was not measured:

split, scene, n_sources, snr_db, count (known | estimated), method, outcome (matched | missed | false_alarm)
azimuth_deg, elevation_deg, range_m, separation_deg (angle to the nearest other source of the scene)
estimated_azimuth_deg, estimated_elevation_deg, estimated_range_m
std_azimuth_deg, std_elevation_deg, std_inverse_range_per_m (as the estimator states them), distance_m, found
bound_azimuth_deg, bound_elevation_deg, bound_range_m, bound_inverse_range_per_m, bound_position_m

scenes.csv, one row a scene and method; a scene that the method was not asked about has a row, in which
nothing is measured:

split, scene, n_sources, snr_db, count, method, resolved, n_estimated, count_confidence (that n_estimated is
right, as the method states it), log_likelihood, n_false
gospa_m, gospa_location_m, gospa_missed_m, gospa_false_m

Pairs are made by angle (`metrics.assignment.pair`), GOSPA assigns by itself in metres. The range of an
estimate at infinity (inverse range 0) is `inf`, and so is its distance.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from risolve.files.atomic import write_text
from risolve.metrics.assignment import pair
from risolve.metrics.localization import errors, found, gospa, separation
from risolve.physics.geometry import positions
from stages.evaluation.cells import Done
from stages.evaluation.estimates import MethodEstimates, joined_estimates
from stages.evaluation.truth import BOUNDS, SplitTruth
from stages.params.model import Params

SOURCES = {
    **dict.fromkeys(("split", "scene", "n_sources", "snr_db", "count", "method", "outcome"), "key"),
    **dict.fromkeys(("azimuth_deg", "elevation_deg", "range_m", "separation_deg"), "truth"),
    **dict.fromkeys(("estimated_azimuth_deg", "estimated_elevation_deg", "estimated_range_m"), "estimate"),
    **dict.fromkeys(("std_azimuth_deg", "std_elevation_deg", "std_inverse_range_per_m"), "estimate"),
    **dict.fromkeys(("distance_m", "found"), "score"),
    **dict.fromkeys(BOUNDS, "bound"),
}
"""Columns of sources.csv in order, and what each describes."""

GOSPA = ("gospa_m", "gospa_location_m", "gospa_missed_m", "gospa_false_m")
"""GOSPA of a scene and its parts, in the order of `metrics.localization.Gospa`."""

SCORED = ("evaluate.found_tolerance_deg", "evaluate.gospa_cutoff_m", "evaluate.bootstrap_samples")
"""Parameters of scores alone: estimates are the same whatever they are."""


@dataclass(frozen=True)
class Scoring:
    """Tolerance (rad) of both angles of a found source, and cutoff distance (m) of GOSPA."""

    tolerance: float
    cutoff: float


def score(
    truth: SplitTruth, estimates: MethodEstimates, scoring: Scoring
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(sources, scenes): the rows of one method on one split."""
    true_places, estimated_places = _places(truth.sources), _places(estimates.sources)
    n_sources = truth.n_sources
    scenes = pd.DataFrame(
        {
            "split": truth.split,
            "scene": np.arange(len(n_sources)),
            "n_sources": n_sources,
            "snr_db": truth.snr_db,
            "count": estimates.method.count,
            "method": estimates.method.name,
            "resolved": np.where(estimates.asked, estimates.resolved, np.nan).astype(object),
            "n_estimated": np.where(
                estimates.asked, np.isfinite(estimates.sources[..., 0]).sum(axis=1), np.nan
            ),
            "count_confidence": np.where(estimates.asked, estimates.count_confidence, np.nan),
            "log_likelihood": np.where(estimates.asked, estimates.log_likelihood, np.nan),
        }
    )
    parts = np.full((len(n_sources), 5), np.nan)
    rows: list[tuple[int, int, int]] = []
    for scene in np.flatnonzero(estimates.asked).tolist():
        count = int(n_sources[scene])
        slots = np.flatnonzero(np.isfinite(estimates.sources[scene, :, 0]))
        pairing = pair(truth.sources[scene, :count], estimates.sources[scene, slots], scoring.tolerance)
        partner = np.full(count, -1)
        partner[pairing.truth] = slots[pairing.estimate]
        rows.extend((scene, k, int(partner[k])) for k in range(count))
        rows.extend((scene, -1, int(slots[j])) for j in pairing.false)
        distance = gospa(true_places[scene, :count], estimated_places[scene, slots], scoring.cutoff)
        own = (distance.total, distance.location, distance.missed, distance.false)
        parts[scene] = len(pairing.false), *own
    for column, name in enumerate(("n_false", *GOSPA)):
        scenes[name] = parts[:, column]
    index = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return _source_rows(truth, estimates, index, true_places, estimated_places, scoring), scenes


def _places(sources: Float[np.ndarray, "scene source 3"]) -> Float[np.ndarray, "scene source 3"]:
    """Positions (m), inf at infinity."""
    given = torch.from_numpy(sources)
    return positions(given).masked_fill(given[..., 2:].reciprocal().isinf(), math.inf).numpy()


def _source_rows(
    truth: SplitTruth,
    estimates: MethodEstimates,
    index: Int[np.ndarray, "row 3"],
    true_places: Float[np.ndarray, "scene source 3"],
    estimated_places: Float[np.ndarray, "scene estimate 3"],
    scoring: Scoring,
) -> pd.DataFrame:
    """Rows (scene, true slot or -1, estimated slot or -1) with everything known of them."""
    scene, slot, partner = index.T
    is_true, is_estimated = slot >= 0, partner >= 0
    matched = is_true & is_estimated
    true, estimated = truth.sources[scene, slot], estimates.sources[scene, partner]
    deviation = estimates.deviations[scene, partner]
    hit = np.zeros(len(index), dtype=bool)
    hit[matched] = found(true[matched], estimated[matched], scoring.tolerance)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.linalg.norm(true_places[scene, slot] - estimated_places[scene, partner], axis=-1)
        true_range = 1.0 / true[:, 2]
        estimated_range = 1.0 / estimated[:, 2]
    columns: dict[str, NDArray[np.generic] | str] = {
        "split": truth.split,
        "scene": scene,
        "n_sources": truth.n_sources[scene],
        "snr_db": truth.snr_db[scene],
        "count": estimates.method.count,
        "method": estimates.method.name,
        "outcome": np.where(matched, "matched", np.where(is_true, "missed", "false_alarm")),
        "azimuth_deg": np.where(is_true, np.rad2deg(true[:, 0]), np.nan),
        "elevation_deg": np.where(is_true, np.rad2deg(true[:, 1]), np.nan),
        "range_m": np.where(is_true, true_range, np.nan),
        "separation_deg": np.where(is_true, np.rad2deg(_separations(truth.sources)[scene, slot]), np.nan),
        "estimated_azimuth_deg": np.where(is_estimated, np.rad2deg(estimated[:, 0]), np.nan),
        "estimated_elevation_deg": np.where(is_estimated, np.rad2deg(estimated[:, 1]), np.nan),
        "estimated_range_m": np.where(is_estimated, estimated_range, np.nan),
        "std_azimuth_deg": np.where(is_estimated, np.rad2deg(deviation[:, 0]), np.nan),
        "std_elevation_deg": np.where(is_estimated, np.rad2deg(deviation[:, 1]), np.nan),
        "std_inverse_range_per_m": np.where(is_estimated, deviation[:, 2], np.nan),
        "distance_m": np.where(matched, distance, np.nan),
        "found": hit,
        **{name: np.where(is_true, truth.bounds[name][scene, slot], np.nan) for name in BOUNDS},
    }
    return pd.DataFrame(columns)


def _separations(sources: Float[np.ndarray, "scene source 3"]) -> Float[np.ndarray, "scene source"]:
    apart = np.full(sources.shape[:2], np.nan)
    for scene, slots in enumerate(sources):
        present = np.isfinite(slots[:, 0])
        apart[scene, present] = separation(slots[present])
    return apart


def with_errors(sources: pd.DataFrame) -> pd.DataFrame:
    """The table of sources with the errors of matched ones (estimate minus truth), NaN elsewhere.

    error_azimuth_deg, error_elevation_deg, error_range_m, error_inverse_range_per_m.
    """
    truth, estimate = (
        np.stack(
            (
                np.deg2rad(sources[f"{prefix}azimuth_deg"]),
                np.deg2rad(sources[f"{prefix}elevation_deg"]),
                1.0 / sources[f"{prefix}range_m"],
            ),
            axis=-1,
        )
        for prefix in ("", "estimated_")
    )
    matched = (sources["outcome"] == "matched").to_numpy()
    difference = np.full((len(sources), 3), np.nan)
    difference[matched] = errors(truth[matched], estimate[matched])
    return sources.assign(
        error_azimuth_deg=np.rad2deg(difference[:, 0]),
        error_elevation_deg=np.rad2deg(difference[:, 1]),
        error_inverse_range_per_m=difference[:, 2],
        error_range_m=np.where(matched, sources["estimated_range_m"] - sources["range_m"], np.nan),
    )


class Scored(NamedTuple):
    """Tables of sources (`with_errors`) and of scenes."""

    sources: pd.DataFrame
    scenes: pd.DataFrame


def scored(params: Params, splits: Iterable[tuple[SplitTruth, Done[Any]]]) -> Scored:
    """Scores of every method on every split that was estimated, one split after the other."""
    scoring = Scoring(math.radians(params.evaluate.found_tolerance_deg), params.evaluate.gospa_cutoff_m)
    tables = [score(truth, own, scoring) for truth, done in splits for own in joined_estimates(truth, done)]
    sources, scenes = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    return Scored(with_errors(sources), scenes)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with ten significant digits and empty cells for NaN; equal tables make equal bytes."""
    write_text(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
