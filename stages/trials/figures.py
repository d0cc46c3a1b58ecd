"""The figures of a search: its history, its trials as lines over their hyperparameters, and what matters."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from risolve.pictures.style import INK, RULE
from stages.page.figures import svg_row
from stages.params.search import Choices, Interval, Range, Search

_WIDTH, _HEIGHT = 8.0, 4.2


def history(table: pd.DataFrame, objective: str) -> bytes:
    """SVG of the first objective over the number of the trial, and the best so far."""

    def draw(axes: Axes) -> None:
        done = table[table["state"] == "complete"]
        axes.plot(done["trial"], done[objective], "o", color=INK, markersize=4, label="trial")
        axes.step(done["trial"], done[objective].cummax(), where="post", color=INK, label="best so far")
        for number in table.loc[table["state"] == "pruned", "trial"]:
            axes.axvline(number, color=RULE, linewidth=0.8)
        axes.set(xlabel="trial (pruned: line)", ylabel=objective.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)

    return svg_row([draw], (), _WIDTH, _HEIGHT)


def parallel_coordinates(table: pd.DataFrame, search: Search) -> bytes:
    """SVG of every complete trial as a line over its hyperparameters, darker with a higher objective."""
    objective, ranges = search.objectives[0], dict(search.space.ranges())

    def draw(axes: Axes) -> None:
        done = table[table["state"] == "complete"].sort_values(objective)
        low, high = done[objective].min(), done[objective].max()
        for row in done.to_dict("records"):
            share = (row[objective] - low) / (high - low) if high > low else 1.0
            heights = [_height(own, row[name]) for name, own in ranges.items()]
            axes.plot([*heights, share], color=INK, alpha=0.1 + 0.9 * share, linewidth=1.0 + share)
        names = [name.replace(".", "\n") for name in (*ranges, objective)]
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks([0.0, 1.0], ["lowest", "highest"])

    return svg_row([draw], (), max(_WIDTH, 1.4 * len(ranges)), _HEIGHT)


def importance(shares: Mapping[str, float]) -> bytes:
    """SVG of the share of the variance by hyperparameter."""

    def draw(axes: Axes) -> None:
        if not shares:
            axes.text(0.5, 0.5, "too few complete trials", ha="center", va="center", transform=axes.transAxes)
        names = list(shares)[::-1]
        axes.barh(names, [shares[name] for name in names], color=INK)
        axes.set(xlabel="share of the variance of the first objective", xlim=(0.0, 1.0))

    return svg_row([draw], (), _WIDTH, 0.8 + 0.4 * max(len(shares), 1))


def _height(own: Range, value: object) -> float:
    """Place of a value in its range, 0 to 1."""
    match own:
        case Choices(choices=choices):
            return [repr(choice) for choice in choices].index(repr(value)) / (len(choices) - 1)
        case Interval(low=low, high=high, log=log):
            scale = math.log if log else float
            number = float(np.asarray(value, dtype=np.float64))
            return (scale(number) - scale(low)) / (scale(high) - scale(low))
