"""Covariances of the field on the surface, and their one normalization.

Every covariance in the package is made here, by `sample_covariance`, `predicted_covariance` or
`true_covariance`, and has the type `NormalizedCovariance`: Hermitian, positive semidefinite, trace N. It is
held as R = U diag(w) U^H and never as an N x N matrix until `dense` is asked for one. For any such R, sqrt(N)
<= ||R||_F <= N.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.amplitudes import joint_ls_amplitudes, ls_amplitudes
from risolve.modulus import squared_modulus, squared_norms
from risolve.physics.observation import Observation

_CONSTRUCTION = object()


class SharedBasis:
    """Columns u_i shared by the covariances of all scenes, such as the steering matrix of a grid.

    With `overlap`, made once, the inner product of two power maps is a real quadratic form.
    """

    def __init__(self, matrix: Complex[Tensor, "element rank"]) -> None:
        self.matrix = matrix
        self.adjoint = matrix.mH.resolve_conj().contiguous()

    @cached_property
    def overlap(self) -> Float[Tensor, "rank rank"]:
        """|u_i^H u_j|^2."""
        # first asked for in an inference, it serves a training all the same
        with torch.inference_mode(False):
            return squared_modulus(self.adjoint @ self.matrix)


class NormalizedCovariance:
    """Hermitian positive semidefinite covariance with trace N, R = U diag(w) U^H.

    basis U has one matrix a scene or one for all, weights w >= 0 one row a scene. Built only by the functions
    of this module.
    """

    def __init__(
        self,
        basis: SharedBasis | Complex[Tensor, "scene element rank"],
        weights: Float[Tensor, "scene rank"],
        *,
        construction: object,
    ) -> None:
        if construction is not _CONSTRUCTION:
            raise TypeError(
                "a NormalizedCovariance comes from sample_covariance, predicted_covariance or "
                "true_covariance, which normalize it"
            )
        self._basis = basis
        self._weights = weights

    @property
    def basis(self) -> SharedBasis | Complex[Tensor, "scene element rank"]:
        return self._basis

    @property
    def weights(self) -> Float[Tensor, "scene rank"]:
        return self._weights

    @property
    def columns(self) -> Complex[Tensor, "#scene element rank"]:
        """U of every scene; a shared basis has a scene dimension of 1."""
        return self.basis.matrix[None] if isinstance(self.basis, SharedBasis) else self.basis

    @property
    def n_elements(self) -> int:
        return self.columns.shape[-2]

    @property
    def n_scenes(self) -> int:
        return self.weights.shape[0]

    def dense(self) -> Complex[Tensor, "scene element element"]:
        """R as a matrix, made Hermitian exactly."""
        weighted = self.columns * self.weights[:, None, :].to(self.columns.dtype)
        matrix = weighted @ self.columns.mH
        return (matrix + matrix.mH) / 2

    def trace(self) -> Float[Tensor, " scene"]:
        """tr R = sum_i w_i |u_i|^2."""
        return (self.weights * squared_norms(self.columns)).sum(-1)

    @property
    def squared_norm(self) -> Float[Tensor, " scene"]:
        """||R||_F^2 = <R, R>."""
        return inner_product(self, self)

    def frobenius_norm(self) -> Float[Tensor, " scene"]:
        """||R||_F."""
        return self.squared_norm.clamp_min(0.0).sqrt()

    def detach(self) -> "NormalizedCovariance":
        """The same covariance, outside the gradient."""
        basis = self.basis if isinstance(self.basis, SharedBasis) else self.basis.detach()
        return NormalizedCovariance(basis, self.weights.detach(), construction=_CONSTRUCTION)

    def select(self, scenes: slice | Tensor) -> "NormalizedCovariance":
        """The covariances of some scenes."""
        basis = self.basis if isinstance(self.basis, SharedBasis) else self.basis[scenes]
        return NormalizedCovariance(basis, self.weights[scenes], construction=_CONSTRUCTION)


def spectrum(covariance: NormalizedCovariance, basis: SharedBasis) -> Float[Tensor, "scene rank"]:
    """Power of a covariance along every column of a shared basis, a_i^H R a_i: the beamformer."""
    if covariance.basis is basis:
        return covariance.weights @ basis.overlap
    n_scenes, n_elements, rank = covariance.columns.shape
    flat = covariance.columns.permute(1, 0, 2).reshape(n_elements, n_scenes * rank)
    overlap = squared_modulus(basis.adjoint @ flat).unflatten(-1, (n_scenes, rank))
    return torch.einsum("ibj,bj->bi", overlap, covariance.weights)


def inner_product(first: NormalizedCovariance, second: NormalizedCovariance) -> Float[Tensor, " scene"]:
    """<R1, R2> = tr(R1 R2) = sum_ij w1_i |u1_i^H u2_j|^2 w2_j, without forming either matrix."""
    if isinstance(first.basis, SharedBasis):
        return (first.weights * spectrum(second, first.basis)).sum(-1)
    if isinstance(second.basis, SharedBasis):
        return inner_product(second, first)
    overlap = squared_modulus(first.columns.mH @ second.columns)
    return torch.einsum("bi,bij,bj->b", first.weights, overlap, second.weights)


def _normalized(
    basis: SharedBasis | Complex[Tensor, "scene element rank"], weights: Float[Tensor, "scene rank"]
) -> NormalizedCovariance:
    """R <- R N / tr R.

    Raises:
        ValueError: a trace that is not positive and finite, naming the scenes of the batch.
    """
    columns = basis.matrix[None] if isinstance(basis, SharedBasis) else basis
    if bool((weights < 0.0).any()):
        lowest = float(weights.detach().amin())
        raise ValueError(f"the powers of a positive semidefinite covariance are not negative, got {lowest}")
    trace = (weights * squared_norms(columns)).sum(-1)
    usable = torch.isfinite(trace) & (trace > 0.0)
    if not bool(usable.all()):
        scenes = torch.nonzero(~usable).flatten().tolist()
        raise ValueError(
            f"a covariance needs a positive, finite trace; scenes {scenes} of this batch have "
            f"{trace[~usable].tolist()}: look for all-zero or non-finite snapshots there"
        )
    scaled = weights / trace[:, None] * columns.shape[-2]
    return NormalizedCovariance(basis, scaled, construction=_CONSTRUCTION)


def sample_factor(observation: Observation, ridge: float) -> Complex[Tensor, "scene rank element"]:
    """Factor X of the sample covariance R_samp = X^T conj(X), up to scale.

    `independent`: least-squares amplitudes per snapshot, centred over the snapshots (rank <= L - 1).
    `constant`: one joint least-squares amplitude, not centred (rank one), because centring would remove the
    constant signal. Rows are scaled so that tr R_samp = N.
    """
    if observation.source_model == "independent":
        if observation.n_snapshots < 2:
            raise ValueError(f"a centred covariance needs 2 snapshots or more, got {observation.n_snapshots}")
        amplitudes = ls_amplitudes(observation, ridge)
        amplitudes = amplitudes - amplitudes.mean(1, keepdim=True)
    else:
        amplitudes = joint_ls_amplitudes(observation, ridge)
    covariance = sample_covariance(amplitudes)
    return amplitudes * covariance.weights[:, :, None].sqrt().to(amplitudes.dtype)


def sample_covariance(factor: Complex[Tensor, "scene rank element"]) -> NormalizedCovariance:
    """R_samp = X^T conj(X), trace-normalized; X is a stored factor or (centred) amplitudes of any scale."""
    return _normalized(factor.mT, torch.ones(factor.shape[:2], dtype=factor.real.dtype, device=factor.device))


def predicted_covariance(
    basis: SharedBasis | Complex[Tensor, "scene element rank"], powers: Float[Tensor, "scene rank"]
) -> NormalizedCovariance:
    """R_pred = A diag(p) A^H, trace-normalized: A the steering matrix of a grid and p a power map, or any
    factor a scene and the powers of its columns.
    """
    return _normalized(basis, powers)


def true_covariance(
    steering_rows: Complex[Tensor, "scene source element"], powers: Float[Tensor, "scene source"]
) -> NormalizedCovariance:
    """R = A diag(p) A^H of the true sources, trace-normalized; an empty slot has power 0."""
    return _normalized(steering_rows.mT, powers)


class BlendNorms(NamedTuple):
    """Squared Frobenius norms of R_pred, R_samp and their blend before loading."""

    predicted: Float[Tensor, " scene"]
    sample: Float[Tensor, " scene"]
    blend: Float[Tensor, " scene"]


@dataclass(frozen=True)
class LoadedBlend:
    """R_blend = (1 - beta) R_pred + beta R_samp + eps I, held by its parts.

    Both parts have trace N, so the blend has N (1 + eps) and is not normalized again.

    Raises:
        TypeError: a part that is not a NormalizedCovariance.
        ValueError: beta outside [0, 1], negative loading, or parts of different N or numbers of scenes.
    """

    predicted: NormalizedCovariance
    sample: NormalizedCovariance
    beta: float
    loading: float

    def __post_init__(self) -> None:
        for part in (self.predicted, self.sample):
            if not isinstance(part, NormalizedCovariance):
                raise TypeError(
                    "a blend takes two NormalizedCovariance: raw covariances differ in scale by any factor; "
                    f"got {type(part).__name__}"
                )
        if not 0.0 <= self.beta <= 1.0:
            raise ValueError(f"the blend weight beta lies in [0, 1], got {self.beta}")
        if not 0.0 <= self.loading < math.inf:
            raise ValueError(f"the diagonal loading eps is finite and not negative, got {self.loading}")
        if self.predicted.n_elements != self.sample.n_elements:
            raise ValueError(
                f"blended covariances have one N; predicted has {self.predicted.n_elements}, "
                f"sample {self.sample.n_elements}"
            )
        if self.predicted.n_scenes != self.sample.n_scenes:
            raise ValueError(
                f"blended covariances are of the same scenes; predicted has {self.predicted.n_scenes}, "
                f"sample {self.sample.n_scenes}"
            )

    @property
    def n_elements(self) -> int:
        return self.predicted.n_elements

    @property
    def n_scenes(self) -> int:
        return self.predicted.n_scenes

    def dense(self) -> Complex[Tensor, "scene element element"]:
        """R_blend as a Hermitian matrix, formed once and kept: the parts do not change."""
        return self._matrix

    @cached_property
    def _matrix(self) -> Complex[Tensor, "scene element element"]:
        matrix = (1.0 - self.beta) * self.predicted.dense() + self.beta * self.sample.dense()
        identity = torch.eye(self.n_elements, dtype=matrix.dtype, device=matrix.device)
        return (matrix + matrix.mH) / 2 + self.loading * identity

    def trace(self) -> Float[Tensor, " scene"]:
        """tr R_blend = N (1 + eps) for valid parts, computed from the parts."""
        parts = (1.0 - self.beta) * self.predicted.trace() + self.beta * self.sample.trace()
        return parts + self.loading * self.n_elements

    def squared_norms(self) -> BlendNorms:
        """||.||_F^2 of the parts and of the blend before loading, which expands into inner products of the
        parts.
        """
        predicted, sample = 1.0 - self.beta, self.beta
        of_predicted, of_sample = self.predicted.squared_norm, self.sample.squared_norm
        cross = inner_product(self.predicted, self.sample)
        blended = predicted**2 * of_predicted + 2.0 * predicted * sample * cross + sample**2 * of_sample
        return BlendNorms(of_predicted, of_sample, blended)

    def squared_distance(self, target: NormalizedCovariance, norms: BlendNorms) -> Float[Tensor, " scene"]:
        """||R_blend - (R_target + eps I)||_F^2 from the norms of the blend: the loading cancels."""
        cross = (1.0 - self.beta) * inner_product(self.predicted, target)
        cross = cross + self.beta * inner_product(self.sample, target)
        return norms.blend - 2.0 * cross + target.squared_norm

    def select(self, scenes: slice | Tensor) -> "LoadedBlend":
        """The blends of some scenes."""
        return LoadedBlend(self.predicted.select(scenes), self.sample.select(scenes), self.beta, self.loading)


def blend(
    predicted: NormalizedCovariance, sample: NormalizedCovariance, beta: float, loading: float
) -> LoadedBlend:
    """R_blend of a predicted and a sample covariance; the sample part carries no gradient.

    Raises:
        TypeError, ValueError: as `LoadedBlend`.
    """
    return LoadedBlend(predicted, sample.detach(), beta, loading)
