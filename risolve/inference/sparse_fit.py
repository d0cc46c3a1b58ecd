"""Maps of received power over a search grid: the sparse covariance fit, by its fast fixed-point step.

    S_l = B_l A diag(p) A^H B_l^H + sigma^2 I
    num_g = sum_l |a_g^H B_l^H S_l^-1 y_l|^2,   den_g = sum_l a_g^H B_l^H S_l^-1 B_l a_g
    p_g <- p_g num_g / den_g

Sources that are `constant` over the snapshots see one stacked B = [B_1; ...; B_L] in place of the L matrices.
The grid enters only through its steering vectors. complex64 throughout, on snapshots scaled to unit mean
power.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.batched import Batched
from risolve.inference.mirror import MirrorFold, mirror_fold
from risolve.inference.scaling import unit_scale
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation, sensing, stacked_gram, stacked_match
from risolve.shapes import Powers

CHUNK_VALUES = 8_000_000
"""Complex numbers of the largest array of one piece of the batch: bounds the memory, 64 MB."""

_BLOCK = 8
"""Scenes worked on at once, so that what is between two formulas stays in the cache."""

_STRONGEST = 64
"""Points that S is made of where powers are given: those of some sources, spread over a few cells each."""

_LEAST_NOISE = 1e-5
"""Noise power, over the largest diagonal entry of S, that single precision tells from a singular S.

