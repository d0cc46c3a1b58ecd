"""Figures of the report: panels as data URIs with what a reader without eyes hears, and their legends."""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from risolve.files.model_grid import grid as search_grid
from stages.page import bars, curves, figures, training_figures
from stages.page.figures import MethodStyle
from stages.page.run_files import EXAMPLES, LOSSES, ExampleSpectra, ReportError
from stages.page.strata_tables import PARAMETERS, cells_by_count, main_cells, of_cell
from stages.params.model import Params

Layout: TypeAlias = Literal["one", "two", "three", "four", "spectra"]


@dataclass(frozen=True)
class Panel:
    """One picture as a data URI, and its description in words."""

    uri: str
    alt: str


@dataclass(frozen=True)
class FigureBlock:
    """Panels in a number of columns, with a legend of methods."""

    layout: Layout
    panels: tuple[Panel, ...]
    legend: tuple[MethodStyle, ...]


AT_MOST = 8
"""Methods of a figure of curves, limits aside: more cannot be told apart."""

PICTURE = ("learned", "ml", "ml_unconditional", "nomp", "mvdr+ml", "genie")
"""Methods of the picture, where they were evaluated."""


def rate_figure(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """Found rate by SNR, one panel a number of sources."""
    groups = cells_by_count(strata)
    layout, size = large(len(groups))
    panels = [
        panel(
            figures.svg(_rate_by_snr(strata, rows, k, styles), *size),
            f"Found rate against SNR, K = {k}, one line a method",
        )
        for k, rows in groups.items()
    ]
    return FigureBlock(layout, tuple(panels), tuple(styles.values()))


def rate_picture(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> bytes:
    """Found rate by SNR as one SVG picture: up to three numbers of sources, a few methods."""
    wanted = {name: styles[name] for name in PICTURE if name in styles}
    shown = wanted if any(not style.limit for style in wanted.values()) else figures.strongest(styles, 5)
    groups = list(cells_by_count(strata).items())[:3]
    draws = [_rate_by_snr(strata, rows, k, shown) for k, rows in groups]
    return figures.svg_row(draws, shown.values(), max(3.6 * len(draws), 7.2), 3.6)


def _rate_by_snr(
    strata: pd.DataFrame, rows: pd.DataFrame, n_sources: int, styles: Mapping[str, MethodStyle]
) -> Callable[[Axes], None]:
    quantity = curves.Quantity("found_rate", "found_low", "found_high", "found rate")
    title = f"{n_sources} source{'s' if n_sources > 1 else ''}"
    return curves.by_snr(rows, styles, quantity, snr_values(strata), title, curves.rate_axis)


def ratio_figure(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """RMSE over bound by SNR, one row of panels a number of sources, one panel a parameter."""
    columns = [f"rmse_over_bound_{name}{end}" for name in PARAMETERS for end in ("", "_low", "_high")]
    values = strata.loc[strata["method"].isin(list(styles)), columns].to_numpy().ravel()
    values = values[np.isfinite(values) & (values > 0.0)]
    lowest, highest = (float(values.min()), float(values.max())) if values.size else (1.0, 1.0)
    axis = curves.bound_axis(min(0.8, 0.9 * lowest), max(2.5, 1.15 * highest))
    panels = []
    for k, rows in cells_by_count(strata).items():
        for name, label in PARAMETERS.items():
            column = f"rmse_over_bound_{name}"
            quantity = curves.Quantity(column, f"{column}_low", f"{column}_high", "RMSE / bound")
            title = f"K = {k}, {label}"
            draw = curves.by_snr(rows, styles, quantity, snr_values(strata), title, axis)
            image = figures.svg(draw, *figures.SMALL)
            panels.append(panel(image, f"RMSE over bound against SNR, {title}, one line a method"))
    return FigureBlock("three", tuple(panels), tuple(styles.values()))


def gospa_figure(strata: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """GOSPA with its parts by method, one panel a number of sources, in the cell with the most scenes."""
    shown = {cell: of_cell(strata, cell) for cell in main_cells(strata)}
    own = [rows.loc[rows["method"].isin(list(styles)), "gospa_m"].max() for rows in shown.values()]
    longest = max((float(value) for value in own if value > 0.0), default=1.0)
    panels = [
        panel(
            bars.gospa_bars(rows, styles, f"K = {k}, {snr_db:g} dB", longest),
            f"GOSPA by method, K = {k} at {snr_db:g} dB, divided into location, missed and false",
        )
        for (k, snr_db), rows in shown.items()
    ]
    return FigureBlock("two", tuple(panels), ())


COMPONENTS = {
    "azimuth_deg": "azimuth (°)",
    "elevation_deg": "elevation (°)",
    "inverse_range_per_m": "1 / range (1/m)",
}
"""Component of threshold.csv and ending of the errors of the strata -> its name and unit."""


def threshold_figure(
    bounds: pd.DataFrame, strata: pd.DataFrame, styles: Mapping[str, MethodStyle]
) -> FigureBlock:
    """Root mean square errors of one source over SNR beside its bounds, one panel a component."""
    single = strata[strata["n_sources"] == 1]
    shown = {name: style for name, style in styles.items() if not style.limit}
    panels = []
    for name, label in COMPONENTS.items():
        own = bounds[bounds["component"] == name]
        if own.empty:
            continue
        draw = curves.threshold(own, single, f"rmse_{name}", shown, label)
        alt = f"Root mean square error of {label} of one source against SNR, beside its bounds"
        panels.append(panel(figures.svg(draw, *figures.SMALL), alt))
    lines = tuple(reversed(curves.LINES_OF_THRESHOLD.values()))
    return FigureBlock("three", tuple(panels), (*lines, *shown.values()))


def timing_figure(timing: pd.DataFrame, styles: Mapping[str, MethodStyle]) -> FigureBlock:
    """CPU time a scene by estimator."""
    alt = "CPU time a scene by estimator on a logarithmic axis, alone and refined"
    return FigureBlock("one", (panel(bars.timing_dumbbells(timing, styles), alt),), ())


def training_figure(history: pd.DataFrame) -> FigureBlock:
    """Loss, its parts that have a weight, learning rate and gradient norm by epoch."""
    parts = {
        part: "Loss" if part == "loss" else f"{part.capitalize()} part of the loss"
        for part in LOSSES
        if f"validation_{part}" in history
    }
    panels = [
        panel(
            training_figures.loss_curves(history, part, title), f"{title} in training and validation by epoch"
        )
        for part, title in parts.items()
    ]
    panels += [
        panel(training_figures.single_curve(history, column, title), f"{title} by epoch")
        for column, title in (("lr", "Learning rate"), ("gradient_norm", "Gradient norm"))
    ]
    return FigureBlock("three", tuple(panels), ())


def norm_figure(health: dict[str, Any], n_elements: int) -> FigureBlock:
    """Norms of the covariances by epoch."""
    panels = [
        panel(image, f"{label} by epoch: median, smallest and largest, the laws, the incident's reference")
        for label, image in training_figures.norm_curves(health, n_elements).items()
    ]
    return FigureBlock("three", tuple(panels), ())


def spectra_figure(examples: ExampleSpectra, params: Params) -> FigureBlock | None:
    """Spectra of the example scenes, one row a scene; None where the run asked for none.

    Raises:
        ReportError: spectra on another grid than that of the parameters.
    """
    if not examples.labels:
        return None
    grid = search_grid(params.of_model())
    shape = next(iter(examples.spectra.values())).shape[1:]
    if shape != grid.shape[1:]:
        raise ReportError(
            f"{EXAMPLES}: spectra are [scene, v, u] on the grid of params.yaml, {list(grid.shape[1:])}, got "
            f"{list(shape)}; `dvc repro evaluate` writes it"
        )
    half = grid.steps[:2] / 2.0
    u_low, v_low = (grid.coordinates[0, :2] - half).tolist()
    u_high, v_high = (grid.coordinates[-1, :2] + half).tolist()
    edges = (u_low, u_high, v_low, v_high)
    return FigureBlock("spectra", tuple(_spectra_panels(examples, edges)), ())


def _spectra_panels(examples: ExampleSpectra, edges: tuple[float, float, float, float]) -> Iterator[Panel]:
    for scene, label in enumerate(examples.labels):
        for name, title in training_figures.SPECTRA.items():
            image = training_figures.spectrum(examples, scene, name, edges)
            yield panel(image, f"{title}, {label}, over the direction cosines, true sources circled")


def large(n_panels: int) -> tuple[Layout, tuple[float, float]]:
    """Layout of panels that carry several lines, and their size (inches)."""
    return ("three", figures.SMALL) if n_panels == 3 else ("two", figures.LARGE)


def columns_for(n_panels: int) -> Layout:
    """Layout of rows of so many panels; four at most stand side by side."""
    layouts: tuple[Layout, ...] = ("two", "two", "three", "four")
    return layouts[min(max(n_panels, 1), 4) - 1]


def snr_values(table: pd.DataFrame) -> list[float]:
    """All SNR (dB) of a table, increasing."""
    return sorted({float(snr_db) for snr_db in table["snr_db"]})


def panel(image: bytes, alt: str) -> Panel:
    """A picture for the page."""
    return Panel("data:image/svg+xml;base64," + base64.b64encode(image).decode("ascii"), alt)
