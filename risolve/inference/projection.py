"""Snapshots seen as sums of steering responses with free amplitudes: what every likelihood here is made of.

    y_g = G_g s_g + noise,   G_g = B_g A

A group g is one snapshot for `independent` sources, and all snapshots stacked for `constant` ones, which have
one amplitude each. Sources of equal gains share one amplitude, and G_g is one column, the sum of all. The
amplitudes leave the problem by projection (variable projection): s_g = G_g^+ y_g. All in complex128.
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation

_DIRECTION = 1e-10
"""Of the energy of the derivatives: below it what is outside the responses is rounding."""

RIDGE = 1e-12
"""Added to G^H G, relative to its largest diagonal entry.

Sources that merge make G^H G singular. With the ridge the factorization exists, amplitudes are those of least
norm and the residual is still that of attainable amplitudes. Sources further apart than about 1e-6 beamwidths
do not see it.
"""


BLOCK_VALUES = 250_000
"""Complex numbers of the coded fields of the scenes worked on at once: 4 MB, which stay in the cache."""


class Fit(NamedTuple):
    """Least-squares amplitudes of each group, what they leave of the snapshots, and the factor of G^H G."""

    amplitudes: Complex[Tensor, "scene group column"]
    misfit: Complex[Tensor, "scene group row"]
    factor: Complex[Tensor, "scene group column column"]


class Projection(NamedTuple):
    """Least-squares fit of the amplitudes at given sources, and its expansion about them.

        J(x + d) ~ J - 2 g^T d + d^T H d,   g = sum Re{V^H (y - G s)},   H = sum Re{V^H (I - P_G) V},
        V = [B dA/dx_i s]

    residual J, amplitudes s, slope g (exact: half the negative gradient of J), curvature H (Gauss-Newton);
    coordinates (azimuth, elevation, inverse range) source by source.
    """

    residual: Float[Tensor, " scene"]
    amplitudes: Complex[Tensor, "scene group source"]
    slope: Float[Tensor, "scene coordinate"]
    curvature: Float[Tensor, "scene coordinate coordinate"]


class Span(NamedTuple):
    """What sources take of snapshots: the span of their responses G, and of the derivatives by the places.

    basis: orthonormal columns of each G_g. tangents: orthonormal rows in real numbers, of all groups, beside
    it; zeros where a derivative has no direction of its own. n_tangents: others than zeros. misfit: what G
    leaves.
    """

    basis: Complex[Tensor, "scene #group row column"]
    tangents: Float[Tensor, "scene coordinate part"]
    n_tangents: Int[Tensor, " scene"]
    misfit: Complex[Tensor, "scene group row"]

    def left_of(self, values: Complex[Tensor, "scene group row"]) -> Complex[Tensor, "scene group row"]:
        """What lies outside the span."""
        n_groups, n_rows = values.shape[1:]
        real = torch.view_as_real(beside(self.basis, values[:, :, None])[:, :, 0].contiguous()).flatten(1)
        along = (self.tangents.mT @ (self.tangents @ real[..., None]))[..., 0]
        return torch.view_as_complex((real - along).unflatten(1, (n_groups, n_rows, 2)))


def grouped_snapshots(observation: Observation) -> Complex[Tensor, "scene group row"]:
    """Snapshots in groups that share their amplitudes."""
    if observation.source_model == "independent":
        return observation.snapshots
    return observation.snapshots.flatten(1)[:, None]


def responses(
    observation: Observation, fields: Complex[Tensor, "scene column element"]
) -> Complex[Tensor, "scene group column row"]:
    """B_g f for fields given as rows."""
    n_scenes, n_columns, n_elements = fields.shape
    size = max(1, BLOCK_VALUES // (observation.n_snapshots * n_columns * n_elements))
    received = torch.cat(
        [
            _received(observation.select(slice(i, i + size)), fields[i : i + size])
            for i in range(0, max(1, n_scenes), size)
        ]
    )
    by_snapshot: Tensor = received.unflatten(1, (-1, n_columns))
    if observation.source_model == "constant":
        by_snapshot = by_snapshot.permute(0, 2, 1, 3).flatten(2)[:, None]
    return by_snapshot


def _received(
    observation: Observation, fields: Complex[Tensor, "scene column element"]
) -> Complex[Tensor, "scene coded antenna"]:
    """H diag(c_l) f, snapshot by snapshot."""
    coded = observation.codes[:, :, None, :] * fields[:, None]
    received: Tensor = coded.flatten(1, 2) @ observation.channel.mT
    return received


def source_responses(
    observation: Observation, sources: Float[Tensor, "scene source 3"]
) -> Complex[Tensor, "scene group source 4 row"]:
    """B_g a_k and its derivatives by azimuth, elevation and inverse range, as rows."""
    wave = observation.array.steering_derivatives(sources)
    fields = torch.cat((wave.steering[:, :, None], wave.by_source), dim=2)
    received = responses(observation, fields.flatten(1, 2))
    by_source: Tensor = received.unflatten(2, (sources.shape[1], 4))
    return by_source


def columns_of(
    observation: Observation, received: Complex[Tensor, "scene group source row"]
) -> Complex[Tensor, "scene group column row"]:
    """G_g of the responses of sources, one column an amplitude, as rows."""
    return received.sum(2, keepdim=True) if observation.gains == "equal" else received


def project(observation: Observation, sources: Float[Tensor, "scene source 3"]) -> Projection:
    """The fit at the given sources; the observation in complex128, the sources in float64.

    References:
        Kaufman, "A variable projection method for solving separable nonlinear least squares problems", BIT 15
        (1975): H leaves out the derivative of the amplitudes along the residual.
    """
    by_source = source_responses(observation, sources)
    columns, derivatives = columns_of(observation, by_source[..., 0, :]), by_source[..., 1:, :]
    snapshots = grouped_snapshots(observation)

    fit = least_squares(columns, snapshots)
    slopes = (derivatives * fit.amplitudes[..., None, None]).flatten(2, 3)
    overlap = torch.linalg.solve_triangular(fit.factor, columns.conj() @ slopes.mT, upper=False)

    along = real_rows(slopes.permute(0, 2, 1, 3))
    inside = real_rows(overlap.permute(0, 3, 1, 2))
    misfit = torch.view_as_real(fit.misfit).flatten(1)
    return Projection(
        residual=misfit.square().sum(1),
        amplitudes=fit.amplitudes.expand(-1, -1, sources.shape[1]),
        slope=(along @ misfit[..., None])[..., 0],
        curvature=along @ along.mT - inside @ inside.mT,
    )


def span_of(
    observation: Observation,
    sources: Float[Tensor, "scene source 3"],
    snapshots: Complex[Tensor, "scene group row"],
) -> Span:
    """The span of one source or more; snapshots: in groups, as many or more than the observation has, which
    then have one response. Derivatives are taken at the least-squares amplitudes.
    """
    by_source = source_responses(observation, sources)
    columns = columns_of(observation, by_source[..., 0, :])
    derivatives = by_source[..., 1:, :][..., observation.limits.is_free, :]
    basis = torch.linalg.qr(columns.mT).Q
    amplitudes, misfit, _ = least_squares(columns.expand(-1, snapshots.shape[1], -1, -1), snapshots)
    slopes = (derivatives * amplitudes[..., None, None]).flatten(2, 3)
    outside = real_rows(beside(basis, slopes).permute(0, 2, 1, 3))
    values, vectors = torch.linalg.eigh(outside @ outside.mT)
    is_direction = values > _DIRECTION * squared_modulus(slopes).sum((1, 2, 3))[:, None]
    lengths = torch.where(is_direction, values, torch.inf).sqrt()
    tangents = vectors.mT @ outside / lengths[..., None]
    return Span(basis, tangents, is_direction.sum(1), misfit)


def beside(
    basis: Complex[Tensor, "scene #group row spanned"], values: Complex[Tensor, "scene group column row"]
) -> Complex[Tensor, "scene group column row"]:
    """Rows without what the columns of an orthonormal basis span."""
    left: Tensor = values - (values @ basis.conj()) @ basis.mT
    return left


def amplitude_noise(
    observation: Observation, sources: Float[Tensor, "scene source 3"]
) -> Float[Tensor, "scene coordinate coordinate"]:
    """What noise in the amplitudes adds to the curvature H of `Projection`, a unit of noise power.

        C_ij = sum_g Re{ (D_i^H (I - P_G) D_j) [(G^H G)^-1]_{k(j) k(i)} },   D_i = B dA/dx_i

    k(i) is the column of the amplitude of x_i. The amplitudes s = G^+ y have the covariance
    sigma^2 (G^H G)^-1 about the true ones, so that on average sigma^2 C of H is due to noise. The observation
    in complex128, the sources in float64.
    """
    by_source = source_responses(observation, sources)
    columns = columns_of(observation, by_source[..., 0, :])
    derivatives = by_source[..., 1:, :].flatten(2, 3)
    conjugate = columns.conj()
    factor = _factor(conjugate @ columns.mT)
    overlap = torch.linalg.solve_triangular(factor, conjugate @ derivatives.mT, upper=False)
    outside = derivatives.conj() @ derivatives.mT - overlap.mH @ overlap
    n_each = derivatives.shape[2] // columns.shape[2]
    by_coordinate = torch.cholesky_inverse(factor).repeat_interleave(n_each, -1).repeat_interleave(n_each, -2)
    noise: Tensor = (outside * by_coordinate.mT).real.sum(1)
    return noise


def least_squares(
    columns: Complex[Tensor, "scene group column row"], snapshots: Complex[Tensor, "scene group row"]
) -> Fit:
    """Amplitudes s = (G^H G)^-1 G^H y, misfit y - G s and Cholesky factor of G^H G, for the columns of G as
    rows.

    A column of zeros gets no amplitude; what is not finite stays so.
    """
    conjugate = columns.conj()
    factor = _factor(conjugate @ columns.mT)
    amplitudes = torch.cholesky_solve(conjugate @ snapshots[..., None], factor)[..., 0]
    misfit = snapshots - (amplitudes[:, :, None] @ columns)[:, :, 0]
    return Fit(amplitudes, misfit, factor)


def _factor(
    gram: Complex[Tensor, "scene group column column"],
) -> Complex[Tensor, "scene group column column"]:
    """Cholesky factor of G^H G with its ridge."""
    largest = gram.diagonal(dim1=-2, dim2=-1).real.amax(-1)
    ridge = RIDGE * largest + torch.finfo(torch.float64).tiny
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype)
    factor: Tensor = torch.linalg.cholesky_ex(gram + ridge[..., None, None] * identity).L
    return factor


def real_rows(values: Complex[Tensor, "scene row first second"]) -> Float[Tensor, "scene row part"]:
    """Complex rows as real ones of twice the length: Re{a^H b} is then an ordinary product."""
    return torch.view_as_real(values.contiguous()).flatten(2)
