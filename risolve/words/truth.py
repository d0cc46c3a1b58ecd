"""Located sources beside the true ones, as text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from risolve.metrics.agreement import Agreement

_MOST_LINES = 30
"""Sources listed one by one."""


@dataclass(frozen=True)
class SceneScore:
    """One scene beside its truth: numbers of file and scene, the true sources, and what became of them."""

    file: int
    scene: int
    truth: Float[np.ndarray, "source 3"]
    agreement: Agreement


def score_lines(scores: Sequence[SceneScore], tolerance_deg: float) -> list[str]:
    """Errors of every source where there are few, and of all together, in degrees and metres."""
    n_true = sum(len(score.truth) for score in scores)
    lines = [f"Truth: {n_true} sources in {len(scores)} scenes; found: within {tolerance_deg:g} degrees"]
    if 0 < n_true <= _MOST_LINES:
        lines += _one_by_one(scores)
    return lines + _together(scores, n_true)


def _one_by_one(scores: Sequence[SceneScore]) -> list[str]:
    named = len({score.file for score in scores}) > 1
    lines = [
        ("file " if named else "")
        + "scene  azimuth elevation     range |  errors: deg     deg         m | over "
        "std: az    el     r"
    ]
    for score in scores:
        pairs = {int(true): pair for pair, true in enumerate(score.agreement.truth)}
        for source, place in enumerate(score.truth):
            start = (f"{score.file:4d} " if named else "") + f"{score.scene:5d}"
            start += f"  {math.degrees(place[0]):7.2f}   {math.degrees(place[1]):7.2f}  {_range(place[2])} | "
            if source in pairs:
                error, over = (
                    values[pairs[source]] for values in (score.agreement.error, score.agreement.deviation)
                )
                start += f"    {math.degrees(error[0]):7.3f} {math.degrees(error[1]):7.3f} "
                start += f"{_known(error[2], '9.4g')} |       " + "".join(
                    f" {_known(v, '5.1f')}" for v in over
                )
                lines.append(start + ("" if score.agreement.found[pairs[source]] else "  not found"))
            else:
                lines.append(start + "missed")
    return lines


def _range(inverse_range: float) -> str:
    return f"{1.0 / inverse_range:8.3f}" if inverse_range > 0.0 else "     inf"


def _known(value: float, form: str) -> str:
    """A number, or in its place a dash where there is none."""
    return f"{value:{form}}" if math.isfinite(value) else f"{'-':>{form.partition('.')[0]}}"


def _together(scores: Sequence[SceneScore], n_true: int) -> list[str]:
    outcomes = [score.agreement for score in scores]
    found = np.concatenate([a.found for a in outcomes]) if outcomes else np.empty(0, dtype=bool)
    n_false = sum(a.n_false for a in outcomes)
    counted = sum(a.n_false == a.n_missed == 0 for a in outcomes)
    share = f" ({100.0 * found.sum() / n_true:.1f} %)" if n_true else ""
    lines = [
        f"Found {int(found.sum())} of {n_true}{share}, {n_false} located where there is none; the number of "
        f"sources is right in {counted} of {len(scores)} scenes"
    ]
    if not found.any():
        return lines
    error = np.abs(np.concatenate([a.error for a in outcomes])[found])
    over = np.concatenate([a.deviation for a in outcomes])[found]
    azimuth, elevation = np.rad2deg(np.median(error[:, :2], axis=0))
    metres = error[np.isfinite(error[:, 2]), 2]
    reach = f"range {np.median(metres):.3g} m" if metres.size else "range -"
    at_infinity = len(error) - len(metres)
    reach += f" (none of {at_infinity}, at infinity)" if at_infinity else ""
    lines.append(
        f"Median error of found sources: azimuth {azimuth:.3g} deg, elevation {elevation:.3g} deg, {reach}"
    )
    if np.isfinite(over).any():
        spread = (_known(_root_mean_square(column), ".2f") for column in over.T)
        lines.append(
            "Error over standard deviation, rms (1 if the deviations are right): "
            "azimuth {}, elevation {}, range {}".format(*spread)
        )
    return lines


def _root_mean_square(values: Float[np.ndarray, " value"]) -> float:
    """Of the values that there are; NaN of none."""
    held = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(held**2))) if held.size else math.nan
