"""Pictures as files, PNG, SVG or a page whose scenes turn; what is equal makes equal bytes."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from risolve.files.atomic import write_bytes
from risolve.pictures.figure import figure_of
from risolve.pictures.kinds import CREATOR
from risolve.pictures.page import page
from risolve.pictures.style import styled, svg_of
from risolve.pictures.view import View

_DOTS_PER_INCH = 150.0


def write_picture(path: Path, views: Sequence[View], n_scenes: int) -> None:
    """Write a picture of some scenes in the format of its ending, whole or not at all.

    Raises:
        StateError: the file cannot be written.
        KeyError: an ending that is none of `KINDS`.
    """
    figure = figure_of(views, n_scenes)
    if path.suffix == ".html":
        write_bytes(path, page(views, n_scenes, svg_of(figure, CREATOR)).encode())
    else:
        write_figure(path, figure)


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure in the format of an ending of `FLAT`, whole or not at all.

    Raises:
        StateError: the file cannot be written.
        KeyError: another ending.
    """
    write_bytes(path, {".png": _png, ".svg": _svg}[path.suffix](figure))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": CREATOR})
    return buffer.getvalue()


def _svg(figure: Figure) -> bytes:
    return svg_of(figure, CREATOR)