About 40 dB of SNR; 25 dB for `constant` sources after the start, whose N rows hold L M snapshots.
"""


@dataclass(frozen=True)
class _Scaled(Batched):
    """Snapshots, channel and codes scaled to a mean squared entry of 1, and the noise power on that scale."""

    observation: Observation
    noise: Powers
    start: Powers


class _Rows(NamedTuple):
    """B of each group, its parity parts, and y."""

    rows: Complex[Tensor, "#scene group row element"]
    folded: Complex[Tensor, "#scene group row folded"]
    received: Complex[Tensor, "scene group row"]


class _Matched(NamedTuple):
    """num, and the parity blocks of sum_l B_l^H S_l^-1 B_l, whose form by a_g is den."""

    numerator: Float[Tensor, "scene point"]
    form: Complex[Tensor, "scene folded folded"]


class _Quotient(NamedTuple):
    numerator: Float[Tensor, "scene point"]
    denominator: Float[Tensor, "scene point"]


def sparse_fit_maps(
    observation: Observation, steering: Complex[Tensor, "element point"], iterations: tuple[int, ...]
) -> Float[Tensor, "scene map point"]:
    """One map for each entry of `iterations`, float32.

    0: num / den at R = p_0 I, p_0 = max(mean |y|^2 - sigma^2, 0.01 sigma^2) / N. i > 0: the powers after i
    fast steps started at p = num / den^2, times N / mean |y|^2. The channel and the codes enter with a mean
    squared entry of 1. So both are dimensionless: a factor c of the snapshots with |c|^2 of the noise power,
    or any factor of the channel or of the codes, changes nothing. The step is fast and not monotone;
    sqrt(num / den) is the monotone majorization-minimization step.

    Notes:
        A noise power below 1e-5 of the largest diagonal entry of S enters as that much. Tables of the grid
        are made once a call, so a call should bring tens of scenes.

    References:
        Stoica, Babu, Li, "SPICE: a sparse covariance-based estimation method for array processing", IEEE
        Trans. Signal Process. 59 (2011), whose dictionary is the same for all snapshots.

    Raises:
        ValueError: a noise power that is not known, not positive or not finite; snapshots, a channel or codes
            that are all zero or not finite; steering vectors of another array.
    """
    if steering.shape[0] != observation.n_elements:
        raise ValueError(
            f"steering has one row an element, {observation.n_elements}; got {steering.shape[0]}"
        )
    if not iterations or min(iterations) < 0:
        raise ValueError(f"iterations are one or more counts >= 0, got {list(iterations)}")
    scaled = _scaled_scenes(observation)
    fold = mirror_fold(steering.to(torch.complex64), observation.array.elements)
    per_scene = max(
        observation.n_snapshots * observation.n_antennas * observation.n_elements,
        observation.n_elements**2,
        observation.n_snapshots * steering.shape[1],
    )
    size = max(1, CHUNK_VALUES // per_scene)
    pieces = []
    for first in range(0, observation.n_scenes, size):
        pieces.append(_maps(scaled.select(slice(first, first + size)), fold, iterations))
    return torch.cat(pieces)


def sparse_fit_quotient(
    observation: Observation,
    steering: Complex[Tensor, "element point"],
    fold: MirrorFold,
    powers: Float[Tensor, "scene point"],
) -> Float[Tensor, "scene point"]:
    """num / den at the 64 largest of given powers, float32: 1 on average where all is explained, more where
    power is missing.

        S_l = c B_l A diag(p) A^H B_l^H + sigma^2 I
        c = max(mean |y|^2 - sigma^2, 0.01 sigma^2) / mean (B_l A diag(p) A^H B_l^H)_mm

    c gives the snapshots their mean power, whatever the scale of the powers. The fold is that of the steering
    vectors.

    Raises:
        ValueError: as `sparse_fit_maps`; powers that see no antenna.
    """
    scaled = _scaled_scenes(observation)
    blocks = [scaled.select(slice(i, i + _BLOCK)) for i in range(0, len(scaled.noise), _BLOCK)]
    kept = powers.topk(min(_STRONGEST, powers.shape[1]), dim=-1)
    matched = []
    for block, largest, points in zip(
        blocks, kept.values.split(_BLOCK), kept.indices.split(_BLOCK), strict=True
    ):
        rows = _rows(block.observation, fold)
        response = rows.rows.flatten(1, 2) @ steering.mT[points].mT
        received = (torch.view_as_real(response).square().sum((1, 3)) * largest).sum(-1)
        if not bool((received > 0.0).all()):
            raise ValueError(f"powers reach the antennas in every scene, which receive {received.tolist()}")
        # the rows of `constant` sources are rotated, and may be fewer than the numbers received
        n_numbers = block.observation.n_snapshots * block.observation.n_antennas
        level = block.start * block.observation.n_elements * n_numbers / received
        response = response.unflatten(1, rows.rows.shape[1:3])
        seen = (response * largest[:, None, None]) @ response.mH
        matched.append(_matched(rows, level[:, None, None, None] * seen, block.noise, fold))
    quotient = _quotient(matched, fold)
    return quotient.numerator / quotient.denominator


def _scaled_scenes(observation: Observation) -> _Scaled:
    """y / rms(y), sigma^2 / mean |y|^2 and p_0 of every scene."""
    if observation.noise_power is None:
        raise ValueError("the sparse covariance fit needs the noise power; the observation has none")
    unit = unit_scale(observation)
    assert unit.noise_power is not None
    noise = unit.noise_power
    start = torch.maximum(1.0 - noise, 0.01 * noise) / observation.n_elements
    single = replace(unit, noise_power=None).to(torch.complex64)
    return _Scaled(single, noise.float(), start.float())


def _maps(scaled: _Scaled, fold: MirrorFold, iterations: tuple[int, ...]) -> Float[Tensor, "scene map point"]:
    blocks = [scaled.select(slice(i, i + _BLOCK)) for i in range(0, len(scaled.noise), _BLOCK)]
    first = _at_start(scaled.observation)
    quotient = _quotient([first(block, fold) for block in blocks], fold)
    maps = {0: quotient.numerator / quotient.denominator}
    if max(iterations) > 0:
        rows = [_rows(block.observation, fold) for block in blocks]
        powers = maps[0] / quotient.denominator
        for iteration in range(1, max(iterations) + 1):
            field_covariances = fold.covariance(powers).split(_BLOCK)
            matched = []
            for block, row, field_covariance in zip(blocks, rows, field_covariances, strict=True):
                covariance = row.folded @ field_covariance[:, None] @ row.folded.mH
                matched.append(_matched(row, covariance, block.noise, fold))
            quotient = _quotient(matched, fold)
            powers = powers * quotient.numerator / quotient.denominator
            maps[iteration] = powers * scaled.observation.n_elements
    return torch.stack([maps[i] for i in iterations], dim=1)


def _at_start(observation: Observation) -> Callable[[_Scaled, MirrorFold], _Matched]:
    """The cheapest way to num and den at R = p_0 I."""
    if observation.source_model == "constant":
        n_numbers = observation.n_snapshots * observation.n_antennas
        return _matched_stacked if n_numbers > observation.n_elements else _matched_white
    gains = squared_modulus(observation.codes)
    is_unit = bool((gains - 1.0).abs().max() < 1e-5)
    return _matched_shared if is_unit else _matched_white


def _quotient(blocks: list[_Matched], fold: MirrorFold) -> _Quotient:
    """num and den of all blocks; the forms of all scenes meet the tables of the grid at once."""
    numerator = torch.cat([block.numerator for block in blocks])
    return _Quotient(numerator, fold.forms(torch.cat([block.form for block in blocks])))


def _matched_shared(scaled: _Scaled, fold: MirrorFold) -> _Matched:
    """At R = p_0 I with codes of unit modulus one M x M factorization a scene serves all snapshots.

    S = p_0 H H^H + sigma^2 I,   sum_l B_l^H S^-1 B_l = (H^H S^-1 H) o (C^H C)
    """
    channel, codes = scaled.observation.channel, scaled.observation.codes
    factor = loaded_factor(scaled.start[:, None, None] * (channel @ channel.mH), scaled.noise[:, None, None])
    whitened = torch.linalg.solve_triangular(factor, channel.expand(len(factor), -1, -1), upper=False)
    received = torch.linalg.solve_triangular(factor, scaled.observation.snapshots.mT, upper=False)
    fields = (received.mT @ whitened.conj()) * codes.conj()
    spread, spread_codes = fold.spread(whitened), codes[..., fold.elements.reshape(-1)]
    form = (spread.mH @ spread) * (spread_codes.mH @ spread_codes)
    folded = fold.transform(fold.transform(form).mT).mT
    return _Matched(fold.powers(fold.columns(fields)), folded)


def _matched_stacked(scaled: _Scaled, fold: MirrorFold) -> _Matched:
    """At R = p_0 I with one stacked B of more rows than elements: one N x N factorization of its Gram matrix.

    With G = B^H B and T = p_0 G + sigma^2 I the push-through identity gives

        B^H S^-1 y = T^-1 B^H y,   B^H S^-1 B = T^-1 G = (I - sigma^2 T^-1) / p_0

    The difference costs two digits at most, since p_0 N >= 0.01 sigma^2.
    """
    observation = scaled.observation
    covariance = scaled.start[:, None, None] * stacked_gram(observation)
    noise = _resolved(scaled.noise[:, None, None], covariance)
    factor = loaded_factor(covariance, noise)
    fields = torch.cholesky_solve(stacked_match(observation)[..., None], factor)
    identity = torch.eye(observation.n_elements, dtype=factor.dtype)
    inverse = torch.cholesky_inverse(factor)
    form = (identity - noise * inverse) / scaled.start[:, None, None]
    folded = fold.columns(fold.columns(form).mT).mT
    return _Matched(fold.powers(fold.columns(fields.mT)), folded)


def _matched_white(scaled: _Scaled, fold: MirrorFold) -> _Matched:
    """At R = p_0 I, with a factorization of each S_l = p_0 B_l B_l^H + sigma^2 I."""
    rows = _rows(scaled.observation, fold)
    covariance = scaled.start[:, None, None, None] * (rows.rows @ rows.rows.mH)
    return _matched(rows, covariance, scaled.noise, fold)


def _matched(
    rows: _Rows, covariance: Complex[Tensor, "scene group row row"], noise: Powers, fold: MirrorFold
) -> _Matched:
    """For any signal covariance B_l R B_l^H, with one factorization of S_l a group of rows."""
    factor = loaded_factor(covariance, noise[:, None, None, None])
    folded = rows.folded.expand(len(factor), -1, -1, -1)
    whitened = torch.linalg.solve_triangular(factor, folded, upper=False)
    target = torch.linalg.solve_triangular(factor, rows.received[..., None], upper=False)
    fields = (whitened.mH @ target)[..., 0]
    stacked = whitened.flatten(1, 2)
    return _Matched(fold.powers(fields), stacked.mH @ stacked)


def _resolved(
    noise: Float[Tensor, "..."], covariance: Complex[Tensor, "*group row row"]
) -> Float[Tensor, "*group 1 1"]:
    """sigma^2, or the least that single precision tells from a singular S = covariance + sigma^2 I."""
    largest = covariance.diagonal(dim1=-2, dim2=-1).real.amax(-1)[..., None, None]
    return torch.maximum(noise, _LEAST_NOISE * largest)


def loaded_factor(
    covariance: Complex[Tensor, "*group row row"], noise: Float[Tensor, "..."]
) -> Complex[Tensor, "*group row row"]:
    """Cholesky factor of S = covariance + sigma^2 I, with no less noise than single precision needs."""
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor: Tensor = torch.linalg.cholesky(covariance + _resolved(noise, covariance) * identity)
    return factor


def _rows(observation: Observation, fold: MirrorFold) -> _Rows:
    """Sensing rows that share one S, and what they receive.

    `independent`: one group a snapshot. `constant`: all L M rows are one group, rotated by the QR
    factorization B = Q B' onto the N rows B' that see the surface: Q^H y has all that B^H S^-1 y asks of y.
    """
    rows, received = sensing(observation), observation.snapshots
    if observation.source_model == "constant":
        rows, received = rows.flatten(1, 2)[:, None], received.flatten(1)[:, None]
        if rows.shape[2] > rows.shape[3]:
            rotation, rows = torch.linalg.qr(rows)
            received = (rotation.mH @ received[..., None])[..., 0]
    return _Rows(rows, fold.columns(rows), received)
