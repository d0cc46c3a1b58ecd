"""Tables by stratum, derived from the tables of sources and of scenes.

strata.csv        one row a split, number of sources, SNR, count (known | estimated) and method
range_strata.csv  one row a split, number of sources, SNR, method and range of the true source, count known
found_rate.csv, rmse_over_bound.csv    the curves of strata.csv, one value a row
metrics.json      at most ten headline numbers; a number whose cell was not evaluated is absent

A rate or an error over nothing is an empty cell, never 0. Intervals are of 95 %. RMSE over bound is the
normalized RMSE, sqrt(mean((error / bound)^2)), of found sources, each error over the bound of its own scene;
pooled, the mean is over azimuth, elevation and inverse range too, and its inverse is the efficiency.
"""

import math
import zlib
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from risolve.metrics.intervals import wilson
from risolve.metrics.localization import found_rate
from risolve.metrics.normalized import bootstrap_interval, normalized_errors, normalized_rmse
from risolve.seeds import generator
from stages.evaluation.tables import GOSPA

PARAMETERS = {"azimuth": "azimuth_deg", "elevation": "elevation_deg", "inverse_range": "inverse_range_per_m"}
"""Parameter -> ending of its error and bound columns."""

_INNER_RANGES_M = (1.0, 3.0, 5.0)


class Bootstrap:
    """Bootstrap intervals whose resamples depend on the seed and on the label of the cell alone."""

    def __init__(self, seed: int, n_samples: int) -> None:
        self._seed, self._n_samples = seed, n_samples

    def interval(
        self, label: str, totals: Float[np.ndarray, " scene"], counts: Float[np.ndarray, " scene"]
    ) -> tuple[float, float]:
        """Interval of sqrt(sum totals / sum counts) over resampled scenes.

        Sources of one scene are not independent, scenes are.
        """

        def statistic(
            samples: Float[np.ndarray, "sample value"], /, *, axis: int
        ) -> Float[np.ndarray, " sample"]:
            drawn = samples.astype(np.intp)
            return np.asarray(np.sqrt(totals[drawn].sum(axis=axis) / counts[drawn].sum(axis=axis)))

        stream = generator(self._seed, "bootstrap", zlib.crc32(label.encode()))
        return bootstrap_interval(
            np.arange(len(totals), dtype=np.float64), statistic, stream, self._n_samples
        )


