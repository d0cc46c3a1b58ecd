"""Estimates as rows in the units of a person."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from risolve.estimators.contract import Estimate
from risolve.files.located_sources import LocatedSources, joined
from risolve.physics.geometry import positions
from risolve.physics.observation import Observation
from risolve.shapes import SourceMask


def located_sources(
    estimator: str,
    files: tuple[str, ...],
    number: int,
    scenes: Int[Tensor, " scene"],
    observation: Observation,
    estimate: Estimate,
) -> LocatedSources:
    """An estimate as rows, in the unit of its observation; number: of the file that its scenes are of."""
    present = estimate.present
    scene = scenes[:, None].expand(present.shape)[present]
    return LocatedSources(
        estimator=estimator,
        files=files,
        file=torch.full_like(scene, number).numpy(),
        scene=scene.numpy(),
        source=(present.cumsum(-1) - 1)[present].numpy(),
        values=source_values(observation, estimate)[present].numpy(),
        scenes=torch.stack((torch.full_like(scenes, number), scenes, present.sum(-1)), -1).numpy(),
        scene_values=_scene_values(estimate).numpy(),
        left_out=(),
    )


def _scene_values(estimate: Estimate) -> Float[Tensor, "scene value"]:
    """The columns `SCENE_VALUES`."""
    unknown = torch.full(estimate.n_sources.shape, torch.nan, dtype=torch.float64)
    confidence, goodness, beyond = estimate.count_confidence, estimate.goodness, estimate.beyond_training
    explained, fits = (None, None) if goodness is None else goodness
    robust = None if estimate.robust is None else estimate.robust.double()
    columns = (confidence, explained, fits, beyond, estimate.resolved.double(), robust)
    return torch.stack([unknown if values is None else values for values in columns], -1)


def in_order(parts: Sequence[LocatedSources]) -> LocatedSources:
    """Parts of one file whose scenes stand between each other, by the numbers of the scenes."""
    whole = joined(parts)
    rows, scenes = (np.argsort(numbers, kind="stable") for numbers in (whole.scene, whole.scenes[:, 1]))
    return replace(_chosen(whole, rows, scenes), left_out=tuple(sorted(whole.left_out)))


def of_scenes(sources: LocatedSources, scenes: Sequence[int]) -> LocatedSources:
    """Sources of some scenes of one file."""
    return _chosen(sources, np.isin(sources.scene, scenes), np.isin(sources.scenes[:, 1], scenes))


def _chosen(
    sources: LocatedSources, rows: Shaped[np.ndarray, " row"], scenes: Shaped[np.ndarray, " scene"]
) -> LocatedSources:
    by_row = {name: getattr(sources, name)[rows] for name in ("file", "scene", "source", "values")}
    by_scene = {name: getattr(sources, name)[scenes] for name in ("scenes", "scene_values")}
    return replace(sources, **by_row, **by_scene)


def source_values(observation: Observation, estimate: Estimate) -> Float[Tensor, "scene source value"]:
    """The columns `VALUES` of every slot, in their units; NaN in empty slots."""
    azimuth, elevation, inverse_range = estimate.sources.unbind(-1)
    limits = observation.limits
    # a coordinate that is known has no deviation
    known = torch.where(limits.is_free, 0.0, torch.nan)
    deviations = estimate.standard_deviations() + known
    # at infinity there is a direction and no place
    places = positions(estimate.sources).masked_fill(inverse_range[..., None] == 0.0, torch.nan)
    of_scene = torch.stack((estimate.likelihood.log_likelihood, misfit(observation, estimate)), -1)
    return torch.cat(
        (
            torch.stack((torch.rad2deg(azimuth), torch.rad2deg(elevation), 1.0 / inverse_range), -1),
            places,
            10.0 * torch.log10(estimate.likelihood.powers)[..., None],
            torch.rad2deg(deviations[..., :2]),
            deviations[..., 2:],
            inverse_range[..., None],
            estimate.likelihood.covariance[..., 2, 2].sqrt()[..., None] + known[2],
            of_scene[:, None].expand(-1, azimuth.shape[1], -1),
            _at_limit(observation, estimate)[..., None].double(),
            _rival_values(estimate),
        ),
        dim=-1,
    )


def _at_limit(observation: Observation, estimate: Estimate) -> SourceMask:
    """Whether a coordinate is at a limit, or a peak at an end of the ranges searched."""
    touched = observation.limits.touched(estimate.sources, observation.mirrors).any(-1)
    return touched if estimate.at_edge is None else touched | estimate.at_edge


def _rival_values(estimate: Estimate) -> Float[Tensor, "scene source value"]:
    if estimate.rivals is None:
        return torch.full((*estimate.present.shape, 4), torch.nan, dtype=torch.float64)
    azimuth, elevation, inverse_range = estimate.rivals.places.unbind(-1)
    angles = torch.rad2deg(azimuth), torch.rad2deg(elevation)
    there = estimate.likelihood.log_likelihood[:, None] - estimate.rivals.below
    return torch.stack((*angles, 1.0 / inverse_range, there), -1)


def misfit(observation: Observation, estimate: Estimate) -> Float[Tensor, " scene"]:
    """J / (sigma^2 (L M - (a + c/2) K)), see `VALUES`; NaN where the noise power is not given, or the sources
    leave no dimension to noise.
    """
    if observation.noise_power is None:
        return torch.full((observation.n_scenes,), torch.nan, dtype=torch.float64)
    n_groups = observation.n_snapshots if observation.source_model == "independent" else 1
    n_numbers = observation.n_snapshots * observation.n_antennas
    n_sources = estimate.n_sources
    n_amplitudes = torch.tensor([observation.n_amplitudes(count) for count in n_sources.tolist()])
    left = n_numbers - n_groups * n_amplitudes - observation.limits.n_free / 2.0 * n_sources
    ratio = estimate.likelihood.residual / (observation.noise_power.double() * left)
    return torch.where(left > 0.0, ratio, torch.nan)
