import math

import pytest
import torch

from risolve.covariance import SharedBasis, blend, predicted_covariance, sample_covariance, true_covariance
from risolve.networks.losses import covariance_loss, detection_loss, occupancy
from tests.networks.classroom import classroom, classroom_dictionary
from tests.tolerances import DOUBLE, SINGLE


def random_basis(rank: int, generator: torch.Generator) -> SharedBasis:
    return SharedBasis(torch.randn((6, rank), dtype=torch.complex128, generator=generator))


def test_covariance_loss_is_the_normalized_error_of_the_dense_matrices():
    random = torch.Generator().manual_seed(1)
    basis = random_basis(9, random)
    powers = torch.rand((4, 9), dtype=torch.float64, generator=random)
    factor = torch.randn((4, 3, 6), dtype=torch.complex128, generator=random)
    truth = true_covariance(
        torch.randn((4, 2, 6), dtype=torch.complex128, generator=random),
        torch.ones((4, 2), dtype=torch.float64),
    )
    blended = blend(predicted_covariance(basis, powers), sample_covariance(factor), 0.3, 1e-2)
    target = truth.dense() + 1e-2 * torch.eye(6, dtype=torch.float64)
    error = torch.linalg.matrix_norm(blended.dense() - target).square()
    expected = (error / torch.linalg.matrix_norm(target).square()).mean()
    assert covariance_loss(blended, blended.squared_norms(), truth).item() == pytest.approx(
        expected.item(), rel=DOUBLE
    )


def test_a_perfect_power_map_has_no_covariance_loss():
    dictionary = classroom_dictionary()
    points = torch.tensor([[10, 60], [33, 80]])
    powers = torch.zeros((2, 105)).scatter_(1, points, 1.0)
    truth = true_covariance(dictionary.basis.matrix.T[points], torch.ones((2, 2)))
    blended = blend(predicted_covariance(dictionary.basis, powers), truth, 0.0, 1e-3)
    assert covariance_loss(blended, blended.squared_norms(), truth).item() == pytest.approx(0.0, abs=SINGLE)


def test_covariance_loss_gradient_against_finite_differences():
    random = torch.Generator().manual_seed(2)
    basis = random_basis(7, random)
    factor = torch.randn((2, 3, 6), dtype=torch.complex128, generator=random)
    truth = true_covariance(
        torch.randn((2, 2, 6), dtype=torch.complex128, generator=random),
        torch.ones((2, 2), dtype=torch.float64),
    )
    logits = torch.randn((2, 7), dtype=torch.float64, generator=random).requires_grad_()

    def loss(z: torch.Tensor) -> torch.Tensor:
        blended = blend(predicted_covariance(basis, z.softmax(-1)), sample_covariance(factor), 0.3, 1e-3)
        return covariance_loss(blended, blended.squared_norms(), truth)

    assert torch.autograd.gradcheck(loss, logits)


def test_the_sample_part_of_the_blend_carries_no_gradient():
    factor = torch.randn(
        (2, 3, 6), dtype=torch.complex128, generator=torch.Generator().manual_seed(3)
    ).requires_grad_()
    sample = sample_covariance(factor)
    assert sample.weights.requires_grad
    assert not blend(sample, sample, 0.5, 0.0).sample.weights.requires_grad


def test_detection_loss_gradient_against_finite_differences():
    random = torch.Generator().manual_seed(4)
    logits = torch.randn((3, 8), dtype=torch.float64, generator=random).requires_grad_()
    target = torch.rand((3, 8), dtype=torch.float64, generator=random)
    counts = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: detection_loss(z, target, counts, (2.0, 4.0)), logits)


def test_detection_loss_vanishes_for_a_certain_and_right_map_and_grows_with_doubt():
    target = torch.zeros((1, 5))
    target[0, 2] = 1.0
    sure = torch.full((1, 5), -20.0)
    sure[0, 2] = 20.0
    one = torch.ones(1)
    losses = [detection_loss(scale * sure, target, one, (2.0, 4.0)).item() for scale in (1.0, 0.1, 0.0, -0.1)]
    assert losses[0] == pytest.approx(0.0, abs=1e-12)
    assert losses == sorted(losses)


def test_detection_loss_at_even_odds_is_its_closed_form():
    target = torch.tensor([[1.0, 0.5, 0.0]])
    expected = math.log(2.0) * 0.25 * ((1.0 + 0.5**4) + (0.5**4 + 1.0))
    assert detection_loss(torch.zeros((1, 3)), target, torch.ones(1), (2.0, 4.0)).item() == pytest.approx(
        expected
    )


def test_occupancy_is_the_larger_of_two_splats_and_one_at_the_nearest_points():
    axes = tuple(torch.linspace(-1.0, 1.0, n) for n in (7, 5, 3))
    cosines = torch.tensor([[[0.1, -0.4, 0.3], [0.9, 0.8, -0.9]]])
    present = torch.ones((1, 2), dtype=torch.bool)
    both = occupancy(cosines, present, axes, 0.6, 0.8)
    single = [occupancy(cosines[:, [k]], present[:, [k]], axes, 0.6, 0.8).target for k in (0, 1)]
    assert torch.equal(both.target, torch.maximum(*single))
    assert torch.equal(both.source, (single[1] > single[0]).long())
    assert all(splat.max().item() == pytest.approx(1.0) for splat in single)
    lattice = single[0].reshape(3, 5, 7)
    nearest = [int((axis - c).abs().argmin()) for axis, c in zip(axes, cosines[0, 0], strict=True)]
    assert lattice[nearest[2], nearest[1], nearest[0]].item() == pytest.approx(1.0)


def test_an_empty_slot_leaves_the_occupancy_empty():
    axes = tuple(torch.linspace(-1.0, 1.0, n) for n in (7, 5, 3))
    present = torch.tensor([[False, False], [False, True]])
    found = occupancy(torch.zeros((2, 2, 3)), present, axes, 0.6, 0.8)
    assert found.target[0].abs().max() == 0.0 and found.target[1].max() == 1.0
    assert bool((found.source[1] == 1).all())


def test_the_splat_of_a_source_is_a_gaussian_of_one_width_along_each_axis():
    """Point by point, over the largest value."""
    axes = tuple(torch.linspace(-1.0, 1.0, n, dtype=torch.float64) for n in (7, 5, 3))
    place = torch.tensor([0.11, -0.42, 0.3], dtype=torch.float64)
    found = occupancy(place[None, None], torch.ones((1, 1), dtype=torch.bool), axes, 0.6, 0.8).target[0]
    values = [
        math.exp(
            -0.5
            * sum(
                (float(x - c) / float(axis[1] - axis[0]) / s) ** 2
                for x, c, axis, s in zip((u, v, w), place, axes, (0.6, 0.6, 0.8), strict=True)
            )
        )
        for w in axes[2]
        for v in axes[1]
        for u in axes[0]
    ]
    expected = torch.tensor(values, dtype=torch.float64) / max(values)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_true_covariance_of_the_loss_is_that_of_the_sources():
    dictionary = classroom_dictionary()
    examples = classroom(n_sources=2, n_scenes=4)
    waves = dictionary.array.steering(examples.sources[:, :2])
    dense = torch.einsum("bkn,bkm->bnm", waves, waves.conj())
    dense = dense * (40 / torch.einsum("bnn->b", dense).real)[:, None, None]
    truth = true_covariance(waves, examples.power[:, :2])
    assert torch.allclose(truth.dense(), dense, rtol=DOUBLE, atol=1e-12)
