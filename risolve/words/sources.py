"""Located sources, and the estimators that locate them, as tables for a terminal."""

import math
import sys

import numpy as np

from risolve.estimators.registry import REGISTRY
from risolve.files.located_sources import CONFIDENCE, TRACK, VALUES, LocatedSources
from risolve.locating import CLASSICAL, needs_model, probe

_MOST_ROWS = 50
_DEVIATIONS = ("azimuth_std_deg", "elevation_std_deg", "inverse_range_std_per_m")
_SURE = "  count sure"
_KINDS = {
    None: "none, the snapshots",
    "sample": "R_samp",
    "predicted": "R_pred",
    "blend": "R_blend",
    "fitted": "sparse fit",
}


def source_lines(sources: LocatedSources) -> list[str]:
    """One line a source, the first ones of many, and a summary."""
    named = len(sources.files) > 1
    head = f"{'file  ' if named else ''}scene source    azimuth deg     elevation deg             range m"
    head = head.replace("source ", "source track ") if TRACK in sources else head
    stated = bool(np.isfinite(sources.count_confidence).any())
    lines = [head + "        x m        y m        z m  power dB  log-likelihood" + (_SURE if stated else "")]
    for row in list(sources.rows())[:_MOST_ROWS]:
        number = f"{sources.files.index(row['file']):4d}  " if named else ""
        lines.append(
            f"{number}{row['scene']:5d} {row['source']:6d} "
            + (f"{row[TRACK]:5d} " if TRACK in row else "")
            + f"{row['azimuth_deg']:8.3f} ± {_deviation(row['azimuth_std_deg']):6} "
            f"{row['elevation_deg']:8.3f} ± {_deviation(row['elevation_std_deg']):6} "
            f"{row['range_m']:9.4g} ± {_deviation(row['range_std_m']):7}"
            f"{_metres(row['x_m']):>10} {_metres(row['y_m']):>10} {_metres(row['z_m']):>10} "
            f"{row['power_db']:9.2f} {row['log_likelihood']:15.2f}"
            + (f"{row[CONFIDENCE]:{len(_SURE)}.3f}" if stated else "")
            + ("  at a limit" if row["at_limit"] == 1.0 else "")
        )
    if sources.scene.size > _MOST_ROWS:
        lines.append(f"... {sources.scene.size - _MOST_ROWS} more; --out writes all of them")
    return lines


def _deviation(value: float) -> str:
    """A standard deviation; - of a coordinate that was stated, or whose deviation is not known."""
    return "-" if math.isnan(value) else f"{value:.2g}"


def _metres(value: float) -> str:
    """A coordinate; - of a source at infinity, which has no place."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def summary_line(sources: LocatedSources) -> str:
    """How many sources and scenes."""
    empty = int((sources.scenes[:, 2] == 0).sum())
    line = f"{sources.scene.size} sources in {len(sources.scenes)} scenes"
    line += f", {empty} of them without a source" if empty else ""
    if sources.track is not None:
        line += f", in {len(set(zip(sources.file.tolist(), sources.track.tolist(), strict=True)))} tracks"
    return line + (f"; {len(sources.left_out)} scenes left out" if sources.left_out else "")


def track_lines(sources: LocatedSources) -> list[str]:
    """What tracks do not tell: sources of no deviation, which belong to none."""
    deviations = [sources.values[:, VALUES.index(name)] for name in _DEVIATIONS]
    untold = np.isnan(deviations).all(0)
    if sources.track is None or not untold.any():
        return []
    first = int(sources.scene[untold][0])
    return [
        f"{TRACK}: {int(untold.sum())} sources, the first in scene {first}, have no deviation, and each is a "
        "track for itself"
    ]


def detail_lines(sources: LocatedSources) -> list[str]:
    """Sources a scene, and how well scenes fit."""
    counts, n_scenes = np.unique(sources.scenes[:, 2], return_counts=True)
    told = ", ".join(f"{k} in {n}" for k, n in zip(counts.tolist(), n_scenes.tolist(), strict=True))
    lines = [f"sources a scene: {told}; explained {np.median(sources.explained):.3f} at the median"]
    fits = sources.fits[np.isfinite(sources.fits)]
    if fits.size:
        lines.append(f"fits: below 0.05 in {int((fits < 0.05).sum())} of {fits.size} scenes")
    return lines


def estimator_lines() -> list[str]:
    """Every estimator: name, covariance that it reads, whether it needs a model, and what it is."""
    rows = [("name", "covariance", "model", "")]
    for name, factory in REGISTRY.items():
        kind = probe(name).covariance_kind
        description = factory.__doc__ or sys.modules[factory.__module__].__doc__ or ""
        first = " ".join(description.strip().split("\n\n")[0].split())
        own = " (default)" if name == CLASSICAL else ""
        rows.append((name, _KINDS[kind], "yes" if needs_model(name) else "no", first + own))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return ["  ".join((*(c.ljust(w) for c, w in zip(r, widths, strict=False)), r[3])).rstrip() for r in rows]
