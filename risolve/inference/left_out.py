"""Places for one source beside the others: what each point of a grid explains of what they leave.

    Delta_k(x, p) = sum_g [ p num_g / (1 + p den_g) - log(1 + p den_g) ]
    num_g = |b_g(x)^H R_-k,g^-1 y_g|^2,   den_g = b_g(x)^H R_-k,g^-1 b_g(x)

is the decrease of V (`inference.unconditional`) by a source of power p at x, where R_-k is R without source
k. With columns G of the sources scaled by sqrt(p_k) / sigma, S = I + G^H G = L L^H and W = G L^-H,

    sigma^2 R^-1 = I - W W^H,   sigma^2 R_-k^-1 = sigma^2 R^-1 + u_k u_k^H
    u_k = G S^-1 e_k / sqrt([S^-1]_kk) = W t_k,   t_k = L^-1 e_k / |L^-1 e_k|

so that the products of the grid with y and W are enough for all sources.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.inference.field import Field
from risolve.inference.projection import grouped_snapshots, responses
from risolve.modulus import squared_modulus
from risolve.shapes import Powers

_LEAST_FREE = 1e-3
"""Share of |b_g|^2 that is left of den_g at least: a place that the others explain has no say."""

BLOCK_VALUES = 500_000
"""Complex numbers on the grid that are worked on at once: 4 MB, which stay in the cache."""

_STEPS = 2
"""Scoring steps of the power p, from that of the source that is left out."""


class _OnGrid(NamedTuple):
    """|b|^2, b^H sigma^2 R^-1 y and b^H w of every group and grid point."""

    energy: Float[Tensor, "scene group point"]
    match: Complex[Tensor, "scene group point"]
    explained: Complex[Tensor, "scene column group point"]


class Whitened(NamedTuple):
    """y / sigma, L, W and W^H y / sigma of every group."""

    snapshots: Complex[Tensor, "scene group row"]
    lower: Complex[Tensor, "scene group source source"]
    columns: Complex[Tensor, "scene group source row"]
    inside: Complex[Tensor, "scene group source 1"]


def whitened(
    scenes: Field,
    sources: Float[Tensor, "scene source 3"],
    powers: Float[Tensor, "scene source"],
    noise_power: Powers,
) -> Whitened:
    """Snapshots and columns in which y^H R^-1 y is |y / sigma|^2 - |W^H y / sigma|^2."""
    single = scenes.observation.to(torch.complex64)
    waves = single.array.steering(sources)
    ratio = powers / noise_power[:, None]
    columns = responses(single, waves.to(torch.complex64)) * ratio.float().sqrt()[:, None, :, None]
    exact = columns.to(torch.complex128)
    snapshots = grouped_snapshots(scenes.observation) * noise_power.rsqrt()[:, None, None]
    identity = torch.eye(sources.shape[1], dtype=torch.complex128)
    lower = torch.linalg.cholesky(exact.conj() @ exact.mT + identity)
    own = torch.linalg.solve_triangular(lower.conj(), exact, upper=False)
    return Whitened(snapshots, lower, own, own.conj() @ snapshots[..., None])


def left_out_decrease(
    scenes: Field,
    sources: Float[Tensor, "scene source 3"],
    powers: Float[Tensor, "scene source"],
    noise_power: Powers,
) -> Float[Tensor, "scene source point"]:
    """max_p Delta_k(x, p) of every source at every grid point, in complex64."""
    n_rows = scenes.observation.n_snapshots * (sources.shape[1] + 1)
    size = max(1, BLOCK_VALUES // (n_rows * scenes.grid.n_points))
    pieces = []
    for first in range(0, len(sources), size):
        rows = torch.arange(first, min(first + size, len(sources)))
        part = scenes.select(rows)
        pieces.append(_decrease(part, sources[rows], powers[rows], noise_power[rows]))
    return torch.cat(pieces)


def _decrease(
    scenes: Field,
    sources: Float[Tensor, "scene source 3"],
    powers: Float[Tensor, "scene source"],
    noise_power: Powers,
) -> Float[Tensor, "scene source point"]:
    snapshots, lower, columns, inside = whitened(scenes, sources, powers, noise_power)
    residual = snapshots - (inside.mT @ columns)[:, :, 0]
    identity = torch.eye(sources.shape[1], dtype=torch.complex128)
    turned = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
    turned = turned / squared_modulus(turned).sum(-2, keepdim=True).sqrt()
    seen = _on_grid(scenes, residual, columns)
    along = (turned.mH @ inside)[..., 0].to(torch.complex64)
    ratio = (powers / noise_power[:, None]).float()
    weights = turned.to(torch.complex64)
    free = seen.energy - squared_modulus(seen.explained).sum(1)
    least = _LEAST_FREE * seen.energy
    decreases = []
    for k in range(sources.shape[1]):
        # t_jk = 0 for j < k
        added = torch.zeros(())
        for j in range(k, sources.shape[1]):
            added = added + weights[:, :, j, k, None] * seen.explained[:, j]
        numerator = squared_modulus(seen.match + added * along[:, :, k, None])
        denominator = torch.maximum(free + squared_modulus(added), least)
        decreases.append(_largest_decrease(numerator, denominator, ratio[:, k]))
    return torch.stack(decreases, dim=1)


def _largest_decrease(
    numerator: Float[Tensor, "scene group point"],
    denominator: Float[Tensor, "scene group point"],
    power: Powers,
) -> Float[Tensor, "scene point"]:
    """Delta after Fisher scoring of the power, exact for one group: p = (num - den) / den^2."""
    best = power[:, None].expand(-1, numerator.shape[-1])
    for _ in range(_STEPS):
        total = 1.0 + best[:, None] * denominator
        relative = denominator / total
        slope = numerator / total.square() - relative
        best = (best + slope.sum(1) / relative.square().sum(1)).clamp_min(0.0)
    total = 1.0 + best[:, None] * denominator
    decrease: Tensor = (best[:, None] * numerator / total - total.log()).sum(1).clamp_min(0.0)
    return decrease


def _on_grid(
    scenes: Field,
    residual: Complex[Tensor, "scene group row"],
    columns: Complex[Tensor, "scene group column row"],
) -> _OnGrid:
    """Products of the responses of the grid with rows of every group."""
    observation, fold = scenes.observation, scenes.fold
    channel, codes = observation.channel, observation.codes
    n_groups, n_columns = columns.shape[1:3]
    rows = torch.cat((residual[:, None], columns.permute(0, 2, 1, 3)), dim=1)
    if observation.source_model == "constant":
        by_snapshot = rows[:, :, 0].unflatten(-1, codes.shape[1:2] + channel.shape[1:2])
        fields = ((by_snapshot @ channel.conj()[:, None]) * codes.conj()[:, None]).sum(2, keepdim=True)
        energy = scenes.energy[:, None]
    else:
        fields = (rows @ channel.conj()[:, None]) * codes.conj()[:, None]
        energy = snapshot_energies(scenes)
    products = fold.products(fold.columns(fields.to(torch.complex64).flatten(1, 2)))
    by_column = products.unflatten(1, (1 + n_columns, n_groups))
    return _OnGrid(energy, by_column[:, 0], by_column[:, 1:])


def snapshot_energies(scenes: Field) -> Float[Tensor, "scene snapshot point"]:
    """|b_l(x)|^2, of which the strongest direction of the channel makes the differences between snapshots.

        |b_l(x)|^2 ~ |d_l|^2 + (sum_j |b_j|^2 - |d_j|^2) / L,   d_l = u^H H diag(c_l) a(x)

    u is the first left singular vector of H. The rest is nearly the same in all snapshots, as a sum of
    M - 1 weaker terms.
    """
    observation, fold = scenes.observation, scenes.fold
    channel, codes = observation.channel, observation.codes
    _, vectors = torch.linalg.eigh(channel @ channel.mH)
    row = (vectors[:, :, -1:].mH @ channel).conj()
    strong = squared_modulus(fold.products(fold.columns((row * codes.conj()).to(torch.complex64))))
    rest = (scenes.energy - strong.sum(1)).clamp_min(0.0) / codes.shape[1]
    return strong + rest[:, None]
