"""The report: one HTML file that holds everything it shows and asks nothing of a network.

The same inputs give the same page, byte for byte, but for the section on version and machine.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.artifacts.report import blocks, figures, run_files, strata_tables, training_figures
from stages.artifacts.report.blocks import FigureBlock
from stages.artifacts.report.figures import REFINED, MethodStyle, method_styles
from stages.artifacts.report.run_files import ReportInputs
from stages.artifacts.report.strata_tables import ABSENT, POOLED, Table
from stages.params import Params, Split

LEARNED = "learned" + REFINED
TEST_SPLITS: tuple[Split, ...] = ("test_independent", "test_constant")
SOURCE_MODELS = {
    "independent": "Independent amplitudes in every snapshot",
    "constant": "One constant amplitude a source",
}
"""Source model -> what it is called."""


@dataclass(frozen=True)
class Card:
    """Found rate and normalized RMSE of one method in one cell."""

    cell: str
    found: str
    interval: str
    ratio: str
    scenes: int


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
    ranges: Table | None
    everything: Table
    rate_figure: FigureBlock
    ratio_figure: FigureBlock
    gospa_figure: FigureBlock
    noise_scenes: int
    noise_alarms: tuple[tuple[str, int], ...]


def render(inputs: ReportInputs, params: Params, params_text: str, facts: Mapping[str, str]) -> str:
    """The page. `facts` are those of version and machine, shown in one place."""
    environment = Environment(
        loader=PackageLoader("stages.artifacts.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = (inputs.strata, inputs.timing, inputs.range_strata)
    styles = method_styles(method for table in tables for method in table["method"])
    views = [_split_view(inputs, params, split, styles) for split in TEST_SPLITS]
    history, health = inputs.history, inputs.health
    return environment.get_template("page.html.j2").render(
        params=params,
        params_text=params_text,
        facts=facts,
        splits=[view for view in views if view is not None],
        metrics=[(name, _text(value)) for name, value in inputs.metrics.items()],
        timing=blocks.timing_figure(inputs.timing, styles),
        timing_scenes=sorted({int(n) for n in inputs.timing["n_scenes"]}),
        training=blocks.training_figure(history),
        n_epochs=len(history),
        best_epoch=int(history["epoch"].to_numpy()[history["validation_loss"].to_numpy().argmin()]),
        norms=blocks.norm_figure(health, params.array.n_elements),
        norm_laws=(math.sqrt(params.array.n_elements), params.array.n_elements),
        readings=_readings(health),
        training_split=list(_flat(health["training_split"])),
        gates=[(_words(name), value) for name, value in health["gates"].items()],
        warnings=[f"{text} ({count} times)" for text, count in health["warnings"].items()],
        incident=health["incident"].get("description", ""),
        spectra=blocks.spectra_figure(inputs.examples, params),
        range_db=training_figures.RANGE_DB,
        gospa_parts=figures.GOSPA_PARTS.values(),
        glyphs=figures.GLYPHS,
        files=run_files,
    )


def _split_view(
    inputs: ReportInputs, params: Params, split: Split, styles: dict[str, MethodStyle]
) -> SplitView | None:
    """What is shown of a split; None where it was not evaluated with sources."""
    everything = inputs.strata[inputs.strata["split"] == split]
    strata = strata_tables.with_sources(everything)
    if strata.empty:
        return None
    own = {method: style for method, style in styles.items() if method in set(strata["method"])}
    ranges = inputs.range_strata[inputs.range_strata["split"] == split]
    noise = everything[everything["n_sources"] == 0]
    asked = noise[noise["false_alarms"].notna()]
    alarms = {method: int(rows["false_alarms"].sum()) for method, rows in asked.groupby("method")}
    leader = _leader(strata, own)
    return SplitView(
        name=split,
        title=SOURCE_MODELS[params.simulate.split(split).source_model],
        n_scenes=strata_tables.count_scenes(everything),
        leader=own[leader].label,
        cards=tuple(_cards(strata, leader)),
        rates=strata_tables.rate_table(strata, own),
        ratios=strata_tables.ratio_table(strata, own),
        efficiencies=strata_tables.efficiency_table(strata, own),
        ranges=strata_tables.range_table(ranges, own) if len(ranges) else None,
        everything=strata_tables.full_table(strata, own),
        rate_figure=blocks.rate_figure(strata, own),
        ratio_figure=blocks.ratio_figure(strata, own),
        gospa_figure=blocks.gospa_figure(strata, own),
        noise_scenes=strata_tables.count_scenes(noise),
        noise_alarms=tuple((own[name].label, alarms[name]) for name in own if name in alarms),
    )


def _leader(strata: pd.DataFrame, styles: dict[str, MethodStyle]) -> str:
    """The learned estimator, refined, where it was evaluated; else the method of highest mean found rate."""
    if LEARNED in styles:
        return LEARNED
    return max(styles, key=lambda name: float(strata.loc[strata["method"] == name, "found_rate"].mean()))


def _cards(strata: pd.DataFrame, leader: str) -> Iterator[Card]:
    own = strata[strata["method"] == leader]
    for cell in strata_tables.main_cells(own):
        row = strata_tables.of_cell(own, cell).iloc[0]
        found, low, high = (
            strata_tables.number(float(row[name]), percent=True)
            for name in ("found_rate", "found_low", "found_high")
        )
        name = f"K = {cell[0]}, {cell[1]:g} dB"
        yield Card(
            name, found, f"{low} to {high} %", strata_tables.ratio(float(row[POOLED])), int(row["n_scenes"])
        )


def _readings(health: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """(quantity, first epoch, last epoch, the incident's log, what it should have read)."""
    first, last = health["epochs"][0], health["epochs"][-1]
    rows = []
    for name, value in last.items():
        if name == "epoch":
            continue
        failed = expected = ABSENT
        incident = health["incident"].get(name)
        if isinstance(incident, dict):
            measured = incident.get("measured")
            failed = "NaN" if measured is None else _text(measured)
            expected = _text(incident.get("expected"))
        rows.append((_words(name), _text(first.get(name)), _text(value), failed, expected))
    return rows


def _text(value: object) -> str:
    """A reading: a number, "low to high", "median (min to max)", or the text itself; a dash for nothing."""
    if value is None:
        return ABSENT
    if isinstance(value, dict) and {"min", "median", "max"} <= value.keys():
        return f"{_text(value['median'])} ({_text(value['min'])} to {_text(value['max'])})"
    if isinstance(value, dict):
        return ", ".join(f"{_words(str(name))} {_text(one)}" for name, one in value.items())
    if isinstance(value, list) and len(value) == 2:
        return _text(value[0]) if value[0] == value[1] else f"{_text(value[0])} to {_text(value[1])}"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e3 <= abs(value) < 1e5 else f"{value:.3g}"
    return str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested readings as (words, text)."""
    for name, value in values.items():
        words = f"{prefix} {_words(name)}".strip()
        if isinstance(value, dict) and {"min", "median", "max", "mean"} <= value.keys():
            yield words, f"mean {_text(value['mean'])}, median {_text(value)}"
        elif isinstance(value, dict):
            yield from _flat(value, words)
        else:
            yield words, _text(value)


_WORDS = {"r_samp": "R_samp", "r_pred": "R_pred", "r_blend": "R_blend"}


def _words(name: str) -> str:
    """`r_samp_trace_error` -> "R_samp trace error"."""
    for key, word in _WORDS.items():
        if name.startswith(key):
            return word + _words(name.removeprefix(key))
    return name.replace("_", " ")
