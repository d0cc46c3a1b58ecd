"""Scenes beside a grid of places, on a scale of their own: what a search for their sources reads of both.

Sums over the grid are products with its steering vectors: the responses B_g A of all its points, which
`detection.Detector` holds, are never formed.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.batched import Batched
from risolve.inference.grid import Grid, grid_steering
from risolve.inference.mirror import MirrorFold, mirror_fold
from risolve.inference.noise import estimated_noise_power
from risolve.inference.scaling import unit_scale
from risolve.inference.unconditional import UnconditionalRefinement
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.shapes import Powers


@dataclass(frozen=True)
class Field(Batched):
    """Scenes on unit scale, and the steering vectors of a grid in their parity parts.

    energy: sum_g |b_g(x)|^2 of every point x, b_g(x) its response in group g (`inference.projection`).
    prior: logarithm of what speaks for a source near each point beside the snapshots, 0 where nothing does.
    noise_power: known, or estimated from the snapshots. snapshot_power, system_power: mean |y|^2, and mean
    |H|^2 mean |c|^2, of the scenes before they were scaled.
    """

    observation: Observation
    grid: Grid
    fold: MirrorFold
    energy: Float[Tensor, "scene point"]
    prior: Float[Tensor, "scene point"]
    noise_power: Powers
    snapshot_power: Powers
    system_power: Powers

    def prior_of(self, sources: Float[Tensor, "scene source 3"]) -> Float[Tensor, "scene source"]:
        """The prior at the grid points nearest to sources; that of the border outside the grid."""
        n_w, n_v, n_u = self.grid.shape
        low = self.grid.coordinates.amin(0)
        steps = torch.where(self.grid.steps > 0.0, self.grid.steps, 1.0)
        index = ((self.grid.coordinates_of(sources) - low) / steps).round().long()
        u, v, w = (index[..., axis].clamp(0, n - 1) for axis, n in enumerate((n_u, n_v, n_w)))
        point = (w * n_v + v) * n_u + u
        return self.prior.gather(1, point)

    def in_own_units(
        self, fit: UnconditionalRefinement, rows: Int[Tensor, " scene"]
    ) -> UnconditionalRefinement:
        """One row of a fit a scene, in the units that the scenes had before they were scaled."""
        own = fit.select(rows)
        n_numbers = self.observation.n_snapshots * self.observation.n_antennas
        return replace(
            own,
            powers=own.powers * (self.snapshot_power / self.system_power)[:, None],
            noise_power=own.noise_power * self.snapshot_power,
            cost=own.cost + n_numbers * self.snapshot_power.log(),
        )


def field(observation: Observation, grid: Grid, prior: Float[Tensor, "scene point"]) -> Field:
    """The field of a batch of scenes.

    Raises:
        ValueError: as `unit_scale`.
    """
    unit = unit_scale(observation)
    wave = grid_steering(grid, observation.array)
    fold = mirror_fold(wave, observation.array.elements)
    channel, codes = unit.channel.to(torch.complex64), unit.codes.to(torch.complex64)
    gram = fold.parity_blocks((channel.mH @ channel) * (codes.mH @ codes))
    energy = fold.forms(gram).expand(observation.n_scenes, -1)
    noise_power = estimated_noise_power(unit) if unit.noise_power is None else unit.noise_power
    snapshot_power, channel_power, code_power = (
        squared_modulus(values.to(torch.complex128)).mean((1, 2))
        for values in (observation.snapshots, observation.channel, observation.codes)
    )
    system_power = (channel_power * code_power).expand_as(snapshot_power)
    return Field(
        unit,
        grid,
        fold,
        energy,
        prior.double(),
        noise_power,
        snapshot_power,
        system_power,
    )
