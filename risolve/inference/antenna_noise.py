"""Noise whose power is another one at every antenna, and unknown.

    y_l = B_l A s_l + n_l,   n_l ~ CN(0, diag(q_1 ... q_M))

At given places, with W = diag(q)^(-1/2), e = (I - P) W y and P onto the whitened responses of the sources and
their derivatives by the places, the powers solve

    (L - h_m + 1) q_m = q_m sum_l |e_lm|^2 + q,   q = (prod_m q_m)^(1/M),

h_m the trace of P over the numbers of antenna m: what sources take of its noise. Without the 1 and the q this
is the maximum of the restricted likelihood, of which amplitudes and places are no unknowns, and which may lie
at q_m = 0: an antenna that the sources explain without an error. The 1 and the q are an inverse gamma
prior, worth one snapshot of noise that is alike at all antennas; with it q_m >= q / (L + 1).

Places and powers take turns. Snapshots and channel behind W are those of the plain model with one unknown
power of noise. W is taken of determinant 1, so that log-likelihoods are those of the snapshots.

References:
    Pesavento and Gershman, "Maximum-likelihood direction-of-arrival estimation in the presence of unknown
    nonuniform noise", IEEE Trans. Signal Process. 49 (2001): places and powers in turn, and a bound in which
    neither costs the other; Patterson and Thompson, "Recovery of inter-block information when block sizes are
    unequal", Biometrika 58 (1971): the restricted likelihood.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.inference.condensing import condensed
from risolve.inference.likelihood import pieces
from risolve.inference.projection import grouped_snapshots, span_of
from risolve.inference.scaling import unit_scale
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation
from risolve.physics.reception import whitened
from risolve.shapes import Sources

Search: TypeAlias = Callable[[Observation, Int[Tensor, " scene"] | None, int], Sources]
"""(observation, numbers of sources or None to count them, most that are counted) -> places, NaN-padded."""

AntennaPowers: TypeAlias = Float[Tensor, "scene antenna"]

_PRIOR = 1.0
"""Snapshots that the prior is worth."""

_STEPS, _SAME = 50, 1e-3
"""Steps of the powers at given places at most, and their relative change at which they end."""

_TURNS, _SETTLED = 4, 0.05
"""Turns of places and powers beyond the number of sources, and the change of powers that is no change: a
fifth of their deviation at 16 snapshots.
"""


def of_equal_noise(
    observation: Observation, n_sources: Int[Tensor, " scene"] | None, most: int, search: Search
) -> Observation:
    """Snapshots and channel behind noise of one power, estimated with the sources that `search` finds.

    Sources are counted one more a turn: K of them are looked for beside powers that K - 1 of them leave, so
    that noise alone passes for no source because it is unequal. A scene ends where its count stays, and its
    powers nearly do.

    Notes:
        log q has the covariance of the inverse of sum_l |(I - P)_mj|^2, (m, j) of snapshot l: its deviation
        is 1 / sqrt(L - h_m) or more. Valid from 4 snapshots on.

    Raises:
        ValueError: as `unit_scale`.
    """
    unit = condensed(unit_scale(replace(observation, noise="equal")))
    places = torch.full((observation.n_scenes, 0, 3), torch.nan, dtype=torch.float64)
    powers = antenna_powers(unit, places, torch.ones(unit.n_scenes, unit.n_antennas, dtype=torch.float64))
    counts = torch.zeros(observation.n_scenes, dtype=torch.int64)
    active = torch.arange(observation.n_scenes)
    for turn in range(1, most + _TURNS):
        part, before = unit.select(active), powers[active]
        told = None if n_sources is None else n_sources[active]
        places = search(_behind(part, before), told, min(turn, most))
        found = (~places[..., 0].isnan()).sum(-1)
        powers[active] = antenna_powers(part, places, before)
        moved = (powers[active] / before).log().abs().amax(1) > _SETTLED
        going = moved | (found != counts[active])
        counts[active] = found
        active = active[going]
        if active.numel() == 0:
            break
    return _behind(replace(observation, noise="equal"), powers)


def antenna_powers(observation: Observation, sources: Sources, start: AntennaPowers) -> AntennaPowers:
    """q_m of NaN-padded sources, from a start; complex128. An antenna that receives nothing, and tells no
    power, is taken as one of the others where there are no sources.
    """
    present = ~sources[..., 0].isnan()
    counts = present.sum(-1)
    powers = start.clone()
    for count in sorted(set(counts.tolist())):
        scenes = torch.nonzero(counts == count).flatten()
        slots = torch.nonzero(present[scenes])[:, 1].reshape(len(scenes), count)
        placed = sources[scenes[:, None], slots].double()
        part = observation.select(scenes).to(torch.complex128)
        for piece in pieces(part, 4 * max(1, count)):
            powers[scenes[piece]] = _of_count(part.select(piece), placed[piece], start[scenes[piece]])
    return powers


def _of_count(
    observation: Observation, sources: Float[Tensor, "scene source 3"], powers: AntennaPowers
) -> AntennaPowers:
    """Of scenes that have one number of sources."""
    L, (n_rows, M) = observation.n_recorded, observation.snapshots.shape[1:]
    for _ in range(_STEPS):
        mean = _mean(powers)
        relative = powers / mean
        behind = _behind(observation, powers)
        left = grouped_snapshots(behind)
        free = torch.full_like(powers, L)
        if sources.shape[1]:
            span = span_of(behind, sources, left)
            left = span.left_of(left)
            of_amplitudes = squared_modulus(span.basis).sum(-1).reshape(-1, n_rows, M).sum(1)
            of_places = span.tangents.square().sum(1).reshape(-1, n_rows, M, 2).sum((1, 3)) / 2.0
            # rows that stand for more snapshots have one P for all
            free = free - L / n_rows * of_amplitudes - of_places
        energy = relative * squared_modulus(left).reshape(-1, n_rows, M).sum(1)
        energy = torch.where(energy > 0.0, energy, free * mean)
        changed = (energy + _PRIOR * mean) / (free + _PRIOR)
        is_same = bool(((changed / powers).log().abs() < _SAME).all())
        powers = changed
        if is_same:
            break
    return powers


def _behind(observation: Observation, powers: AntennaPowers) -> Observation:
    """y <- W y, H <- W H, det W = 1."""
    covariance = torch.diag_embed(powers / _mean(powers)).to(torch.complex128)
    snapshots, channel = whitened(observation.snapshots, observation.channel, covariance)
    return replace(observation, snapshots=snapshots, channel=channel)


def _mean(powers: AntennaPowers) -> Float[Tensor, "scene 1"]:
    """The geometric mean."""
    return powers.log().mean(1, keepdim=True).exp()
