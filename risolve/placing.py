"""Where the sources of scenes are: as stated, else as a search through the nominal array finds them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from risolve.calibration.information import Placed
from risolve.field import check_angles
from risolve.inference.determinability import require_told
from risolve.locating import Localizer
from risolve.physics.limits import Limits
from risolve.physics.observation import Observation

COORDINATES = ("azimuth", "elevation", "range")

_CONTRADICTION = 1e-6
"""Rad or 1/m by which a truth is not what is stated of all sources."""


def true_places(
    truth: Mapping[str, ArrayLike], n_scenes: int, n_sources: int | None
) -> Float[Tensor, "scene source 3"]:
    """(azimuth, elevation, inverse range) of what is known, NaN elsewhere.

    truth: azimuth, elevation (degrees) and range (m), some or all, each [scene, source], [scene] of one
    source a scene, or one number; NaN of what is not known. n_sources: where it is not that of the truth.

    Raises:
        TypeError: no mapping, or no real numbers.
        ValueError: other names, shapes that do not agree, a range that is not positive.
    """
    if not isinstance(truth, Mapping):
        raise TypeError(f"truth is a mapping of {', '.join(COORDINATES)}, got {type(truth).__name__}")
    if wrong := [name for name in truth if name not in COORDINATES]:
        raise ValueError(f"truth holds some of {', '.join(COORDINATES)}; got {wrong[0]!r}")
    held: dict[str, np.ndarray] = {}
    for name, values in truth.items():
        given = np.asarray(values)
        if given.dtype.kind not in "fiu":
            raise TypeError(f"truth: {name} are real numbers, got {given.dtype}")
        held[name] = given[:, None] if given.ndim == 1 else given
    try:
        n_columns = n_sources
        if n_columns is None:
            n_columns = np.broadcast_shapes((n_scenes, 1), *(own.shape for own in held.values()))[-1]
        full = {name: np.broadcast_to(own, (n_scenes, n_columns)) for name, own in held.items()}
    except ValueError as error:
        law = f"[scene, source], [scene] or one number, of {n_scenes} scenes"
        if n_sources is not None:
            law = f"{law} and {n_sources} sources"
        shapes = {name: list(np.shape(values)) for name, values in truth.items()}
        raise ValueError(f"truth: each coordinate is {law}; got {shapes}") from error
    places = np.full((n_scenes, n_columns, 3), np.nan)
    for name, values in full.items():
        if name == "range" and (values <= 0.0).any():
            raise ValueError(f"truth: range is positive (m), got {values[values <= 0.0][0]:g}")
        places[..., COORDINATES.index(name)] = 1.0 / values if name == "range" else np.deg2rad(values)
    return torch.from_numpy(places)


def placed_scenes(
    observation: Observation, true: Float[Tensor, "scene source 3"], localizer: Localizer
) -> Placed:
    """Scenes with their true places; a coordinate that is not known, and no number stated of all sources, is
    where the estimator finds the source, in pairs of least difference in what is known.

    Raises:
        ValueError: a truth outside of what is stated, or sources that are not found.
    """
    observation = replace(observation, array=localizer.array, stated=localizer.stated)
    limits = observation.limits
    _check_within(true, limits)
    places = torch.where(limits.is_free, true, limits.low)
    is_free = places.isnan()
    scenes = torch.nonzero(is_free.any(-1).any(-1)).flatten()
    if len(scenes):
        part, count = observation.select(scenes), true.shape[1]
        require_told(part, count)
        found = localizer.estimator.estimate(part, None, torch.full((len(scenes),), count)).sources.double()
        if bool(found.isnan().any()):
            lost = scenes[found.isnan().any(-1).any(-1)].tolist()
            raise ValueError(
                f"{count} sources a scene are found before their array is calibrated; not in {lost}"
            )
        paired = found.take_along_dim(in_pairs(places[scenes], found), 1)
        places[scenes] = torch.where(is_free[scenes], paired, places[scenes])
    return Placed(observation, places, is_free)


def _check_within(true: Float[Tensor, "scene source 3"], limits: Limits) -> None:
    """Refuse a truth that contradicts what is stated, or that the array does not see."""
    for index, name in enumerate(COORDINATES[:2]):
        own = true[..., index]
        check_angles(name, torch.rad2deg(own[~own.isnan()]).tolist(), limits)
    low, high = limits.low - _CONTRADICTION, limits.high + _CONTRADICTION
    beside = limits.beside(true)
    wrong = torch.nonzero((beside < low) | (beside > high))
    if len(wrong):
        scene, source, coordinate = wrong[0].tolist()
        value = float(true[scene, source, coordinate])
        shown = 1.0 / value if coordinate == 2 else np.rad2deg(value)
        raise ValueError(
            f"truth: {COORDINATES[coordinate]} within what is stated of all sources; got {shown:g} in scene "
            f"{scene}, source {source}"
        )


def in_pairs(
    known: Float[Tensor, "scene source 3"], found: Float[Tensor, "scene source 3"]
) -> Int[Tensor, "scene source 1"]:
    """Numbers of the found sources in the order of those of which something is known."""
    apart = (known[:, :, None] - found[:, None]).square().nan_to_num(nan=0.0).sum(-1).numpy()
    return torch.from_numpy(np.stack([linear_sum_assignment(cost)[1] for cost in apart]))[..., None]
