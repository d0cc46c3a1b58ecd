"""Pictures of scenes as files, PNG, SVG or a page whose scenes turn; equal scenes make equal bytes."""

import io
from collections.abc import Sequence
from pathlib import Path

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
    draw = {".png": _png, ".svg": _svg, ".html": _html}[path.suffix]
    write_bytes(path, draw(views, n_scenes))


def _png(views: Sequence[View], n_scenes: int) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure = figure_of(views, n_scenes)
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": CREATOR})
    return buffer.getvalue()


def _svg(views: Sequence[View], n_scenes: int) -> bytes:
    return svg_of(figure_of(views, n_scenes), CREATOR)


def _html(views: Sequence[View], n_scenes: int) -> bytes:
    return page(views, n_scenes, _svg(views, n_scenes)).encode()
