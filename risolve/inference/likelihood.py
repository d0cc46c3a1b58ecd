"""Maximum likelihood of the source positions with the amplitudes concentrated out.

    minimize J(sources) = sum_l |(I - P_{G_l}) y_l|^2,   G_l = B_l A

for `independent` sources; for `constant` ones the snapshots and the B_l are stacked into one. Gaussian noise
of any common power makes this the conditional maximum-likelihood estimate. All in complex128.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from risolve.batched import Batched
from risolve.inference.candidates import match, most_explaining
from risolve.inference.descent import Descent, Expansion, descend
from risolve.inference.projection import columns_of, grouped_snapshots, least_squares, project, responses
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.shapes import SourceMask

CHUNK_VALUES = 4_000_000
"""Complex numbers of the largest array of one piece of the batch: bounds the memory, 64 MB."""


@dataclass(frozen=True)
class Refinement(Batched):
    """Local maximum of the likelihood: sources (azimuth, elevation, inverse range), s, J, and the Fisher
    information.

    amplitudes repeat over the snapshots for `constant` sources, and over sources of equal gains. fisher =
    (2 / sigma^2) H, of (azimuth, elevation, inverse range) source by source, with the known noise power, or
    the one that J leaves if it is not known.
    """

    sources: Float[Tensor, "scene source 3"]
    amplitudes: Complex[Tensor, "scene snapshot source"]
    residual: Float[Tensor, " scene"]
    fisher: Float[Tensor, "scene coordinate coordinate"]
    converged: Bool[Tensor, " scene"]


@dataclass(frozen=True)
class _ConcentratedResidual(Batched):
    """J as a function of (azimuth, elevation, inverse range) source by source; its size is |y|^2."""

    observation: Observation
    low: Float[Tensor, "1 coordinate"]
    high: Float[Tensor, "1 coordinate"]
    size: Float[Tensor, " scene"]

    SHARED: ClassVar = ("low", "high")

    def expand(self, place: Float[Tensor, "scene coordinate"]) -> Expansion:
        """J and its expansion, with the amplitudes."""
        fit = project(self.observation, place.unflatten(1, (-1, 3)))
        return Expansion(fit.residual, fit.slope, fit.curvature, fit.residual, (fit.amplitudes,))


def concentrated_residual(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    present: SourceMask,
) -> Float[Tensor, " scene"]:
    """J = sum_l |(I - P_{G_l}) y_l|^2 of the sources that are present; stacked for `constant` ones.

    Without sources it is sum_l |y_l|^2. float64, in the unit of the snapshots squared.
    """
    parts = []
    for part in pieces(observation, max(1, sources.shape[1])):
        double = observation.select(part).to(torch.complex128)
        columns = columns_of(double, _columns(double, sources[part], present[part]))
        misfit = least_squares(columns, grouped_snapshots(double)).misfit
        parts.append(squared_modulus(misfit).sum((1, 2)))
    return torch.cat(parts)


def misfits(
    observation: Observation, sources: Float[Tensor, "scene source 3"]
) -> Float[Tensor, "scene snapshot antenna"]:
    """|(I - P_{G_l}) y_l|^2 number by number, of sources that are there."""
    double = observation.to(torch.complex128)
    columns = columns_of(double, responses(double, double.array.steering(sources)))
    misfit = least_squares(columns, grouped_snapshots(double)).misfit
    return squared_modulus(misfit.reshape(double.snapshots.shape))


def best_subset(
    observation: Observation,
    candidates: Float[Tensor, "scene candidate 3"],
    usable: Bool[Tensor, "scene candidate"],
    n_sources: int,
) -> Float[Tensor, "scene source 3"]:
    """The K candidates of each scene that leave the least J.

        maximize over subsets S of size K: sum_l z_l^H z_l,   z_l = chol(G_S^H G_S)^-1 G_S^H y_l

    All subsets where there are at most 100, else the best one added at a time, followed by the best exchanges
    of one candidate until none helps. Slots are NaN where a scene has fewer usable candidates than sources.

    Raises:
        ValueError: more sources than candidates, or a usable candidate that is not finite.
    """
    if not 0 <= n_sources <= candidates.shape[1]:
        raise ValueError(f"a subset has 0 to {candidates.shape[1]} (all candidates) sources, got {n_sources}")
    _check_finite("usable candidates", torch.where(usable[..., None], candidates, 0.0))
    parts = []
    for part in pieces(observation, max(1, candidates.shape[1])):
        double = observation.select(part).to(torch.complex128)
        columns = _columns(double, candidates[part], usable[part])
        chosen = most_explaining(match(columns, grouped_snapshots(double)), n_sources)
        found = candidates[part].gather(1, chosen[..., None].expand(-1, -1, 3))
        parts.append(torch.where(usable[part].gather(1, chosen)[..., None], found, torch.nan))
    return torch.cat(parts).double()


def refine(
    observation: Observation,
    start: Float[Tensor, "scene source 3"],
    n_iterations: int,
) -> Refinement:
    """Local minimum of J from given sources, by Levenberg-Marquardt on (azimuth, elevation, inverse range).

        (H + mu diag H) d = g,   J(x + d) ~ J - 2 g^T d + d^T H d

    g and H as in `Projection`, the damping mu as in `descend`. Sources start and stay within the limits of
    the observation. A scene has converged when the undamped step promises a decrease below 1e-9 of J.

    Valid for K < M (`independent`), K < L M (`constant`), or any K of equal gains. Merged sources keep finite
    amplitudes (see `RIDGE`).

    Raises:
        ValueError: too many sources, or a start that is not finite.
    """
    check_start(observation, start)
    n_sources = start.shape[1]
    if n_sources == 0:
        return _no_sources(observation)
    limits = observation.limits
    start = limits.begun(start, observation.mirrors) if n_iterations else limits.beside(start)
    low, high = limits.of(n_sources)
    parts = []
    for part in pieces(observation, 4 * n_sources):
        double = observation.select(part).to(torch.complex128)
        energy = squared_modulus(grouped_snapshots(double)).sum((1, 2))
        residual = _ConcentratedResidual(double, low, high, energy)
        parts.append(descend(residual, start[part].double().flatten(1), n_iterations))
    return _refinement(observation, parts)


def check_start(observation: Observation, start: Float[Tensor, "scene source 3"]) -> None:
    """Sources to start from are finite, and their amplitudes fewer than the equations that share them.

    Raises:
        ValueError: too many sources, or a start that is not finite.
    """
    n_sources = start.shape[1]
    n_groups = 1 if observation.source_model == "constant" else observation.n_snapshots
    n_equations = observation.n_snapshots * observation.n_antennas // n_groups
    if observation.n_amplitudes(n_sources) >= n_equations:
        raise ValueError(
            f"K sources need K < {n_equations} equations that share their amplitudes "
            f"({observation.source_model} sources); got K = {n_sources}"
        )
    _check_finite("sources to start from", start)


def _no_sources(observation: Observation) -> Refinement:
    """The empty estimate: J = sum_l |y_l|^2."""
    n_scenes = observation.n_scenes
    return Refinement(
        sources=torch.empty((n_scenes, 0, 3), dtype=torch.float64),
        amplitudes=torch.empty((n_scenes, observation.n_snapshots, 0), dtype=torch.complex128),
        residual=squared_modulus(observation.snapshots.to(torch.complex128)).sum((1, 2)),
        fisher=torch.empty((n_scenes, 0, 0), dtype=torch.float64),
        converged=torch.ones(n_scenes, dtype=torch.bool),
    )


def _refinement(observation: Observation, parts: list[Descent]) -> Refinement:
    place = torch.cat([part.place for part in parts])
    residual = torch.cat([part.expansion.value for part in parts])
    curvature = torch.cat([part.expansion.curvature for part in parts])
    amplitudes = torch.cat([part.expansion.carried[0] for part in parts])
    noise_power = observation.noise_power
    if noise_power is None:
        n_sources = amplitudes.shape[2]
        of_places = observation.limits.n_free * n_sources / 2
        n_free = amplitudes.shape[1] * observation.n_amplitudes(n_sources) + of_places
        noise_power = residual / (observation.n_snapshots * observation.n_antennas - n_free)
    return Refinement(
        sources=place.unflatten(1, (-1, 3)),
        amplitudes=amplitudes.expand(-1, observation.n_snapshots, -1),
        residual=residual,
        fisher=2.0 * curvature / noise_power.double()[:, None, None],
        converged=torch.cat([part.converged for part in parts]),
    )


def _columns(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    present: SourceMask,
) -> Complex[Tensor, "scene group source row"]:
    """G_g as rows, zero where no source is present."""
    placed = torch.where(present[..., None], sources, 0.0).double()
    _check_finite("sources", placed)
    waves = observation.array.steering(placed)
    return responses(observation, torch.where(present[..., None], waves, 0.0))


def pieces(observation: Observation, n_columns: int) -> Iterator[slice]:
    """Pieces of the batch in which n responses a snapshot take bounded memory, one of an empty batch."""
    per_scene = observation.n_snapshots * n_columns * max(observation.n_elements, observation.n_antennas)
    size = max(1, CHUNK_VALUES // per_scene)
    for first in range(0, max(1, observation.n_scenes), size):
        yield slice(first, first + size)


def _check_finite(what: str, sources: Float[Tensor, "scene source 3"]) -> None:
    finite = torch.isfinite(sources).flatten(1).all(1)
    if not bool(finite.all()):
        scenes = torch.nonzero(~finite).flatten().tolist()
        raise ValueError(f"{what} are finite; those of scenes {scenes} of the batch are not")
