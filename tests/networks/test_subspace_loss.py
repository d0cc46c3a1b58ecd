"""Share of a predicted covariance outside the subspace of the true sources."""

import pytest
import torch
from torch import Tensor

from risolve.covariance import SharedBasis, predicted_covariance
from risolve.networks.losses import subspace_loss
from tests import tolerances

N = 9
LOADING = 1e-5
"""Relative: what the loading 1e-6 N of A^H A changes, for waves of norm sqrt(N) that are well apart."""


def random_waves(n_scenes: int, n_slots: int, n_sources: int, seed: int = 1) -> Tensor:
    """Rows of unit modulus, zero in empty slots."""
    random = torch.Generator().manual_seed(seed)
    phase = 6.28 * torch.rand((n_scenes, n_slots, N), dtype=torch.float64, generator=random)
    waves = torch.polar(torch.ones_like(phase), phase)
    waves[:, n_sources:] = 0.0
    return waves


def ones(n_scenes: int, rank: int) -> Tensor:
    return torch.ones((n_scenes, rank), dtype=torch.float64)


def projector(waves: Tensor) -> Tensor:
    """Onto the span of the waves of one scene, by the pseudo-inverse."""
    columns = waves[waves.abs().sum(-1) > 0.0].mT
    return columns @ torch.linalg.pinv(columns)


def test_the_covariance_of_the_sources_lies_inside() -> None:
    waves = random_waves(3, 4, 2)
    mixed = waves.mT[..., :2] @ torch.tensor([[1.0, 0.3j], [-2.0, 0.5]], dtype=torch.complex128)
    assert subspace_loss(predicted_covariance(mixed, ones(3, 2)), waves).item() == pytest.approx(
        0.0, abs=LOADING
    )


def test_what_is_orthogonal_to_the_sources_lies_outside() -> None:
    waves = random_waves(1, 3, 2)
    outside = torch.eye(N, dtype=torch.complex128) - projector(waves[0])
    found = subspace_loss(predicted_covariance(outside[None, :, :4], ones(1, 4)), waves)
    assert found.item() == pytest.approx(1.0, rel=tolerances.DOUBLE)


@pytest.mark.parametrize("shared", [True, False])
def test_the_loss_is_the_trace_with_the_explicit_projector(shared: bool) -> None:
    random = torch.Generator().manual_seed(4)
    waves = random_waves(3, 4, 2)
    columns = torch.randn((3, N, 6), dtype=torch.complex128, generator=random)
    powers = torch.rand((3, 6), dtype=torch.float64, generator=random)
    predicted = predicted_covariance(SharedBasis(columns[0]) if shared else columns, powers)
    dense = predicted.dense()
    expected = [
        1.0 - float((projector(waves[scene]) @ dense[scene]).diagonal().real.sum()) / N for scene in range(3)
    ]
    assert subspace_loss(predicted, waves).item() == pytest.approx(sum(expected) / 3, rel=LOADING)


def test_order_powers_and_phases_of_the_sources_change_nothing() -> None:
    waves = random_waves(2, 4, 3)
    predicted = predicted_covariance(random_waves(2, 5, 5, seed=7).mT, ones(2, 5))
    other = (
        waves[:, [2, 3, 0, 1]]
        * torch.polar(ones(2, 4), torch.full((2, 4), 0.7, dtype=torch.float64))[..., None]
    )
    expected = subspace_loss(predicted, waves).item()
    assert subspace_loss(predicted, other).item() == pytest.approx(expected, rel=1e-9)
    assert subspace_loss(predicted, 3.0 * waves).item() == pytest.approx(expected, rel=LOADING)


def test_two_sources_at_one_place_leave_the_gradient_finite() -> None:
    """An eigenvector of R_pred, or a projector without loading, has no derivative there."""
    waves = random_waves(1, 2, 2).to(torch.complex64)
    waves[:, 1] = waves[:, 0]
    factor = torch.randn((1, N, 3), dtype=torch.complex64, generator=torch.Generator().manual_seed(5))
    factor[..., 1] = factor[..., 0]
    factor.requires_grad_()
    loss = subspace_loss(predicted_covariance(factor, torch.ones((1, 3))), waves)
    loss.backward()
    assert 0.0 <= loss.item() <= 1.0
    assert factor.grad is not None and bool(torch.view_as_real(factor.grad).isfinite().all())


def test_no_scene_with_sources_adds_nothing() -> None:
    predicted = predicted_covariance(random_waves(2, 5, 5).mT, ones(2, 5)).select(slice(0, 0))
    assert subspace_loss(predicted, random_waves(2, 4, 2)[:0]).item() == 0.0


def test_gradient_of_a_power_map_against_finite_differences() -> None:
    random = torch.Generator().manual_seed(6)
    basis = SharedBasis(torch.randn((N, 7), dtype=torch.complex128, generator=random))
    waves = random_waves(2, 4, 2)
    logits = torch.randn((2, 7), dtype=torch.float64, generator=random).requires_grad_()

    def loss(z: Tensor) -> Tensor:
        return subspace_loss(predicted_covariance(basis, z.softmax(-1)), waves)

    assert torch.autograd.gradcheck(loss, logits)


def test_gradient_of_a_free_factor_against_finite_differences() -> None:
    random = torch.Generator().manual_seed(7)
    waves = random_waves(2, 4, 2)
    factor = torch.randn((2, N, 3), dtype=torch.complex128, generator=random).requires_grad_()

    def loss(f: Tensor) -> Tensor:
        return subspace_loss(predicted_covariance(f, ones(2, 3)), waves)

    assert torch.autograd.gradcheck(loss, factor)
