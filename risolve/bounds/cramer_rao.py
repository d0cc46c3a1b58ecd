"""Cramer-Rao bounds on azimuth, elevation and range of several sources, everything in complex128.

Three bounds, told apart by what else is unknown. With G_l = B_l A, D_l = B_l dA and sigma^2 the noise power:

    conditional_bound     the amplitudes of every snapshot
    constant_bound        one amplitude a source, the same in all snapshots
    unconditional_bound   the powers of Gaussian sources, and the noise power

Each inverts the Fisher information F of all its unknowns jointly; positions are (azimuth, elevation, inverse
range), stacked source by source, those that the limits of the observation leave unknown. All scenes of a call
have the same number of sources.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.physics.geometry import position_jacobian
from risolve.physics.limits import Limits
from risolve.physics.observation import Observation, respond
from risolve.shapes import Powers

CHUNK_BYTES = 2**26
"""Working memory of one chunk of scenes."""

_SINGULAR = 1e-12
"""Smallest eigenvalue of the Fisher information, scaled by the energy of its unknowns, above rounding."""


@dataclass(frozen=True)
class Bound:
    """Lower bound C = F^-1 on the error covariance of (azimuth, elevation, inverse range), source by source.

    covariance in rad and 1/m, 0 of a coordinate that is known; sources are those at which the bound was
    computed.
    """

    covariance: Float[Tensor, "scene parameter parameter"]
    sources: Float[Tensor, "scene source 3"]

    def standard_deviations(self) -> Float[Tensor, "scene source 3"]:
        """sqrt(C_ii) of azimuth (rad), elevation (rad) and inverse range w (1/m)."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sqrt().reshape(self.sources.shape)

    def range_deviation(self) -> Float[Tensor, "scene source"]:
        """sigma_r = sigma_w / w^2 (m); infinite for a plane wave, w = 0."""
        return self.standard_deviations()[..., 2] / self.sources[..., 2].square()

    def position_covariance(self) -> Float[Tensor, "scene source 3 3"]:
        """C_p = J C J^T (m^2) of each source, J = dp / d(azimuth, elevation, inverse range), for w > 0."""
        n_scenes, n_sources = self.sources.shape[:2]
        blocks = self.covariance.reshape(n_scenes, n_sources, 3, n_sources, 3)
        own = blocks.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        by_range = position_jacobian(self.sources)
        # dr/dw = -1 / w^2
        by_inverse_range = -by_range[..., 2:] / self.sources[..., 2, None, None].square()
        jacobian = torch.cat((by_range[..., :2], by_inverse_range), dim=-1)
        return jacobian @ own @ jacobian.mT

    def position_deviation(self) -> Float[Tensor, "scene source"]:
        """sqrt(tr C_p) (m), root mean square distance from the true position; infinite for a plane wave."""
        squared = self.position_covariance().diagonal(dim1=-2, dim2=-1).sum(-1)
        return torch.where(self.sources[..., 2] > 0.0, squared, torch.inf).sqrt()


class _Responses(NamedTuple):
    """A chunk of scenes with G_l and D_l = [B_l da_k/dx_i], column 3 k + i."""

    scenes: slice
    columns: Complex[Tensor, "scene snapshot antenna source"]
    slopes: Complex[Tensor, "scene snapshot antenna parameter"]


class _Projected(NamedTuple):
    """What is left for the positions beside free amplitudes, at sigma^2 = 2.

    information: sum_l Re{ V_l^H (I - P_{G_l}) V_l }; energy: the diagonal of sum_l V_l^H V_l; independence:
    squared ratio of the extreme pivots of G_l, 0 where its columns depend on each other.
    """

    information: Float[Tensor, "scene parameter parameter"]
    energy: Float[Tensor, "scene parameter"]
    independence: Float[Tensor, " scene"]