def strata_table(sources: pd.DataFrame, scenes: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """strata.csv from the tables of sources (with errors) and of scenes."""
    keys = ["split", "n_sources", "snr_db", "count", "method"]
    cells = dict(iter(sources.groupby(keys, sort=False)))
    empty = sources.iloc[:0]
    rows = []
    for key, group in scenes.groupby(keys, sort=False):
        own = cells.get(key, empty)
        split, n_sources, snr_db, count, method = cast(tuple[str, int, float, str, str], key)
        label = f"{split}/{n_sources}/{snr_db:g}/{count}/{method}"
        rows.append(
            {
                "split": split,
                "n_sources": n_sources,
                "snr_db": snr_db,
                "count": count,
                "method": method,
                "n_scenes": len(group),
                "n_true": n_sources * len(group),
                **_rates(own, n_sources, len(group)),
                **_medians(own),
                **_ratios(own, label, bootstrap),
                **{name: _root_mean_square(group[name]) for name in GOSPA},
                "false_alarms": group["n_false"].sum(min_count=1),
                "count_accuracy": _count_accuracy(group, count),
                **_all_errors(own),
            }
        )
    return pd.DataFrame(rows)


def _count_accuracy(group: pd.DataFrame, count: str) -> float:
    """Share of scenes with the right number of sources, where it was counted."""
    asked = group["n_estimated"].dropna()
    if count == "known" or asked.empty:
        return math.nan
    return float((asked == group.loc[asked.index, "n_sources"]).mean())


def _all_errors(own: pd.DataFrame) -> dict[str, float]:
    """Root mean square errors of matched sources, found or not: outliers are in them."""
    return {
        f"rmse_{ending}": _root_mean_square(own[f"error_{ending}"])
        for ending in (*PARAMETERS.values(), "range_m")
    }


def _rates(own: pd.DataFrame, n_sources: int, n_scenes: int) -> dict[str, float]:
    """found_rate and its interval."""
    if n_sources == 0:
        return dict.fromkeys(("found_rate", "found_low", "found_high"), math.nan)
    per_scene = own.groupby("scene")["found"].sum().to_numpy(dtype=np.float64)
    rate = found_rate(int(per_scene.sum()), n_sources * n_scenes)
    low, high = rate_interval(per_scene, n_sources)
    return {"found_rate": rate, "found_low": low, "found_high": high}


def rate_interval(found: Float[np.ndarray, " scene"], n_sources: int) -> tuple[float, float]:
    """`wilson` of a found rate p, with the number n of independent sources that would say as much.

        n = p (1 - p) / var(p),   between the number of scenes and the number of sources

    var(p) is that of the mean over scenes. Where all or none are found var(p) says nothing, and n is the
    number of scenes. Effective size: Kish, "Survey Sampling", 1965, section 8.2.
    """
    n_scenes = len(found)
    p = float(found.mean()) / n_sources
    variance = float(found.var(ddof=1)) / n_sources**2 / n_scenes if n_scenes > 1 else 0.0
    size = float(n_scenes)
    if variance > 0.0:
        size = min(max(p * (1.0 - p) / variance, size), size * n_sources)
    return wilson(p, size)


def _medians(own: pd.DataFrame) -> dict[str, float]:
    """Median absolute errors of matched sources, found or not, and the median bound of their positions."""
    matched = own[own["outcome"] == "matched"]
    return {
        **{
            f"median_{name}": float(own[f"error_{name}"].abs().median())
            for name in ("azimuth_deg", "elevation_deg", "range_m")
        },
        "median_position_m": float(matched["distance_m"].median()),
        "median_bound_position_m": float(matched["bound_position_m"].median()),
    }


def _ratios(own: pd.DataFrame, label: str, bootstrap: Bootstrap) -> dict[str, float]:
    """rmse_over_bound_* of found sources with their intervals, by parameter and pooled."""
    hits = own[own["found"]]
    values: dict[str, float] = {}
    squares = pd.DataFrame({name: _squared_ratios(hits, ending) for name, ending in PARAMETERS.items()})
    squares["pooled"] = squares.mean(axis=1)
    by_scene = squares.groupby(hits["scene"])
    counts = by_scene.size().to_numpy(dtype=np.float64)
    for parameter, totals in by_scene.sum().items():
        name = f"rmse_over_bound_{parameter}"
        values |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), math.nan)
        if hits.empty:
            continue
        values[name] = math.sqrt(totals.sum() / counts.sum())
        values[f"{name}_low"], values[f"{name}_high"] = bootstrap.interval(
            f"{label}/{parameter}", totals.to_numpy(), counts
        )
    return values


def _squared_ratios(hits: pd.DataFrame, ending: str) -> "pd.Series[float]":
    if hits.empty:
        return pd.Series(dtype=np.float64)
    ratios = normalized_errors(
        hits[f"error_{ending}"].to_numpy(dtype=np.float64), hits[f"bound_{ending}"].to_numpy(dtype=np.float64)
    )
    return pd.Series(np.square(ratios), index=hits.index)


def _root_mean_square(values: "pd.Series[float]") -> float:
    """Root mean square over scenes, NaN over none; keeps total^2 = location^2 + missed^2 + false^2."""
    known = values.dropna()
    return float(np.sqrt(np.mean(np.square(known)))) if len(known) else math.nan


