"""The truth of scenes, with the bound of every source beside it, as tables show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.errors import MeasurementError
from risolve.files.bounds import Deviations, read_bounds
from risolve.physics.scenario import Truth
from risolve.shapes import Sources
from stages.params.model import Split

BOUNDS = (
    *("bound_azimuth_deg", "bound_elevation_deg", "bound_range_m"),
    *("bound_inverse_range_per_m", "bound_position_m"),
)
"""Columns of bounds, in the order of `risolve.files.bounds.Deviations`."""


@dataclass(frozen=True)
class SplitTruth:
    """Scenes of one split, with their sources as (azimuth (rad), elevation (rad), inverse range (1/m)).

    NaN in empty slots. bounds: column of `BOUNDS` -> bound of each source, in the unit of its name.
    """

    split: str
    sources: Float[np.ndarray, "scene source 3"]
    snr_db: Float[np.ndarray, " scene"]
    bounds: Mapping[str, Float[np.ndarray, "scene source"]]

    @property
    def n_sources(self) -> Int[np.ndarray, " scene"]:
        """Number of true sources of each scene."""
        counts: Int[np.ndarray, " scene"] = np.isfinite(self.sources[..., 0]).sum(axis=1)
        return counts


def bounded_truth(
    split: str, sources: Sources, snr_db: Float[Tensor, " scene"], bounds: Deviations
) -> SplitTruth:
    """Sources of scenes beside their bounds."""
    columns = (
        *(torch.rad2deg(bounds.azimuth), torch.rad2deg(bounds.elevation)),
        *(bounds.range, bounds.inverse_range, bounds.position),
    )
    named = {name: values.numpy() for name, values in zip(BOUNDS, columns, strict=True)}
    return SplitTruth(split, sources.numpy(), snr_db.numpy(), named)


def read_bounded_truth(split: Split, truth: Truth) -> SplitTruth:
    """The truth of a split beside the bounds of its file.

    Raises:
        MeasurementError: as `read_bounds`, or bounds of other scenes.
    """
    path = Path("data/bounds") / f"{split}.h5"
    bounds = read_bounds(path).conditional
    if bounds.azimuth.shape != truth.sources.shape[:2]:
        raise MeasurementError(
            f"{path}: one bound a source slot, data/scenes/{split} has {tuple(truth.sources.shape[:2])} "
            f"scenes and slots, got {tuple(bounds.azimuth.shape)}; run `bound` again"
        )
    bounded = bounded_truth(split, truth.sources, truth.snr_db, bounds)
    present = np.isfinite(bounded.sources[..., 0])
    for name, values in bounded.bounds.items():
        wrong = np.argwhere(np.where(np.isfinite(values), values > 0.0, False) != present)
        if len(wrong):
            raise MeasurementError(
                f"{path}: {name}: positive where data/scenes/{split} has a source, and empty elsewhere; "
                f"not so in scene {wrong[0, 0]}, slot {wrong[0, 1]}: run `bound` again"
            )
    return bounded