def conditional_bound(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    amplitudes: Complex[Tensor, "scene snapshot source"],
    noise_power: Powers,
) -> Bound:
    """Bound with unknown azimuth, elevation, range, and amplitude s_lk in every snapshot, of every source.

        F = (2 / sigma^2) sum_l Re{ V_l^H (I - P_{G_l}) V_l },   V_l = [D_lki s_lk],   P_G = G (G^H G)^-1 G^H

    The noise power sigma^2 is taken as known; not knowing it changes nothing, for it is decoupled from the
    positions. Valid for fewer sources than antennas, K < M.

    Raises:
        ValueError: no source, K >= M, sizes that disagree, values that are not finite, a noise power that is
            not positive, or a singular F, naming the scenes.

    Stoica, Nehorai, "MUSIC, maximum likelihood, and Cramer-Rao bound", IEEE Trans. Acoust., Speech, Signal
    Process. 37 (1989), Theorem 4.1, for a dictionary that changes with the snapshot.
    """
    _check(observation, sources, amplitudes, noise_power)
    if amplitudes.shape[1] != observation.n_snapshots:
        raise ValueError(
            f"the conditional bound takes one row of amplitudes a snapshot, L = {observation.n_snapshots}; "
            f"got {amplitudes.shape[1]}"
        )
    if sources.shape[1] >= observation.n_antennas:
        raise ValueError(
            "free amplitudes leave the positions M - K > 0 dimensions of every snapshot; got M = "
            f"{observation.n_antennas} antennas and K = {sources.shape[1]} sources"
        )
    chunks = []
    for chunk in _responses(observation, sources):
        waves = amplitudes[chunk.scenes].repeat_interleave(3, dim=-1)[:, :, None]
        chunks.append(_projected(chunk.columns, chunk.slopes * waves))
    return _positions_alone(chunks, sources, noise_power, observation.limits)


def constant_bound(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    amplitudes: Complex[Tensor, "scene source"],
    noise_power: Powers,
) -> Bound:
    """Bound with unknown azimuth, elevation, range, and one unknown amplitude s_k, of every source.

        F = (2 / sigma^2) Re{ V^H (I - P_G) V },   G = [G_1; ...; G_L],   V = [D_1; ...; D_L] diag(s)

    Of equal gains G is one column, the sum of those of all sources, and the entries of s are the same. The
    noise power is taken as known, as in `conditional_bound`. Valid for fewer amplitudes than equations,
    K < L M.

    Raises:
        ValueError: no source, K >= L M, amplitudes of equal gains that differ, sizes that disagree, values
            that are not finite, a noise power that is not positive, or a singular F, naming the scenes.

    The theorem of `conditional_bound`, for one snapshot of the stacked dictionary.
    """
    _check(observation, sources, amplitudes, noise_power)
    n_equations = observation.n_snapshots * observation.n_antennas
    if observation.n_amplitudes(sources.shape[1]) >= n_equations:
        raise ValueError(
            "free amplitudes leave the positions L M - K > 0 dimensions of the stacked snapshots; got L M = "
            f"{n_equations} equations and K = {sources.shape[1]} sources"
        )
    if observation.gains == "equal" and not torch.equal(amplitudes, amplitudes[:, :1].expand_as(amplitudes)):
        differ = float((amplitudes - amplitudes[:, :1]).abs().max())
        raise ValueError(
            f"gains = equal: one amplitude of all sources of a scene; got a difference of {differ:g}"
        )
    chunks = []
    for chunk in _responses(observation, sources):
        waves = amplitudes[chunk.scenes].repeat_interleave(3, dim=-1)[:, None, None]
        columns = chunk.columns
        if observation.gains == "equal":
            columns = columns.sum(-1, keepdim=True)
        stacked = (columns.flatten(1, 2)[:, None], (chunk.slopes * waves).flatten(1, 2)[:, None])
        chunks.append(_projected(*stacked))
    return _positions_alone(chunks, sources, noise_power, observation.limits)


def unconditional_bound(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    powers: Float[Tensor, "scene source"],
    noise_power: Powers,
) -> Bound:
    """Bound with unknown azimuth, elevation, range and power p_k of every source, and unknown noise power.

        F_ij = sum_l tr(R_l^-1 dR_l/di R_l^-1 dR_l/dj),   R_l = G_l diag(p) G_l^H + sigma^2 I

    The amplitudes are CN(0, p_k), independent between sources and snapshots; F covers all 4 K + 1 unknowns,
    the bound is the block of its inverse that belongs to the positions.

    Raises:
        ValueError: no source, sizes that disagree, values that are not finite, a noise power that is not
            positive, or a singular F (a power of zero makes it so), naming the scenes.

    Stoica, Moses, "Spectral Analysis of Signals", 2005, eq. (B.3.25) (Slepian, Bangs), for data of mean zero.
    """
    _check(observation, sources, powers, noise_power)
    powers, noise_power = powers.double(), noise_power.double()
    chunks = []
    for chunk in _responses(observation, sources):
        power = powers[chunk.scenes, None, None]
        identity = torch.eye(observation.n_antennas, dtype=torch.complex128, device=powers.device)
        noise = noise_power[chunk.scenes, None, None, None] * identity
        root = torch.linalg.cholesky((chunk.columns * power) @ chunk.columns.mH + noise)
        chunks.append(_traces_of_products(_whitened_derivatives(root, chunk.columns, chunk.slopes, power)))
    joint = torch.cat(chunks)
    return _bound(joint, joint.diagonal(dim1=-2, dim2=-1), sources, observation.limits)


