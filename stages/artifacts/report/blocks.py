"""Figures of the report: panels as data URIs with what a reader without eyes hears, and their legends."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from stages.artifacts.grid_setup import grid as search_grid
from stages.artifacts.report import figures, training_figures
from stages.artifacts.report.figures import MethodStyle
from stages.artifacts.report.run_files import EXAMPLES, Examples, ReportError
from stages.artifacts.report.strata_tables import PARAMETERS, cells_by_count, main_cells, of_cell
from stages.params import Params

Layout: TypeAlias = Literal["one", "two", "three", "spectra"]


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


def rate_figure(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> FigureBlock:
    """Found rate by SNR, one panel a number of sources."""
    groups = cells_by_count(strata)
    layout, size = _large(len(groups))
    panels = [
        _panel(
            figures.svg(_rate_by_snr(strata, rows, k, styles), *size),
            f"Found rate against SNR, K = {k}, one line a method",
        )
        for k, rows in groups.items()
    ]
    return FigureBlock(layout, tuple(panels), tuple(styles.values()))


def rate_picture(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> bytes:
    """Found rate by SNR as one SVG picture: up to three numbers of sources, refined methods alone."""
    shown = {method: style for method, style in styles.items() if style.refined} or styles
    groups = list(cells_by_count(strata).items())[:3]
    draws = [_rate_by_snr(strata, rows, k, shown) for k, rows in groups]
    return figures.svg_row(draws, shown.values(), 3.6 * max(len(draws), 1), 3.4)


def _rate_by_snr(
    strata: pd.DataFrame, rows: pd.DataFrame, n_sources: int, styles: dict[str, MethodStyle]
) -> Callable[[Axes], None]:
    quantity = figures.Quantity("found_rate", "found_low", "found_high", "found rate")
    title = f"{n_sources} source{'s' if n_sources > 1 else ''}"
    return figures.by_snr(rows, styles, quantity, _snr(strata), title, figures.rate_axis)


def ratio_figure(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> FigureBlock:
    """RMSE over bound by SNR, one row of panels a number of sources, one panel a parameter."""
    columns = [f"rmse_over_bound_{name}{end}" for name in PARAMETERS for end in ("", "_low", "_high")]
    values = strata[columns].to_numpy().ravel()
    values = values[np.isfinite(values) & (values > 0.0)]
    lowest, highest = (float(values.min()), float(values.max())) if values.size else (1.0, 1.0)
    axis = figures.bound_axis(min(0.8, 0.9 * lowest), max(2.5, 1.15 * highest))
    panels = []
    for k, rows in cells_by_count(strata).items():
        for name, label in PARAMETERS.items():
            column = f"rmse_over_bound_{name}"
            quantity = figures.Quantity(column, f"{column}_low", f"{column}_high", "RMSE / bound")
            title = f"K = {k}, {label}"
            draw = figures.by_snr(rows, styles, quantity, _snr(strata), title, axis)
            image = figures.svg(draw, *figures.SMALL)
            panels.append(_panel(image, f"RMSE over bound against SNR, {title}, one line a method"))
    return FigureBlock("three", tuple(panels), tuple(styles.values()))


def gospa_figure(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> FigureBlock:
    """GOSPA with its parts by method, one panel a number of sources, in the cell with the most scenes."""
    shown = {cell: of_cell(strata, cell) for cell in main_cells(strata)}
    largest = [float(rows["gospa_m"].max()) for rows in shown.values()]
    longest = max((value for value in largest if value > 0.0), default=1.0)
    panels = [
        _panel(
            figures.gospa_bars(rows, styles, f"K = {k}, {snr_db:g} dB", longest),
            f"GOSPA by method, K = {k} at {snr_db:g} dB, divided into location, missed and false",
        )
        for (k, snr_db), rows in shown.items()
    ]
    return FigureBlock("two", tuple(panels), ())


def timing_figure(timing: pd.DataFrame, styles: dict[str, MethodStyle]) -> FigureBlock:
    """CPU time a scene by method."""
    alt = "CPU time a scene by method, bars on a logarithmic axis"
    return FigureBlock("one", (_panel(figures.timing_bars(timing, styles), alt),), ())


def training_figure(history: pd.DataFrame) -> FigureBlock:
    """Losses, learning rate and gradient norm by epoch."""
    parts = {
        "loss": "Loss",
        "detection": "Detection part of the loss",
        "covariance": "Covariance part of the loss",
    }
    panels = [
        _panel(
            training_figures.loss_curves(history, part, title), f"{title} in training and validation by epoch"
        )
        for part, title in parts.items()
    ]
    panels += [
        _panel(training_figures.single_curve(history, column, title), f"{title} by epoch")
        for column, title in (("lr", "Learning rate"), ("gradient_norm", "Gradient norm"))
    ]
    return FigureBlock("three", tuple(panels), ())


def norm_figure(health: dict[str, Any], n_elements: int) -> FigureBlock:
    """Norms of the covariances by epoch."""
    panels = [
        _panel(image, f"{label} by epoch: median, smallest and largest, the laws, the incident's reference")
        for label, image in training_figures.norm_curves(health, n_elements).items()
    ]
    return FigureBlock("three", tuple(panels), ())


def spectra_figure(examples: Examples, params: Params) -> FigureBlock | None:
    """Spectra of the example scenes, one row a scene; None where the run asked for none.

    Raises:
        ReportError: spectra on another grid than that of the parameters.
    """
    if not examples.labels:
        return None
    grid = search_grid(params)
    shape = next(iter(examples.spectra.values())).shape[1:]
    if shape != grid.shape[1:]:
        raise ReportError(
            f"{EXAMPLES}: spectra are [scene, v, u] on the grid of params.yaml, {list(grid.shape[1:])}, got "
            f"{list(shape)}; `dvc repro evaluate` writes it"
        )
    half = grid.steps[:2] / 2.0
    u_low, v_low = (grid.cosines[0, :2] - half).tolist()
    u_high, v_high = (grid.cosines[-1, :2] + half).tolist()
    edges = (u_low, u_high, v_low, v_high)
    return FigureBlock("spectra", tuple(_spectra_panels(examples, edges)), ())


def _spectra_panels(examples: Examples, edges: tuple[float, float, float, float]) -> Iterator[Panel]:
    for scene, label in enumerate(examples.labels):
        for name, title in training_figures.SPECTRA.items():
            image = training_figures.spectrum(examples, scene, name, edges)
            yield _panel(image, f"{title}, {label}, over the direction cosines, true sources circled")


def _large(n_panels: int) -> tuple[Layout, tuple[float, float]]:
    return ("three", figures.SMALL) if n_panels == 3 else ("two", figures.LARGE)


def _snr(strata: pd.DataFrame) -> list[float]:
    return sorted({float(snr_db) for snr_db in strata["snr_db"]})


def _panel(image: bytes, alt: str) -> Panel:
    return Panel("data:image/svg+xml;base64," + base64.b64encode(image).decode("ascii"), alt)
