"""The report: one HTML file that holds everything it shows and asks nothing of a network.

The same inputs give the same page, byte for byte; times, machine and versions have a page of their own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from stages.page import (
    bars,
    blocks,
    calibration,
    confidence,
    counting,
    figures,
    run_files,
    strata_tables,
    training_figures,
)
from stages.page.blocks import FigureBlock
from stages.page.figures import MethodStyle, method_styles, strongest
from stages.page.range_tables import RangeView, range_views
from stages.page.readings import flat, readings, text, words
from stages.page.run_files import ReportInputs
from stages.page.strata_tables import POOLED
from stages.page.tables import Table, number, ratio
from stages.page.templates import template
from stages.params.model import TEST_SPLITS, Params, Split

LEARNED = "learned"
LIMIT = "genie"
SOURCE_MODELS = {
    "independent": "Independent amplitudes in every snapshot",
    "constant": "One constant amplitude a source",
}
"""Source model -> what it is called."""


@dataclass(frozen=True)
class Card:
    """Found rate and normalized RMSE of one method in one cell, and of the limit, empty without one."""

    cell: str
    found: str
    interval: str
    ratio: str
    limit: str
    scenes: int


@dataclass(frozen=True)
class CountView:
    """How the methods of a split count."""

    accuracies: Table
    rates: Table | None
    accuracy_figure: FigureBlock | None
    confusion_figure: FigureBlock
    confidence_figure: FigureBlock | None
    confidences: Table | None
    n_noise_scenes: int


@dataclass(frozen=True)
class CalibrationView:
    """How the stated standard deviations of a split hold."""

    figure: FigureBlock
    table: Table


@dataclass(frozen=True)
class SplitView:
    """What is shown of one test split."""

    name: str
    title: str
    n_scenes: int
    leader: str
    cards: tuple[Card, ...]
    rates: Table
    ratios: Table
    efficiencies: Table
    ranges: tuple[RangeView, ...]
    everything: Table
    rate_figure: FigureBlock
    ratio_figure: FigureBlock
    gospa_figure: FigureBlock
    threshold_figure: FigureBlock | None
    counting: CountView | None
    calibration: CalibrationView | None


def render(inputs: ReportInputs, params: Params, params_text: str) -> str:
    """The page."""
    tables = (inputs.strata, inputs.range_strata, inputs.counts, inputs.calibration)
    styles = method_styles(method for table in tables for method in table["method"])
    views = [_split_view(inputs, params, split, styles) for split in TEST_SPLITS]
    history, health = inputs.history, inputs.health
    return template("page").render(
        params=params,
        params_text=params_text,
        splits=[view for view in views if view is not None],
        metrics=[(name, text(value)) for name, value in inputs.metrics.items()],
        training=blocks.training_figure(history),
        n_epochs=len(history),
        best_epoch=int(history["epoch"].to_numpy()[history["validation_loss"].to_numpy().argmin()]),
        norms=blocks.norm_figure(health, params.array.n_elements),
        norm_laws=(math.sqrt(params.array.n_elements), params.array.n_elements),
        readings=readings(health),
        training_split=list(flat(health["training_split"])),
        gates=[(words(name), value) for name, value in health["gates"].items()],
        warnings=[f"{warning} ({count} times)" for warning, count in health["warnings"].items()],
        incident=health["incident"].get("description", ""),
        spectra=blocks.spectra_figure(inputs.examples, params),
        range_db=training_figures.RANGE_DB,
        at_most=blocks.AT_MOST,
        gospa_parts=bars.GOSPA_PARTS.values(),
        glyphs=figures.GLYPHS,
        files=run_files,
    )


def _split_view(
    inputs: ReportInputs, params: Params, split: Split, styles: dict[str, MethodStyle]
) -> SplitView | None:
    """What is shown of a split; None where it was not evaluated with sources."""
    everything = inputs.strata[inputs.strata["split"] == split]
    strata = strata_tables.known(strata_tables.with_sources(everything))
    if strata.empty:
        return None
    # A method that is told that there is no source is not asked.
    asked = everything[(everything["n_sources"] > 0) | (everything["count"] == "estimated")]
    own = _of(styles, strata)
    curves = strongest(own, blocks.AT_MOST)
    ranges = inputs.range_strata[inputs.range_strata["split"] == split]
    leader = _leader(strata, own)
    first = split == TEST_SPLITS[0] and (strata["n_sources"] == 1).any()
    return SplitView(
        name=split,
        title=SOURCE_MODELS[params.simulate.split(split).source_model],
        n_scenes=strata_tables.count_scenes(everything),
        leader=own[leader].label,
        cards=tuple(_cards(strata, leader)),
        rates=strata_tables.rate_table(strata, own),
        ratios=strata_tables.ratio_table(strata, own),
        efficiencies=strata_tables.efficiency_table(strata, own),
        ranges=range_views(ranges, own, strata_tables.main_cells(strata)),
        everything=strata_tables.full_table(asked, _of(styles, asked)),
        rate_figure=blocks.rate_figure(strata, curves),
        ratio_figure=blocks.ratio_figure(strata, curves),
        gospa_figure=blocks.gospa_figure(strata, strongest(own)),
        threshold_figure=blocks.threshold_figure(inputs.threshold, strata, curves) if first else None,
        counting=_count_view(strata_tables.estimated(everything), inputs, split, styles),
        calibration=_calibration_view(inputs.calibration, split, styles),
    )


def _of(styles: dict[str, MethodStyle], table: pd.DataFrame) -> dict[str, MethodStyle]:
    """Styles of the methods of a table."""
    methods = set(table["method"])
    return {method: style for method, style in styles.items() if method in methods}


def _count_view(
    blind: pd.DataFrame, inputs: ReportInputs, split: Split, styles: dict[str, MethodStyle]
) -> CountView | None:
    """How methods count that are not told the number of sources; None where there is none."""
    if blind.empty:
        return None
    own = _of(styles, blind)
    shown = strongest(own, blocks.AT_MOST)
    with_sources = strata_tables.with_sources(blind)
    noise = blind[blind["n_sources"] == 0]
    counts = inputs.counts[inputs.counts["split"] == split]
    stated = inputs.confidence[inputs.confidence["split"] == split]
    sure = _of(styles, stated)
    return CountView(
        accuracies=strata_tables.count_table(blind, own),
        rates=strata_tables.rate_table(with_sources, own) if len(with_sources) else None,
        accuracy_figure=counting.accuracy_figure(with_sources, shown) if len(with_sources) else None,
        confusion_figure=counting.confusion_figure(counts, shown),
        confidence_figure=confidence.confidence_figure(stated, sure) if sure else None,
        confidences=confidence.confidence_table(stated, sure) if sure else None,
        n_noise_scenes=strata_tables.count_scenes(noise),
    )


CALIBRATED = 4
"""Methods of the figure of calibration: each draws two lines in a panel."""


def _calibration_view(
    table: pd.DataFrame, split: Split, styles: dict[str, MethodStyle]
) -> CalibrationView | None:
    """How stated standard deviations hold, K known; None where no method states any."""
    rows = strata_tables.known(table[table["split"] == split])
    if rows.empty:
        return None
    own = _of(styles, rows)
    shown = {name: style for name, style in strongest(own, CALIBRATED).items() if not style.limit}
    return CalibrationView(
        calibration.calibration_figure(rows, shown), calibration.calibration_table(rows, own)
    )


def _leader(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> str:
    """The learned estimator, refined, where it was evaluated; else the method of highest mean found rate.

    A limit leads only where nothing else was evaluated.
    """
    if LEARNED in styles:
        return LEARNED
    methods = [name for name, style in styles.items() if not style.limit] or list(styles)
    return max(methods, key=lambda name: float(strata.loc[strata["method"] == name, "found_rate"].mean()))


def _cards(strata: pd.DataFrame, leader: str) -> Iterator[Card]:
    own = strata[strata["method"] == leader]
    for cell in strata_tables.main_cells(own):
        row = strata_tables.of_cell(own, cell).iloc[0]
        found, low, high = (
            number(float(row[name]), percent=True) for name in ("found_rate", "found_low", "found_high")
        )
        rates = strata_tables.of_cell(strata, cell).set_index("method")["found_rate"]
        yield Card(
            cell=f"K = {cell[0]}, {cell[1]:g} dB",
            found=found,
            interval=f"{low} to {high} %",
            ratio=ratio(float(row[POOLED])),
            limit=number(float(rates[LIMIT]), percent=True) if LIMIT in rates else "",
            scenes=int(row["n_scenes"]),
        )
