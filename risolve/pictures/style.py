"""One look of every figure, and pictures that are the same bytes for the same numbers.

Colours are the palette of Okabe and Ito, told apart with any colour vision.
"""

import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

INK, MUTED, RULE, PAPER = "#1f2429", "#5c6670", "#d9dee3", "#ffffff"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"

_STYLE: dict[RcKeyType, Any] = {
    "svg.hashsalt": "risolve",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.edgecolor": "#9aa4ad",
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaed",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "figure.facecolor": PAPER,
    "lines.linewidth": 1.5,
    "lines.markersize": 5.0,
}


def styled() -> AbstractContextManager[None]:
    """Figures that are made, and written, inside have this look; what matplotlib has set stays as it is."""
    return matplotlib.rc_context(_STYLE)


def svg_of(figure: Figure, creator: str | None = None) -> bytes:
    """A figure made in `styled`, without a date; creator: what its file says that it is of."""
    buffer = io.BytesIO()
    with styled():
        # savefig would lay the figure out and draw it twice.
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": creator})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
