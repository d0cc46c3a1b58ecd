"""Whether a model fits: what its sources explain of the snapshots, and whether the rest is white noise.

    e = (I - P) y,   P on the responses G of the sources, and on their derivatives by the places

At a true model e is noise, white in the dimensions that amplitudes and places leave to it. One draw n of
white noise, the same for all scenes, fills the others, in the ratio in which noise has them,

    X = e + (|e| / |(I - P) n|) P n,

so that X / |X| is white noise of all L M numbers, whatever the system, the sources and sigma^2: its measures
have one law for each size (`_law`). One more number, of what only a source leaves, is its largest share in e
at a point of the grid. All in complex128.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.special import betainc, gammainc, gammaincc
from torch import Tensor

from risolve.inference.grid import Grid, grid_steering
from risolve.inference.likelihood import pieces
from risolve.inference.projection import (
    grouped_snapshots,
    least_squares,
    real_rows,
    responses,
    source_responses,
)
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.seeds import generator
from risolve.shapes import Powers, Sources

_DRAWS = 10_000
"""Of white noise, which say how extreme a measure is: `fits` is 1 / 9,000 at least without a noise power."""

_RARE = 0.1
"""Share of the false alarms that is left to a test whose probability is a bound."""

_CANDIDATES = 16
"""Points of the grid, of largest match, at which one more source is tried."""

_OWN = 1e-3
"""Share of |b|^2 outside the span of the sources below which a place has no direction of its own."""

_DIRECTION = 1e-10
"""Of the energy of the derivatives: below it what is outside the responses is rounding."""

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
    """J, e with the rank of I - P in real numbers, and X with the energies that the sources explain."""

    misfit: Powers
    residual: Complex[Tensor, "scene snapshot antenna"]
    dimensions: Powers
    white: Complex[Tensor, "scene snapshot antenna"]
    explained: Float[Tensor, "scene snapshot"]
    basis: Complex[Tensor, "scene #group row source"]


def goodness(observation: Observation, sources: Sources, grid: Grid) -> Goodness:
    """Fit of NaN-padded sources; grid: where one more may be.

    The probability of white noise is that of the most extreme of five measures of X [snapshot, antenna], each
    over its deviation in white noise, on a logarithmic scale:

        sphericity      tr (X^H X)^2 / (sum E)^2
        antennas        sum_m E_m^2 / (sum E)^2,   E_m the energy of an antenna
        snapshots       sum_l E_l^2 / (sum E)^2
        following       sum_l c_l E_l / sum E,   c_l by the rank of what the sources explain of snapshot l
        static          |sum_l x_l|^2 / (L sum E),   what is the same in all snapshots

    and of the largest share that a source at a point of the grid takes of e, a union bound over the points,
    which has a tenth of the false alarms. Of `independent` sources under one code only the first two measures
    are taken: its snapshots are known by their covariance. With a noise power the energy of e, which is
    independent of its direction, is compared too: too much of it, or less than the best of all places makes.

    Valid at the maximum of the likelihood. A stated noise power is taken as exact.

    References:
        John, "Some optimal multivariate tests", Biometrika 58 (1971): sphericity; Dwass, "Modified
        randomization tests for nonparametric hypotheses", Ann. Math. Statist. 28 (1957): the law by draws.
    """
    explained, fits = torch.full((2, observation.n_scenes), torch.nan, dtype=torch.float64)
    wave = grid_steering(grid, observation.array)
    present = ~sources[..., 0].isnan()
    counts = present.sum(-1)
    for count in sorted(set(counts.tolist())):
        scenes = torch.nonzero(counts == count).flatten()
        slots = torch.nonzero(present[scenes])[:, 1].reshape(len(scenes), count)
        placed = sources[scenes[:, None], slots].double()
        part = observation.select(scenes)
        n_columns = max(4 * count, _CANDIDATES, grid.n_points // observation.n_elements)
        for piece in pieces(part, n_columns):
            own = part.select(piece).to(torch.complex128)
            explained[scenes[piece]], fits[scenes[piece]] = _of_count(own, placed[piece], grid, wave)
    return Goodness(explained, fits)


def _of_count(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    grid: Grid,
    wave: Complex[Tensor, "element point"],
) -> Goodness:
    """Of scenes that have one number of sources."""
    codes = observation.codes
    is_coded = observation.source_model == "constant" or not bool((codes == codes[:, :1]).all())
    left = _left(observation, sources, is_coded)
    energy, residual = _energy(observation.snapshots), _energy(left.residual)
    dimensions = left.dimensions / 2.0
    white = _least(_of_white_noise(left, is_coded), _of_one_more(observation, left, is_coded, grid, wave))
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
    y = grouped_snapshots(observation)
    n_groups, n_rows = y.shape[1:]
    shape = observation.snapshots.shape
    if sources.shape[1] == 0:
        seen, energy = observation.snapshots, _energy(y)
        dimensions = torch.full_like(energy, 2.0 * n_groups * n_rows)
        return _Left(energy, seen, dimensions, seen, energy.new_zeros(shape[:2]), y[:, :1, :, None][..., :0])
    first = observation
    if not is_coded:
        first = replace(observation, snapshots=observation.snapshots[:, :1], codes=observation.codes[:, :1])
    by_source = source_responses(first, sources)
    columns, derivatives = by_source[..., 0, :], by_source[..., 1:, :][..., observation.limits.is_free, :]
    basis = torch.linalg.qr(columns.mT).Q
    amplitudes, misfit, _ = least_squares(columns.expand(-1, n_groups, -1, -1), y)

    slopes = (derivatives * amplitudes[..., None, None]).flatten(2, 3)
    outside = real_rows(_beside(basis, slopes).permute(0, 2, 1, 3))
    values, vectors = torch.linalg.eigh(outside @ outside.mT)
    is_direction = values > _DIRECTION * squared_modulus(slopes).sum((1, 2, 3))[:, None]
    lengths = torch.where(is_direction, values, torch.inf).sqrt()
    tangents = vectors.mT @ outside / lengths[..., None]

    def residual(values: Complex[Tensor, "scene group row"]) -> Complex[Tensor, "scene group row"]:
        real = torch.view_as_real(_beside(basis, values[:, :, None])[:, :, 0].contiguous()).flatten(1)
        along = (tangents.mT @ (tangents @ real[..., None]))[..., 0]
        return torch.view_as_complex((real - along).unflatten(1, (n_groups, n_rows, 2)))

    # in the phase of the snapshots, which then changes nothing
    n = torch.polar(torch.ones((), dtype=torch.float64), y[:, :1, :1].angle())
    n = n * _noise(*shape[1:]).reshape(n_groups, n_rows)
    e = residual(y)
    left_of_noise = residual(n)
    ratio = (_energy(e) / _energy(left_of_noise)).sqrt()[:, None, None]
    taken = n_groups * sources.shape[1]
    return _Left(
        misfit=_energy(misfit),
        residual=e.reshape(shape),
        dimensions=(2 * (n_groups * n_rows - taken) - is_direction.sum(1)).double(),
        white=(e + ratio * (n - left_of_noise)).reshape(shape),
        explained=squared_modulus((y - misfit).reshape(shape)).sum(2),
        basis=basis,
    )


def _beside(
    basis: Complex[Tensor, "scene #group row source"], values: Complex[Tensor, "scene group column row"]
) -> Complex[Tensor, "scene group column row"]:
    """Rows without what the columns of an orthonormal basis span."""
    beside: Tensor = values - (values @ basis.conj()) @ basis.mT
    return beside


def _of_white_noise(left: _Left, is_coded: bool) -> Powers:
    """Probability of the most extreme measure of X."""
    L, M = left.white.shape[1:]
    energies = squared_modulus(left.white)
    gram = left.white @ left.white.mH if L < M else left.white.mH @ left.white
    ranked = energies.sum(2).gather(1, left.explained.argsort(dim=1, stable=True))
    static = squared_modulus(left.white.sum(1)).sum(1) / L
    measures = _measures(_energy(gram), energies.sum(1), ranked, static)
    law = _law(L, M, is_coded)
    reached = _DRAWS - torch.searchsorted(law.extremes, law.extreme(measures))
    return (1.0 + reached.double()) / (1.0 + _DRAWS)


def _measures(
    squares: Powers,
    antennas: Float[Tensor, "scene antenna"],
    snapshots: Float[Tensor, "scene snapshot"],
    static: Powers,
) -> Float[Tensor, "scene 5"]:
    """Logarithms of the measures, of tr (X^H X)^2 and the energies, those of the snapshots in their order."""
    # expected order statistics of exponential variables
    n = snapshots.shape[1]
    scores = (1.0 / torch.arange(n, 0, -1, dtype=torch.float64)).cumsum(0)
    total = antennas.sum(1)
    whole = snapshots.sum(1)
    measures = (
        squares / total.square(),
        antennas.square().sum(1) / total.square(),
        snapshots.square().sum(1) / whole.square(),
        (snapshots @ scores) / whole,
        static / total,
    )
    return torch.stack(measures, -1).log()


class _Law(NamedTuple):
    """Means of measures in white noise, infinite of those that say nothing; deviations; extremes in order."""

    mean: Float[Tensor, " measure"]
    deviation: Float[Tensor, " measure"]
    extremes: Float[Tensor, " draw"]

    def extreme(self, measures: Float[Tensor, "scene measure"]) -> Powers:
        return ((measures - self.mean) / self.deviation).amax(1)


@lru_cache(maxsize=64)
def _law(n_snapshots: int, n_antennas: int, is_coded: bool) -> _Law:
    random = generator(0, "goodness", 1)
    L, M = n_snapshots, n_antennas
    p, n = min(L, M), max(L, M)
    # tr (X^H X)^2 by the bidiagonal form of a complex Gaussian matrix
    diagonal = random.standard_gamma(np.arange(n, n - p, -1.0), (_DRAWS, p))
    beside = random.standard_gamma(np.arange(p - 1, 0, -1.0), (_DRAWS, p - 1))
    own = diagonal + np.pad(beside, ((0, 0), (1, 0)))
    squares = (own**2).sum(1) + 2.0 * (diagonal[:, :-1] * beside).sum(1)
    antennas = random.standard_gamma(L, (_DRAWS, M))
    antennas *= (own.sum(1) / antennas.sum(1))[:, None]
    own_snapshots = L if is_coded else 1
    snapshots = random.standard_gamma(M, (_DRAWS, own_snapshots))
    static = random.standard_gamma(M, _DRAWS)
    static *= antennas.sum(1) / (static + random.standard_gamma((own_snapshots - 1) * M, _DRAWS))
    drawn = (torch.from_numpy(values) for values in (squares, antennas, snapshots, static))
    measures = _measures(*drawn)
    mean, deviation = measures.mean(0), measures.std(0)
    says = deviation > 1e-9
    law = _Law(torch.where(says, mean, torch.inf), torch.where(says, deviation, 1.0), measures[:, 0])
    return law._replace(extremes=law.extreme(measures).sort().values)


@lru_cache(maxsize=64)
def _noise(n_snapshots: int, n_antennas: int) -> Complex[Tensor, "snapshot antenna"]:
    """The draw of white noise of a size."""
    drawn = generator(0, "goodness", 0).standard_normal((n_snapshots, n_antennas, 2))
    return torch.view_as_complex(torch.from_numpy(drawn))


def _of_one_more(
    observation: Observation,
    left: _Left,
    is_coded: bool,
    grid: Grid,
    wave: Complex[Tensor, "element point"],
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
    matched = squared_modulus(back.to(wave.dtype) @ wave.conj()).sum(1)
    point = matched.masked_fill(~grid.inside, -1.0).topk(min(_CANDIDATES, grid.n_points)).indices
    columns = responses(seen, observation.array.steering(grid.sources[point]))
    free = squared_modulus(_beside(left.basis, columns)).sum(-1)
    rows = grouped_snapshots(replace(seen, snapshots=e))
    match = squared_modulus((columns.conj() @ rows[..., None])[..., 0])
    is_own = free > _OWN * squared_modulus(columns).sum(-1)
    share = torch.where(is_own, match / free, 0.0).sum(1).amax(1) / _energy(e)
    others = left.dimensions / 2.0 - n_groups
    chance = betainc(others.clamp_min(1e-9).numpy(), n_groups, (1.0 - share).clamp(0.0, 1.0).numpy())
    return torch.where(others > 0.0, torch.from_numpy(chance) * grid.n_points, 1.0)


def _energy(values: Complex[Tensor, "scene row column"]) -> Powers:
    return squared_modulus(values).sum((1, 2))
