"""Figures of the training: losses, learning rate, gradients, norms of the covariances, example spectra."""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from risolve.pictures.style import BLUE, GREEN, INK, MUTED, ORANGE, RULE, VERMILION
from stages.page.figures import svg
from stages.page.run_files import NORMS, ExampleSpectra

TRAIN_COLOUR, VALIDATION_COLOUR = BLUE, VERMILION
NORM_LOOKS = {
    "r_samp_norm": ("R_samp", VERMILION, "D"),
    "r_pred_norm": ("R_pred", BLUE, "o"),
    "r_blend_norm": ("R_blend", ORANGE, "s"),
}
"""Norm of health.json -> (label, colour, marker)."""


def loss_curves(history: pd.DataFrame, part: str, title: str) -> bytes:
    """Training and validation value of the loss, or of one of its parts, by epoch."""

    def draw(axes: Axes) -> None:
        for name, colour, marker in (("train", TRAIN_COLOUR, "o"), ("validation", VALIDATION_COLOUR, "s")):
            axes.plot(history["epoch"], history[f"{name}_{part}"], color=colour, marker=marker, label=name)
        axes.set_title(title)
        axes.legend(frameon=False)
        _epochs(axes)
        _log_if_wide(axes, history[[f"train_{part}", f"validation_{part}"]].to_numpy())

    return svg(draw, 4.0, 2.9)


def single_curve(history: pd.DataFrame, column: str, title: str) -> bytes:
    """One column of the history by epoch."""

    def draw(axes: Axes) -> None:
        axes.plot(history["epoch"], history[column], color=GREEN, marker="o")
        axes.set_title(title)
        _epochs(axes)
        axes.set_ylim(bottom=0.0)

    return svg(draw, 4.0, 2.9)


def _norm_curve(
    epochs: list[dict[str, Any]], name: str, band: tuple[float, float] | None, n_elements: int
) -> bytes:
    """One covariance norm by epoch: median, smallest to largest, laws sqrt(N) and N, what it should read."""
    label, colour, marker = NORM_LOOKS[name]
    epochs = [epoch for epoch in epochs if name in epoch]
    x = [epoch["epoch"] for epoch in epochs]

    def draw(axes: Axes) -> None:
        low, median, high = ([epoch[name][key] for epoch in epochs] for key in ("min", "median", "max"))
        if band is not None and band[0] < band[1]:
            axes.axhspan(*band, color=RULE, alpha=0.7, linewidth=0.0, label="incident's reference")
        elif band is not None:
            axes.axhline(band[0], color=MUTED, linestyle=(0, (1.0, 1.5)), label="incident's reference")
        for law in (math.sqrt(n_elements), float(n_elements)):
            axes.axhline(law, color=INK, linewidth=1.0, linestyle=(0, (4.0, 2.0)))
        axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0.0, label="smallest to largest")
        axes.plot(x, median, color=colour, marker=marker, label="median")
        axes.set_yscale("log")
        bottom, top = min(*low, math.sqrt(n_elements)) / 1.4, 1.4 * max(*high, float(n_elements))
        axes.set_ylim(bottom, top)
        ticks = [t for t in (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0) if bottom <= t <= top]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_yticks([], minor=True)
        axes.set_title(f"Frobenius norm of {label}")
        _epochs(axes)
        axes.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=7.5, loc="lower right")

    return svg(draw, 4.0, 2.9)


def _expected(reference: object) -> tuple[float, float] | None:
    """(low, high) that a reading of the incident should have had; None where it is no pair of numbers."""
    expected = reference.get("expected") if isinstance(reference, dict) else None
    if not isinstance(expected, list) or len(expected) != 2:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in expected):
        return None
    return float(expected[0]), float(expected[1])


def norm_curves(health: dict[str, Any], n_elements: int) -> dict[str, bytes]:
    """Name of a norm -> its figure."""
    return {
        f"Frobenius norm of {NORM_LOOKS[name][0]}": _norm_curve(
            health["epochs"], name, _expected(health["incident"].get(name)), n_elements
        )
        for name in NORMS
        if any(name in epoch for epoch in health["epochs"])
    }


RANGE_DB = 20.0
"""Levels below the peak by more than this are drawn as this."""

SPECTRA = {
    "first_map": "First map of the fit",
    "power_map": "Power map of the network",
    "music_spectrum": "MUSIC on R_samp",
}


def spectrum(
    examples: ExampleSpectra, scene: int, name: str, edges: tuple[float, float, float, float]
) -> bytes:
    """One spectrum of a scene over (u, v) between the edges of its cells, in dB of its peak, truth marked.

    Colours run from its smallest value, or RANGE_DB below its peak, to its peak: the span in its title.
    """
    values = examples.spectra[name][scene]
    level = _decibel(values)
    span = -float(level.min()) or RANGE_DB

    def draw(axes: Axes) -> None:
        axes.imshow(
            level,
            origin="lower",
            extent=edges,
            cmap="cividis",
            vmin=-span,
            vmax=0.0,
            interpolation="none",
            aspect="equal",
        )
        truth = examples.truth[scene]
        for colour, width in (("black", 3.2), ("white", 1.5)):
            axes.plot(
                truth[:, 0],
                truth[:, 1],
                "o",
                markersize=10.0,
                markerfacecolor="none",
                markeredgecolor=colour,
                markeredgewidth=width,
            )
        axes.grid(visible=False)
        axes.set_title(
            f"{textwrap.shorten(examples.labels[scene], 44)}\n{SPECTRA[name]}, {span:.2g} dB", linespacing=1.4
        )
        axes.set_xlabel("u")
        axes.set_ylabel("v")

    return svg(draw, 4.0, 2.75)


def _decibel(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    peak = float(values.max())
    if peak <= 0.0:
        return np.full(values.shape, -RANGE_DB)
    level: NDArray[np.floating[Any]] = 10.0 * np.log10(np.maximum(values / peak, 10.0 ** (-RANGE_DB / 10.0)))
    return level


def _log_if_wide(axes: Axes, values: NDArray[np.floating[Any]]) -> None:
    """A logarithmic axis for positive values that span more than a factor of 4."""
    if values.min() > 0.0 and values.max() > 4.0 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