def range_table(sources: pd.DataFrame, range_m: tuple[float, float]) -> pd.DataFrame:
    """range_strata.csv from the table of sources (with errors): `range_m`, cut at 1, 3 and 5 m."""
    edges = [range_m[0], *(edge for edge in _INNER_RANGES_M if range_m[0] < edge < range_m[1]), range_m[1]]
    true = sources[(sources["outcome"] != "false_alarm") & (sources["count"] == "known")]
    band = np.clip(np.searchsorted(edges, true["range_m"], side="right") - 1, 0, len(edges) - 2)
    rows = []
    keys = ["split", "n_sources", "snr_db", "band", "method"]
    for key, own in true.assign(band=band).groupby(keys, sort=False):
        split, n_sources, snr_db, number, method = cast(tuple[str, int, float, int, str], key)
        hits = own[own["found"]]
        rows.append(
            {
                "split": split,
                "n_sources": n_sources,
                "snr_db": snr_db,
                "range_from_m": edges[number],
                "range_to_m": edges[number + 1],
                "method": method,
                "n_true": len(own),
                "found_rate": found_rate(len(hits), len(own)),
                "median_relative_range_error": float((own["error_range_m"] / own["range_m"]).abs().median()),
                **{f"rmse_over_bound_{parameter}": _ratio_of(hits, parameter) for parameter in PARAMETERS},
            }
        )
    table = pd.DataFrame(rows)
    order = ["split", "n_sources", "snr_db", "range_from_m"]
    return table.sort_values(order, kind="stable", ignore_index=True)


def _ratio_of(hits: pd.DataFrame, parameter: str) -> float:
    ending = PARAMETERS[parameter]
    columns = (hits[f"{kind}_{ending}"].to_numpy(dtype=np.float64) for kind in ("error", "bound"))
    return math.nan if hits.empty else normalized_rmse(*columns)


def found_rate_curves(strata: pd.DataFrame) -> pd.DataFrame:
    """found_rate.csv: a row a split, number of sources, method and SNR with sources."""
    columns = ["split", "n_sources", "method", "snr_db", "found_rate", "found_low", "found_high"]
    own = (strata["n_true"] > 0) & (strata["count"] == "known")
    return strata.loc[own, columns].reset_index(drop=True)


def ratio_curves(strata: pd.DataFrame) -> pd.DataFrame:
    """rmse_over_bound.csv: a row a split, number of sources, method, SNR and parameter with found sources."""
    curves = []
    for parameter in PARAMETERS:
        name = f"rmse_over_bound_{parameter}"
        known = strata[strata["count"] == "known"]
        curve = known[["split", "n_sources", "method", "snr_db"]].assign(
            parameter=parameter,
            rmse_over_bound=known[name],
            low=known[f"{name}_low"],
            high=known[f"{name}_high"],
        )
        curves.append(curve[known[name].notna()])
    return pd.concat(curves, ignore_index=True)


HEADLINES: tuple[tuple[str, str, int, float], ...] = (
    ("learned", "found_rate", 1, 0.0),
    ("learned", "found_rate", 2, 5.0),
    ("learned", "found_rate", 3, 5.0),
    ("learned", "found_rate", 3, 10.0),
    ("learned", "gospa_m", 3, 10.0),
    ("ml", "count_accuracy", 3, 10.0),
)
"""(method, column of strata.csv, number of sources, SNR in dB) of the figures of `test_independent`."""


def headline_metrics(
    strata: pd.DataFrame, sources: pd.DataFrame, n_scenes: int
) -> dict[str, int | dict[str, float]]:
    """metrics.json: the number of scenes, and method -> figures of single cells of `test_independent`.

    For learned also the RMSE over bound of all found sources of K <= 3 from 10 dB.
    """
    own = strata[strata["split"] == "test_independent"]
    methods: dict[str, dict[str, float]] = {}
    for method, column, count, snr_db in HEADLINES:
        asked = "estimated" if column == "count_accuracy" else "known"
        cell = own[(own["method"] == method) & (own["n_sources"] == count) & (own["snr_db"] == snr_db)]
        cell = cell[cell["count"] == asked]
        value = float(cell[column].iloc[0]) if len(cell) else math.nan
        if not math.isnan(value):
            methods.setdefault(method, {})[f"{column}_k{count}_{snr_db:g}db"] = value
    hits = sources[
        (sources["split"] == "test_independent")
        & (sources["count"] == "known")
        & (sources["method"] == "learned")
        & (sources["n_sources"] <= 3)
        & (sources["snr_db"] >= 10.0)
        & sources["found"]
    ]
    if not hits.empty:
        ratios = {f"rmse_over_bound_{p}_k1to3_from_10db": _ratio_of(hits, p) for p in PARAMETERS}
        methods.setdefault("learned", {}).update(ratios)
    return {"n_scenes": n_scenes, **methods}
