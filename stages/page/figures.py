"""Figures of the evaluation: one style for every method, SVG that is the same for the same numbers.

A method is an estimator, `name`, or an estimator refined by maximum likelihood, `name+ml`. An estimator has
one colour and one marker in every figure (the first in the palette of Okabe and Ito, told apart with any
colour vision); its strongest method, refined where there is one that is, is a solid line with filled markers,
any other a dashed line with hollow markers. What is started at the truth is a limit: a thin dark line without
markers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from risolve.pictures.style import BLUE, GREEN, INK, ORANGE, PAPER, PURPLE, SKY, VERMILION, styled, svg_of

REFINED = "+ml"

SMALL, LARGE = (3.7, 2.9), (4.8, 3.4)
"""Sizes of a panel (inches)."""


@dataclass(frozen=True)
class MethodStyle:
    """How a method looks everywhere. `marker`: "" for none; `dash`: () for a solid line."""

    label: str
    short: str
    """Label of a row of bars."""
    colour: str
    marker: str
    dash: tuple[float, ...]
    strongest: bool
    """No refined form of its estimator stands beside it."""
    limit: bool
    """Started at the truth: beside the others, never among them."""


DASHED, DOTTED = (3.0, 2.0), (1.0, 1.5)

_ESTIMATORS: dict[str, tuple[str, str, str]] = {
    "learned": ("learned", BLUE, "o"),
    "ml": ("ML", VERMILION, "s"),
    "ml_unconditional": ("ML, unconditional", "#882255", "D"),
    "nomp": ("NOMP", GREEN, "^"),
    "sbl": ("SBL", PURPLE, "v"),
    "learned_peaks": ("peaks of the network", "#88CCEE", "*"),
    "mvdr_blend": ("MVDR, R_blend", ORANGE, "p"),
    "music": ("MUSIC, R_samp", SKY, "h"),
    "mvdr": ("MVDR, R_samp", "#8C6D00", "P"),
    "music_blend": ("MUSIC, R_blend", "#6A6FB5", "s"),
    "mvdr_fitted": ("MVDR, R_fit", "#CC6677", "v"),
    "music_fitted": ("MUSIC, R_fit", "#999933", "^"),
    "modified_music": ("modified MUSIC, R_samp", "#332288", "D"),
    "modified_music_blend": ("modified MUSIC, R_blend", "#117733", "o"),
    "beamformer": ("beamformer, R_samp", "#7F7F7F", "X"),
}
"""Estimators with a look of their own, in the order of reading; any other takes one of a cycle."""

_FURTHER = (("#AA3377", "#CCBB44", "#228833", "#EE6677", "#4477AA"), ("*", "X", "h", "p", "P", "D", "v"))
"""Colours and markers of further estimators: their numbers share no factor, so 35 pairs pass before one
returns."""

_FURTHER_AFTER = "ml_unconditional"
"""Further estimators are read after this one."""

_LIMITS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "genie": ("genie", "genie (from the truth)", ()),
    "genie_unconditional": ("genie, unconditional", "genie, uncond. (from the truth)", DOTTED),
}

GLYPHS = {
    "o": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
    "s": "M-3.6-3.6H3.6V3.6H-3.6Z",
    "D": "M0-4.8L4.8 0L0 4.8L-4.8 0Z",
    "^": "M0-4.6L4.4 3.6H-4.4Z",
    "v": "M0 4.6L4.4-3.6H-4.4Z",
    "P": "M-1.6-4.4H1.6V-1.6H4.4V1.6H1.6V4.4H-1.6V1.6H-4.4V-1.6H-1.6Z",
    "X": "M-4.2-2L-2-4.2L0-2.2L2-4.2L4.2-2L2.2 0L4.2 2L2 4.2L0 2.2L-2 4.2L-4.2 2L-2.2 0Z",
    "p": "M0-4.6L4.4-1.4L2.7 3.8H-2.7L-4.4-1.4Z",
    "h": "M0-4.6L4-2.3V2.3L0 4.6L-4 2.3V-2.3Z",
    "*": "M0-5L1.2-1.6H4.8L1.9 .6L3 4.1L0 2L-3 4.1L-1.9 .6L-4.8-1.6H-1.2Z",
}
"""Marker -> its outline in a legend outside the figures (SVG path)."""


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Method -> style in the order of reading: the strongest method of each estimator, the others, limits."""
    names = set(methods)
    own = sorted(names - _LIMITS.keys())
    further = sorted({name.removesuffix(REFINED) for name in own} - _ESTIMATORS.keys())
    looks = dict(_ESTIMATORS)
    colours, markers = _FURTHER
    for number, name in enumerate(further):
        looks[name] = (name, colours[number % len(colours)], markers[number % len(markers)])
    known = list(_ESTIMATORS)
    after = known.index(_FURTHER_AFTER) + 1
    rank = {name: number for number, name in enumerate((*known[:after], *further, *known[after:]))}

    def weaker(name: str) -> bool:
        return name + REFINED in names

    styles = {}
    for name in sorted(own, key=lambda name: (weaker(name), rank[name.removesuffix(REFINED)])):
        label, colour, marker = looks[name.removesuffix(REFINED)]
        label = label + " + ML" if name.endswith(REFINED) else label
        strong = not weaker(name)
        styles[name] = MethodStyle(
            label, label, colour, marker, () if strong else DASHED, strong, limit=False
        )
    for name, (label, short, dash) in _LIMITS.items():
        if name in names:
            styles[name] = limit_style(f"{label} (started at the truth, no method)", short, dash)
    return styles


def limit_style(label: str, short: str, dash: tuple[float, ...], colour: str = INK) -> MethodStyle:
    """A line that no method is ranked with."""
    return MethodStyle(label, short, colour, "", dash, strongest=False, limit=True)


def strongest(styles: Mapping[str, MethodStyle], at_most: int | None = None) -> dict[str, MethodStyle]:
    """The strongest method of each estimator, the first `at_most` in the order of reading, and the limits."""
    first = [name for name, style in styles.items() if style.strongest][:at_most]
    return {name: style for name, style in styles.items() if name in first or style.limit}


def svg(draw: Callable[[Axes], None], width: float, height: float) -> bytes:
    """One panel of a size (inches); its bytes depend on what is drawn alone (no date, fixed identifiers)."""
    return svg_row([draw], (), width, height)


def svg_row(
    draws: Sequence[Callable[[Axes], None]], legend: Iterable[MethodStyle], width: float, height: float
) -> bytes:
    """Panels side by side, the whole of a size (inches), over a legend of methods where there is one."""
    with styled():
        figure = Figure(figsize=(width, height), layout="constrained")
        for position, draw in enumerate(draws):
            draw(figure.add_subplot(1, len(draws), position + 1))
        handles = [_handle(style) for style in legend]
        if handles:
            columns = min(len(handles), 3)
            figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
        return svg_of(figure)


def line(style: MethodStyle) -> dict[str, Any]:
    """How matplotlib draws a method."""
    look: dict[str, Any] = {"color": style.colour, "linestyle": (0, style.dash) if style.dash else "-"}
    if style.limit:
        return look | {"linewidth": 1.0, "marker": ""}
    return look | {
        "marker": style.marker,
        "linewidth": 1.7 if style.strongest else 1.1,
        "markerfacecolor": style.colour if style.strongest else PAPER,
        "markeredgewidth": 1.1,
        "markersize": 5.5 if style.strongest else 4.8,
    }


def _handle(style: MethodStyle) -> Line2D:
    return Line2D([], [], label=style.label, **line(style))
