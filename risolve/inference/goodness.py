"""Whether a model fits: what its sources explain of the snapshots, and whether the rest is white noise.

    e = (I - P) y,   P on the responses G of the sources, and on their derivatives by the places

At a true model e is noise, white in the dimensions that amplitudes and places leave to it. One draw n of
white noise, the same for all scenes, fills the others, in the ratio in which noise has them,

    X = e + (|e| / |(I - P) n|) P n,

so that X / |X| is white noise of all L M numbers, whatever the system, the sources and sigma^2
(`inference.whiteness`). One more source is looked for in e at the points of the grid. All in complex128, of
scenes on unit scale.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.special import betainc, gammainc, gammaincc
from torch import Tensor

from risolve.inference.grid import Grid
from risolve.inference.likelihood import pieces
from risolve.inference.projection import beside, grouped_snapshots, responses, span_of
from risolve.inference.promising import Matching, matched_by
from risolve.inference.scaling import unit_scale
from risolve.inference.whiteness import whiteness
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.seeds import generator
from risolve.shapes import Powers, Sources

UNFIT = 0.001
"""`fits` below which a scene is not of the model, but for this share of scenes that are."""

_RARE = 0.05
"""Share of the false alarms that is left to a test whose probability is a bound."""

_CANDIDATES = 16
"""Points of the grid, of largest match, at which one more source is tried."""

_OWN = 1e-3
"""Share of |b|^2 outside the span of the sources below which a place has no direction of its own."""

_ROUNDING = 1e-12
"""Of |y|^2: what the single precision of snapshots, channel and codes leaves is not tested."""


class Goodness(NamedTuple):
    """explained: share of the energy received, 1 - J / sum |y|^2; 0 without sources.

    fits: probability that what is left of a true model looks as little like white noise, and with a noise
    power as little of this power. NaN where nothing is left.
    """

    explained: Float[Tensor, " scene"]
    fits: Float[Tensor, " scene"]


class _Left(NamedTuple):
    """J, e with the rank of I - P in real numbers, and X with the energies that the sources explain; its rows
    are the snapshots, or fewer of the same products.
    """

    misfit: Powers
    residual: Complex[Tensor, "scene row antenna"]
    dimensions: Powers
    white: Complex[Tensor, "scene row antenna"]
    explained: Float[Tensor, "scene row"]
    basis: Complex[Tensor, "scene #group number source"]


def goodness(observation: Observation, sources: Sources, grid: Grid) -> Goodness:
    """Fit of NaN-padded sources; grid: where one more may be.

    The least of two probabilities: of white noise like X (`whiteness`), by snapshot but of `independent`
    sources under one code, whose snapshots are known by their covariance; and of the largest share that a
    source at a point of the grid takes of e, a union bound over the points, which has a twentieth of the
    false alarms. With a noise power the energy of e, which is independent of its direction, is compared too:
    too much of it, or less than the best of all places leaves.

    Valid at the maximum of the likelihood. A stated noise power is taken as exact.

    Raises:
        ValueError: as `unit_scale`.
    """
    explained, fits = torch.full((2, observation.n_scenes), torch.nan, dtype=torch.float64)
    match = matched_by(grid, observation.array)
    present = ~sources[..., 0].isnan()
    counts = present.sum(-1)
    for count in sorted(set(counts.tolist())):
        scenes = torch.nonzero(counts == count).flatten()
        slots = torch.nonzero(present[scenes])[:, 1].reshape(len(scenes), count)
        placed = sources[scenes[:, None], slots].double()
        part = observation.select(scenes)
        n_columns = max(4 * count, _CANDIDATES, grid.n_points // observation.n_elements)
        for piece in pieces(part, n_columns):
            own = unit_scale(part.select(piece))
            explained[scenes[piece]], fits[scenes[piece]] = _of_count(own, placed[piece], grid, match)
    return Goodness(explained, fits)


def _of_count(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    grid: Grid,
    match: Matching,
) -> Goodness:
    """Of scenes that have one number of sources."""
    codes = observation.codes
    is_coded = observation.source_model == "constant" or not bool((codes == codes[:, :1]).all())
    left = _left(observation, sources, is_coded)
    energy, residual = _energy(observation.snapshots), _energy(left.residual)
    dimensions = left.dimensions / 2.0
    white = _least(
        whiteness(left.white, left.explained, observation.n_snapshots, is_coded),
        _of_one_more(observation, left, is_coded, grid, match),
    )
    fits = torch.where(dimensions > 0.0, white, torch.nan)
    if observation.noise_power is not None:
        of_level = (dimensions.numpy(), (residual / observation.noise_power).numpy())
        searched = float(grid.n_points) ** sources.shape[1]
        level = _least(
            torch.from_numpy(gammaincc(*of_level)), torch.from_numpy(gammainc(*of_level)) * searched
        )
        fits = 1.0 - (1.0 - torch.minimum(fits, level)).square()
    fits = torch.where(residual > _ROUNDING * energy, fits, torch.nan)
    return Goodness(1.0 - left.misfit / energy, fits)


def _least(exact: Powers, bound: Powers) -> Powers:
    """Of two probabilities, the second of which is a bound, as one."""
    return torch.minimum(exact / (1.0 - _RARE), bound / _RARE).clamp_max(1.0)


def _left(observation: Observation, sources: Float[Tensor, "scene source 3"], is_coded: bool) -> _Left:
    L, M = observation.snapshots.shape[1:]
    noise, y, first = _noise(L, M, is_coded), grouped_snapshots(observation), observation
    shape = (-1, *noise.shape)
    if not is_coded:
        # few rows of the same covariance (`inference.condensing`), and none where the noise goes on
        few = torch.linalg.qr(y, mode="r").R
        y = torch.nn.functional.pad(few, (0, 0, 0, len(noise) - few.shape[1]))
        first = replace(observation, snapshots=observation.snapshots[:, :1], codes=observation.codes[:, :1])
    n_groups, n_rows = y.shape[1:]
    # in the phase of the snapshots, which then changes nothing
    n = torch.polar(torch.ones((), dtype=torch.float64), y[:, :1, :1].angle())
    n = n * noise.reshape(n_groups, n_rows)
    n_numbers = torch.full((observation.n_scenes,), 2.0 * L * M, dtype=torch.float64)
    if sources.shape[1] == 0:
        energy, seen = _energy(y), y.reshape(shape)
        none = torch.zeros(seen.shape[:2], dtype=torch.float64)
        return _Left(energy, seen, n_numbers, seen, none, y[:, :1, :, None][..., :0])
    span = span_of(first, sources, y)
    e, left_of_noise = span.left_of(y), span.left_of(n)
    ratio = (_energy(e) / _energy(left_of_noise)).sqrt()[:, None, None]
    n_groups = 1 if observation.source_model == "constant" else L
    amplitudes_taken = n_groups * observation.n_amplitudes(sources.shape[1])
    return _Left(
        misfit=_energy(span.misfit),
        residual=e.reshape(shape),
        dimensions=n_numbers - 2.0 * amplitudes_taken - span.n_tangents,
        white=(e + ratio * (n - left_of_noise)).reshape(shape),
        explained=squared_modulus((y - span.misfit).reshape(shape)).sum(2),
        basis=span.basis,
    )


@lru_cache(maxsize=64)
def _noise(n_snapshots: int, n_antennas: int, is_coded: bool) -> Complex[Tensor, "row antenna"]:
    """The draw of white noise of a size; under one code beside snapshots that fill M rows or fewer.

    In the coordinates of these M rows it is white, and what lies outside of them has the factor of a Wishart
    matrix of L - M snapshots (Bartlett).
    """
    random = generator(0, "goodness", 0)
    L, M = n_snapshots, n_antennas
    drawn = random.standard_normal((L if is_coded else min(L, M), M, 2))
    white = torch.view_as_complex(torch.from_numpy(drawn))
    beside = L - M
    if is_coded or beside <= 0:
        return white
    p = min(beside, M)
    off = torch.view_as_complex(torch.from_numpy(random.standard_normal((p, M, 2)))).triu(1)
    own = np.sqrt(2.0 * random.standard_gamma(np.arange(beside, beside - p, -1.0)))
    return torch.cat((white, off + torch.eye(p, M) * torch.from_numpy(own)[:, None]))


def _of_one_more(
    observation: Observation,
    left: _Left,
    is_coded: bool,
    grid: Grid,
    match: Matching,
) -> Powers:
    """Bound on the probability of the largest share of e that one more source takes at a point of the grid.

        sum_g |b_g^H e_g|^2 / |(I - P) b_g|^2 / |e|^2 ~ Beta(a, n - a)   at a given place,

    n the complex dimensions of e and a groups.
    """
    e, seen = left.residual, observation
    n_groups = 1 if observation.source_model == "constant" else observation.n_snapshots
    if not is_coded:
        kept = min(e.shape[1:])
        e = torch.linalg.qr(e, mode="r").R
        seen = replace(observation, snapshots=e, codes=observation.codes[:, :kept])
    back = (e @ seen.channel.conj()) * seen.codes.conj()
    if observation.source_model == "constant":
        back = back.sum(1, keepdim=True)
    point = match(back).masked_fill(~grid.inside, -1.0).topk(min(_CANDIDATES, grid.n_points)).indices
    columns = responses(seen, observation.array.steering(grid.sources[point]))
    free = squared_modulus(beside(left.basis, columns)).sum(-1)
    rows = grouped_snapshots(replace(seen, snapshots=e))
    along = squared_modulus((columns.conj() @ rows[..., None])[..., 0])
    is_own = free > _OWN * squared_modulus(columns).sum(-1)
    share = torch.where(is_own, along / free, 0.0).sum(1).amax(1) / _energy(e)
    others = left.dimensions / 2.0 - n_groups
    chance = betainc(others.clamp_min(1e-9).numpy(), n_groups, (1.0 - share).clamp(0.0, 1.0).numpy())
    return torch.where(others > 0.0, torch.from_numpy(chance) * grid.n_points, 1.0)


def _energy(values: Complex[Tensor, "scene row column"]) -> Powers:
    return squared_modulus(values).sum((1, 2))
