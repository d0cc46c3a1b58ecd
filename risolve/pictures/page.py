"""Scenes as one page of HTML that asks no network: their figure, and each in space with its numbers."""

import base64
import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from risolve.physics.geometry import turned
from risolve.pictures.figure import heading_of
from risolve.pictures.kinds import CREATOR
from risolve.pictures.marks import SIGMAS
from risolve.pictures.space import AZIMUTH_DEG, ELEVATION_DEG, LOOKS, shapes
from risolve.pictures.style import INK, MUTED, PAPER, RULE, VERMILION
from risolve.pictures.view import View

_DIGITS = 6
"""Decimals of points, in radii of the scene."""

_BUTTONS = {
    "ArrowLeft": ("←", "turn to the left"),
    "ArrowRight": ("→", "turn to the right"),
    "ArrowUp": ("↑", "look from lower"),
    "ArrowDown": ("↓", "look from higher"),
    "+": ("+", "nearer"),
    "-": ("−", "farther"),
    "Home": ("back", "all of it, as at first"),
}
"""Key -> what stands on its button, and what it does."""

_CAPTION = (
    "Drag to turn; the number of a source goes near to it. z leaves the surface to the front, y points "
    f"upwards. Dots are elements, circles located sources with the ellipsoids of {SIGMAS:g} standard "
    "deviations, hollow ones their rivals, crosses true places; dotted lines stand on the plane y = 0."
)

_STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; background: {PAPER}; margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }}
h2 {{ font-size: 1.15rem; margin-top: 2.5rem; }}
img {{ width: 100%; height: auto; }} figure {{ margin: 0; }} figcaption {{ color: {MUTED}; }}
.space svg {{ width: 100%; border: 1px solid {RULE}; touch-action: pan-y; cursor: grab; user-select: none; }}
button {{ font: inherit; min-width: 2.6rem; min-height: 2.2rem; }}
path {{ fill: none; stroke-linecap: round; vector-effect: non-scaling-stroke; }}
path.stem {{ stroke-dasharray: 2 4; }}
text {{ font-size: 14px; fill: {MUTED}; stroke: {PAPER}; stroke-width: 3px; paint-order: stroke; }}
text.located, text.rival {{ font-weight: bold; fill: {VERMILION}; }}
table {{ border-collapse: collapse; }}
td, th {{ border-bottom: 1px solid {RULE}; padding: .2rem .8rem; text-align: right; }}
"""


def page(views: Sequence[View], n_scenes: int, picture: bytes) -> str:
    """The page of some scenes; picture: their figure as SVG."""
    looks = "".join(
        f"path.{kind} {{ stroke: {look['color']}; stroke-width: {look[_width(look)]}px; }}\n"
        for kind, look in LOOKS.items()
    )
    title, encoded = html.escape(heading_of(views, n_scenes)), base64.b64encode(picture).decode()
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta name="generator" content="{CREATOR}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{_STYLE}{looks}</style>\n</head>\n<body>",
        f'<img alt="{title}: spectrum with sources, whose places stand in the tables of this page" '
        f'src="data:image/svg+xml;base64,{encoded}">',
        *map(_section, views),
        f"<script>\n{Path(__file__).with_name('turn.js').read_text('utf-8')}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _width(look: dict[str, Any]) -> str:
    """What says how thick a shape is: points are strokes of no length."""
    return next(name for name in ("markeredgewidth", "markersize", "linewidth") if name in look)


def _section(view: View) -> str:
    drawn = shapes(view)
    ends = np.concatenate([shape.points for shape in drawn])
    centre = (ends.min(0) + ends.max(0)) / 2.0
    radius = float(np.linalg.norm(ends - centre, axis=-1).max())
    lines = [
        [kind, text, ((points - centre) / radius).round(_DIGITS).tolist()] for kind, points, text in drawn
    ]
    sources = {str(number): (str(number), f"about source {number}") for number in range(view.n_sources)}
    buttons = " ".join(
        f'<button type="button" data-key="{key}" aria-label="{what}" title="{what}">{sign}</button>'
        for key, (sign, what) in (_BUTTONS | sources).items()
    )
    name = html.escape(" ".join((view.shot.file, f"scene {view.shot.scene}")).strip())
    words = (
        f"{name}: {view.observation.array.n_places} elements and {view.n_sources} located sources, whose "
        "places stand in the table below. Arrow keys turn it, + and - come nearer and go away, the number of "
        "a source goes to it, Home goes back."
    )
    told = html.escape(json.dumps(lines, separators=(",", ":")))
    return (
        f'<section>\n<h2>{name} in space</h2>\n<figure class="space">\n'
        f'<svg viewBox="-400 -280 800 560" role="img" tabindex="0" aria-label="{words}" '
        f'data-azimuth="{AZIMUTH_DEG:g}" data-elevation="{ELEVATION_DEG:g}" data-shapes="{told}"></svg>\n'
        f"<p>{buttons}</p>\n<figcaption>{_CAPTION}</figcaption>\n</figure>\n"
        f"{_table(view)}\n</section>"
    )


def _table(view: View) -> str:
    """Places of located and true sources, side by side."""
    columns = ("azimuth (degrees)", "elevation (degrees)", "range (m)")
    has_rivals = bool(view.rivals.isfinite().any())
    heads = ["source", *columns, *(f"rival {name}" for name in columns if has_rivals)]
    heads += [f"true {name}" for name in columns if view.truth is not None]
    lines = ["".join(f'<th scope="col">{name}</th>' for name in heads)]
    located, deviations = turned(view.sources).numpy(), view.deviations.numpy()
    true = np.full((0, 3), np.nan) if view.truth is None else turned(view.truth).numpy()
    rivals = turned(view.rivals).numpy()
    untold = np.full(3, np.nan)
    for number in range(max(len(located), len(true))):
        cells = ["missed", "", "", ""]
        if number < len(located):
            cells = [str(number), *_place(located[number], deviations[number])]
        if has_rivals:
            cells += _place(rivals[number] if number < len(located) else untold, untold)
        if view.truth is not None:
            cells += _place(true[number], untold)
        lines.append("".join(f"<td>{cell}</td>" for cell in cells))
    if not view.n_sources:
        lines.append(f'<td colspan="{len(heads)}">no source located</td>')
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def _place(source: Float[np.ndarray, " 3"], deviation: Float[np.ndarray, " 3"]) -> list[str]:
    """Azimuth, elevation and range, each with its deviation where it has one; nothing of no place."""
    if not np.isfinite(source).all():
        return [""] * 3
    azimuth, elevation, inverse = source.tolist()
    away = 1.0 / inverse if inverse > 0.0 else math.inf
    spread = [*np.rad2deg(deviation[:2]).tolist(), float(deviation[2]) * away**2 if deviation[2] else 0.0]
    values = (f"{math.degrees(azimuth):.3f}", f"{math.degrees(elevation):.3f}", f"{away:.4g}")
    return [
        f"{value} ± {own:.2g}" if own > 0.0 and math.isfinite(own) else value
        for value, own in zip(values, spread, strict=True)
    ]
