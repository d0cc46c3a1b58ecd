"""The Cramer-Rao bound of places that a person gives, in degrees and metres."""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from risolve.bounds.cramer_rao import constant_bound, unconditional_bound
from risolve.physics.observation import Observation


@dataclass(frozen=True)
class PlaceBound:
    """Least standard deviations of an unbiased estimator, a row a scene and a column a source.

    position_std_m: root mean square distance from the true place; infinite for a plane wave, as range_std_m.
    """

    azimuth_std_deg: Float[np.ndarray, "scene source"]
    elevation_std_deg: Float[np.ndarray, "scene source"]
    range_std_m: Float[np.ndarray, "scene source"]
    position_std_m: Float[np.ndarray, "scene source"]

    def to_pandas(self) -> pd.DataFrame:
        """A row a source, with the columns scene and source before these."""
        n_scenes, n_sources = self.azimuth_std_deg.shape
        places = {
            "scene": np.repeat(np.arange(n_scenes), n_sources),
            "source": np.tile(np.arange(n_sources), n_scenes),
        }
        return pd.DataFrame(places | {one.name: getattr(self, one.name).ravel() for one in fields(self)})


def bound(
    observation: Observation,
    *,
    azimuth: ArrayLike,
    elevation: ArrayLike,
    range: ArrayLike,
    power: ArrayLike,
) -> PlaceBound:
    """Cramer-Rao bound of sources at given places, seen as an observation says; its snapshots are not read.

    azimuth, elevation: degrees, range: m (infinity allowed), power: |s|^2 in the unit of |snapshot|^2 at the
    surface; each one number a source, or [scene, source]. Of `constant` sources power is their complex
    amplitude s, because their phases matter. The noise power is that of the observation.

    Independent sources: Gaussian amplitudes of unknown powers, noise power unknown (`unconditional_bound`);
    constant ones: unknown amplitudes (`constant_bound`). Valid for the exact spherical wave.

    Raises:
        ValueError: shapes that do not agree, no noise power, places or powers that are impossible, or sources
            that the snapshots do not determine.
    """
    if observation.noise_power is None:
        raise ValueError("a bound is of a known noise power; give noise_power to the observation")
    n_scenes = observation.n_scenes
    is_constant = observation.source_model == "constant"
    columns = {
        "azimuth": np.deg2rad(_real("azimuth", azimuth)),
        "elevation": np.deg2rad(_real("elevation", elevation)),
        "range": _real("range", range),
    }
    if not (columns["range"] > 0.0).all():
        raise ValueError(f"range is positive (m), got {columns['range'].min():g}")
    strength = np.asarray(power, dtype=np.complex128) if is_constant else _real("power", power)
    try:
        *places, strengths = np.broadcast_arrays(*map(np.atleast_1d, (*columns.values(), strength)))
        shape = np.broadcast_shapes((n_scenes, places[0].shape[-1]), places[0].shape)
    except ValueError as error:
        given_shapes = {
            name: list(np.shape(values)) for name, values in {**columns, "power": strength}.items()
        }
        raise ValueError(f"places are [source] or [{n_scenes}, source], got {given_shapes}") from error
    if shape[0] != n_scenes:
        raise ValueError(f"places are [scene, source] with {n_scenes} scenes, got {list(places[0].shape)}")
    angle_and_range = [np.broadcast_to(values, shape) for values in places]
    sources = torch.from_numpy(np.stack((*angle_and_range[:2], 1.0 / angle_and_range[2]), -1))
    given = torch.from_numpy(np.broadcast_to(strengths, shape).copy())
    double = observation.to(torch.complex128)
    assert double.noise_power is not None
    if is_constant:
        found = constant_bound(double, sources, given, double.noise_power)
    else:
        found = unconditional_bound(double, sources, given, double.noise_power)
    deviations = found.standard_deviations()
    return PlaceBound(
        azimuth_std_deg=torch.rad2deg(deviations[..., 0]).numpy(),
        elevation_std_deg=torch.rad2deg(deviations[..., 1]).numpy(),
        range_std_m=found.range_deviation().numpy(),
        position_std_m=found.position_deviation().numpy(),
    )


def _real(name: str, values: ArrayLike) -> Float[np.ndarray, "..."]:
    held = np.asarray(values)
    if held.dtype.kind not in "fiu":
        raise TypeError(f"{name} are real numbers, got {held.dtype}")
    return held.astype(np.float64)