def _check(observation: Observation, sources: Tensor, amplitudes: Tensor, noise_power: Tensor) -> None:
    """There are sources in every scene, and everything is finite."""
    if sources.shape[0] != observation.n_scenes:
        raise ValueError(
            f"a bound takes the sources of every scene, {observation.n_scenes}; got {sources.shape[0]}"
        )
    if sources.shape[1] == 0:
        raise ValueError("a bound is one of sources; got K = 0, which has none")
    usable = torch.isfinite(sources).all((1, 2)) & torch.isfinite(amplitudes).flatten(1).all(1)
    if not bool(usable.all()):
        raise ValueError(
            "all scenes of a call hold the same number of sources, without empty slots: group scenes by K; "
            "sources or amplitudes are not finite in scenes "
            f"{torch.nonzero(~usable).flatten().tolist()} of this batch"
        )
    noisy = torch.isfinite(noise_power) & (noise_power > 0.0)
    if not bool(noisy.all()):
        raise ValueError(
            f"the noise power is positive and finite; scenes {torch.nonzero(~noisy).flatten().tolist()} "
            f"of this batch have {noise_power[~noisy].tolist()}"
        )


def _responses(observation: Observation, sources: Float[Tensor, "scene source 3"]) -> Iterator[_Responses]:
    """Responses to the sources and to their derivatives, in chunks of scenes of bounded memory."""
    n_scenes, n_sources = sources.shape[:2]
    # coded columns, as made and reordered, and the covariance derivatives of the unconditional bound
    entries = 8 * n_sources * observation.n_elements + 4 * (4 * n_sources + 1) * observation.n_antennas**2
    size = max(1, CHUNK_BYTES // (16 * observation.n_snapshots * entries))
    for first in range(0, n_scenes, size):
        scenes = slice(first, min(first + size, n_scenes))
        wave = observation.array.steering_derivatives(sources[scenes].double())
        field = torch.cat((wave.steering, wave.by_source.flatten(1, 2)), dim=1).mT
        part = observation.select(scenes).to(torch.complex128, sources.device)
        received = respond(part, field)
        yield _Responses(scenes, received[..., :n_sources], received[..., n_sources:])


def _projected(
    columns: Complex[Tensor, "scene block row source"], slopes: Complex[Tensor, "scene block row parameter"]
) -> _Projected:
    """Information as the Gram matrix of the projected columns, G = Q R, P_G = Q Q^H.

    Columns of G that coincide leave Q undetermined, and R with a zero on its diagonal.
    """
    basis, triangle = torch.linalg.qr(columns)
    pivots = triangle.diagonal(dim1=-2, dim2=-1).abs().flatten(1)
    orthogonal = torch.view_as_real(slopes - basis @ (basis.mH @ slopes))
    stacked = orthogonal.permute(0, 1, 2, 4, 3).flatten(1, 3)
    energy = torch.view_as_real(slopes).square().sum((1, 2, 4))
    return _Projected(stacked.mT @ stacked, energy, (pivots.amin(1) / pivots.amax(1)).square())


def _whitened_derivatives(
    root: Complex[Tensor, "scene snapshot antenna antenna"],
    columns: Complex[Tensor, "scene snapshot antenna source"],
    slopes: Complex[Tensor, "scene snapshot antenna parameter"],
    power: Float[Tensor, "scene 1 1 source"],
) -> Complex[Tensor, "scene snapshot unknown antenna antenna"]:
    """E_i = C^-1 dR/di C^-H, R = C C^H, for positions, powers and noise power, in this order.

    dR/dx_ki = p_k (d_ki g_k^H + g_k d_ki^H),   dR/dp_k = g_k g_k^H,   dR/dsigma^2 = I
    """
    g = torch.linalg.solve_triangular(root, columns, upper=False).mT
    d = torch.linalg.solve_triangular(root, slopes, upper=False).mT
    identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    inverse = torch.linalg.solve_triangular(root, identity, upper=False)
    outer = d[..., :, None] * g.repeat_interleave(3, dim=2).conj()[..., None, :]
    by_position = power[:, 0, 0].repeat_interleave(3, dim=-1)[:, None, :, None, None] * (outer + outer.mH)
    by_power = g[..., :, None] * g.conj()[..., None, :]
    by_noise = (inverse @ inverse.mH)[:, :, None]
    return torch.cat((by_position, by_power, by_noise), dim=2)


def _traces_of_products(
    whitened: Complex[Tensor, "scene snapshot unknown antenna antenna"],
) -> Float[Tensor, "scene unknown unknown"]:
    """sum_l tr(E_li E_lj) of Hermitian matrices, the Gram matrix of their real and imaginary entries."""
    entries = torch.view_as_real(whitened).transpose(1, 2).flatten(2)
    return entries @ entries.mT


def _refuse(smallest: Float[Tensor, " scene"], enough: Sequence[str] = ()) -> None:
    """Stop at scenes whose smallest scaled eigenvalue is not above `_SINGULAR`; enough: see `_enough`."""
    singular = ~(smallest > _SINGULAR)
    if bool(singular.any()):
        helps = " or ".join(f'known=["{name}"]' for name in enough)
        raise ValueError(
            "the Fisher information is regular where sources are distinct and the measurement resolves all "
            "coordinates that are not known; its smallest eigenvalue, relative to the energy of the "
            f"unknowns, is {smallest[singular].tolist()} in scenes "
            f"{torch.nonzero(singular).flatten().tolist()} of this batch, not above {_SINGULAR:g}"
            f"{helps and f'; it is regular with {helps}'}"
        )


def _enough(
    scaled: Float[Tensor, "scene unknown unknown"], unknown: Int[Tensor, " unknown"], n_parameters: int
) -> list[str]:
    """Coordinates of which each, known of all sources, leaves the information regular."""
    enough = []
    for axis, name in enumerate(("azimuth", "elevation", "range")):
        left = torch.nonzero((unknown >= n_parameters) | (unknown % 3 != axis)).flatten()
        rest = scaled[:, left[:, None], left]
        if left.numel() and bool((torch.linalg.eigvalsh(rest)[:, 0] > _SINGULAR).all()):
            enough.append(name)
    return enough


def _positions_alone(
    chunks: list[_Projected], sources: Float[Tensor, "scene source 3"], noise_power: Powers, limits: Limits
) -> Bound:
    """C = (2 / sigma^2 sum_l Re{ V_l^H (I - P_{G_l}) V_l })^-1 of all chunks."""
    information, energy, independence = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    _refuse(independence)
    weight = 2.0 / noise_power.double()
    return _bound(weight[:, None, None] * information, weight[:, None] * energy, sources, limits)


def _bound(
    information: Float[Tensor, "scene unknown unknown"],
    energy: Float[Tensor, "scene unknown"],
    sources: Float[Tensor, "scene source 3"],
    limits: Limits,
) -> Bound:
    """Block of F^-1 that belongs to the positions; F is inverted as F_ij / sqrt(energy_i energy_j)."""
    n_parameters = 3 * sources.shape[1]
    places = torch.nonzero(limits.is_free.repeat(sources.shape[1])).flatten()
    unknown = torch.cat((places, torch.arange(n_parameters, energy.shape[1])))
    scale = energy[:, unknown].sqrt()
    scales = scale[:, :, None] * scale[:, None, :]
    scaled = (information[:, unknown[:, None], unknown] / scales).nan_to_num(nan=0.0)
    if unknown.numel():
        smallest = torch.linalg.eigvalsh(scaled)[:, 0]
        singular = scaled[~(smallest > _SINGULAR)]
        _refuse(smallest, _enough(singular, unknown, n_parameters) if len(singular) else [])
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(scaled)) / scales
    covariance = information.new_zeros((len(energy), n_parameters, n_parameters))
    covariance[:, places[:, None], places] = inverse[:, : len(places), : len(places)]
    return Bound(covariance, sources.double())
