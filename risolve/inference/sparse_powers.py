"""Sparse covariance fit on the responses of a grid: powers of its points.

    S_g = sum_i p_i b_gi b_gi^H + sigma^2 I
    p_i <- p_i num_i / den_i,   num_i = sum_g |b_gi^H S_g^-1 y_g|^2,   den_i = sum_g b_gi^H S_g^-1 b_gi

Groups g as in `projection`. complex64, on unit scale.

Where a group has more rows than the surface has elements (`constant` sources), all b_gi lie in the span of
the stacked B_g = Q T. Q^H b_gi and Q^H y_g then take their place; outside the span S_g is sigma^2 I, which
no step sees.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.inference.detection import Detector, explained, gains
from risolve.inference.projection import grouped_snapshots
from risolve.inference.sparse_fit import loaded_factor
from risolve.modulus import squared_modulus
from risolve.physics.observation import sensing
from risolve.shapes import Powers

_FULL = 1
"""Iterations over the whole grid, after which dead points leave it."""

KEPT = 200
"""Points of greatest power that go on: far more than there are sources."""


class _Rows(NamedTuple):
    """b_gi and y_g in coordinates of the span of B_g, and the rows that a group has without them."""

    columns: Complex[Tensor, "scene group point row"]
    received: Complex[Tensor, "scene group row"]
    n_rows: int


class _Steps(NamedTuple):
    """num / den and den of the points."""

    powers: Float[Tensor, "scene point"]
    denominator: Float[Tensor, "scene point"]


def sparse_powers(
    detector: Detector, n_sources: Int[Tensor, " scene"], n_iterations: int
) -> Float[Tensor, "scene point"]:
    """Powers after `n_iterations` fast steps from p = num / den^2 at equal powers, on the detector's scale.

    The fast step is not monotone; sqrt(num / den) is the monotone majorization-minimization step. After the
    first iteration the points beyond the 200 of greatest power are dead: they have power 0 and are left out.
    The noise power is the known one, or what `remaining_noise` says with the number of sources.

    References:
        Stoica, Babu and Li, "SPICE: a sparse covariance-based estimation method for array processing", IEEE
        Trans. Signal Process. 59 (2011), whose dictionary is the same for all snapshots.
    """
    columns, received, n_rows = _within_span(detector)
    known = detector.observation.noise_power
    noise = (remaining_noise(detector, n_sources) if known is None else known).float()
    n_scenes = detector.n_scenes
    signal = torch.maximum(1.0 - noise, 0.01 * noise)
    total = detector.energy.sum(-1).mean(1)
    equal = (signal * n_rows / total)[:, None].expand(-1, columns.shape[2])
    first = _steps(columns, received, equal, noise)
    powers = first.powers / first.denominator
    points = torch.arange(columns.shape[2]).expand(n_scenes, -1)
    for iteration in range(n_iterations):
        if iteration == _FULL and columns.shape[2] > KEPT:
            powers, points = powers.topk(KEPT, dim=1)
            taken = points[:, None, :, None].expand(-1, columns.shape[1], -1, columns.shape[3])
            columns = columns.gather(2, taken)
        powers = powers * _steps(columns, received, powers, noise).powers
    every = powers.new_zeros((n_scenes, detector.columns.shape[2]))
    return detector.on_grid(every.scatter(1, points, powers))


def remaining_noise(detector: Detector, n_sources: Int[Tensor, " scene"]) -> Powers:
    """Noise power that K grid points, the best taken one by one, leave of the snapshots.

        sigma^2 = J / (equations less amplitudes)

    Sources between grid points leave some of their power, so at high SNR it is too large, by as much as the
    grid is too coarse. A noise power that steps with p would tend to 0: with more points than equations the
    fit explains noise too.
    """
    observation = detector.observation
    n_numbers = observation.n_snapshots * observation.n_antennas
    amplitudes = observation.n_snapshots if observation.source_model == "independent" else 1
    sources = torch.empty((detector.n_scenes, 0, 3), dtype=torch.float64)
    noise = torch.ones(detector.n_scenes, dtype=torch.float64)
    for count in range(int(n_sources.max()) + 1 if detector.n_scenes else 0):
        taken = explained(detector, sources[:, None])
        left = taken.residual[:, 0] / (n_numbers - amplitudes * count)
        noise = torch.where(n_sources >= count, left, noise)
        best = gains(detector, taken)[:, 0].argmax(-1)
        sources = torch.cat((sources, detector.grid.sources[best][:, None]), dim=1)
    return noise.clamp_min(torch.finfo(torch.float32).tiny)


def _within_span(detector: Detector) -> _Rows:
    """The rows that see the surface; all of them where they are no more than its elements."""
    columns, observation = detector.columns, detector.observation
    received = grouped_snapshots(observation).to(torch.complex64)
    n_rows = columns.shape[-1]
    if n_rows <= observation.n_elements:
        return _Rows(columns, received, n_rows)
    B = sensing(observation.to(torch.complex64))
    span = torch.linalg.qr(B if observation.source_model == "independent" else B.flatten(1, 2)[:, None]).Q
    inside = (received[..., None, :] @ span.conj())[..., 0, :]
    return _Rows(columns @ span.conj(), inside, n_rows)


def _steps(
    columns: Complex[Tensor, "scene group point row"],
    received: Complex[Tensor, "scene group row"],
    powers: Float[Tensor, "scene point"],
    noise: Powers,
) -> _Steps:
    weighted = columns * powers[:, None, :, None]
    covariance = weighted.mT @ columns.conj()
    identity = torch.eye(columns.shape[-1], dtype=columns.dtype)
    factor = loaded_factor(covariance, noise[:, None, None, None])
    inverse = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    whitened = columns @ inverse.mT
    target = (inverse @ received[..., None])[..., 0]
    numerator = squared_modulus((whitened @ target.conj()[..., None])[..., 0]).sum(1)
    denominator = torch.linalg.vector_norm(torch.view_as_real(whitened).flatten(-2), dim=-1).square().sum(1)
    return _Steps(numerator / denominator, denominator)
