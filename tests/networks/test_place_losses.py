"""Losses of the places within the cells and of the count."""

import math

import pytest
import torch

from risolve.networks.covariance_network import count_log_probabilities
from risolve.networks.losses import Occupancy, count_loss, occupancy, offset_loss
from tests import tolerances

AXES = tuple(torch.linspace(-1.0, 1.0, n, dtype=torch.float64) for n in (7, 5, 3))
STEPS = torch.stack([axis[1] - axis[0] for axis in AXES])
POINTS = torch.stack(
    [x.flatten() for x in torch.meshgrid(AXES[2], AXES[1], AXES[0], indexing="ij")][::-1], dim=-1
)
WIDTHS = (0.6, 0.8)

Scene = tuple[torch.Tensor, torch.Tensor, Occupancy]


def places(*sources: tuple[float, float, float], n_slots: int = 3) -> Scene:
    """(cosines, present, occupancy) of one scene."""
    cosines = torch.full((1, n_slots, 3), 0.3, dtype=torch.float64)
    present = torch.arange(n_slots)[None] < len(sources)
    for slot, source in enumerate(sources):
        cosines[0, slot] = torch.tensor(source)
    return cosines, present, occupancy(cosines, present, AXES, *WIDTHS)


def loss_of(offsets: torch.Tensor, scene: Scene) -> torch.Tensor:
    cosines, present, occupied = scene
    return offset_loss(offsets, cosines, present, POINTS, STEPS, occupied, 4.0)


def right_offsets(scene: Scene) -> torch.Tensor:
    """Of every point, the way in cells to the source whose splat is the largest there, point by point."""
    cosines, present, _ = scene
    sources = [k for k in range(cosines.shape[1]) if present[0, k]]
    alone = {k: occupancy(cosines[:, [k]], present[:, [k]], AXES, *WIDTHS).target[0] for k in sources}
    wanted = torch.zeros((1, len(POINTS), 3), dtype=torch.float64)
    for point, place in enumerate(POINTS):
        own = max(sources, key=lambda k: float(alone[k][point]))
        wanted[0, point] = (cosines[0, own] - place) / STEPS
    return wanted


def test_a_point_between_sources_belongs_to_the_nearer_one_in_the_metric_of_the_splat() -> None:
    """Three cells away along v, or two planes along w, of widths 0.6 and 3: the plane is nearer."""
    of_v, of_w = (0.0, -1.0, -1.0), (0.0, 0.5, 1.0)
    cosines = torch.tensor([[of_v, of_w]], dtype=torch.float64)
    present = torch.ones((1, 2), dtype=torch.bool)
    point = int((POINTS - torch.tensor([0.0, 0.5, -1.0])).norm(dim=-1).argmin())
    for widths, own in (((0.6, 3.0), 1), ((3.0, 0.6), 0)):
        occupied = occupancy(cosines, present, AXES, *widths)
        assert int(occupied.source[0, point]) == own
        offsets = torch.zeros((1, len(POINTS), 3), dtype=torch.float64)
        offsets[0, point] = (cosines[0, own] - POINTS[point]) / STEPS
        only = Occupancy(torch.zeros_like(occupied.target), occupied.source)
        only.target[0, point] = 1.0
        assert offset_loss(offsets, cosines, present, POINTS, STEPS, only, 4.0).item() == pytest.approx(0.0)


TWO = places((0.11, -0.42, 0.3), (0.9, 0.83, -0.9))


def test_right_offsets_have_no_loss() -> None:
    assert loss_of(right_offsets(TWO), TWO).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("error", "expected"), [(0.25, 0.5 * 0.25**2), (-3.0, 2.5)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_error_of_all_points_is_its_closed_form(axis: int, error: float, expected: float) -> None:
    """A mean over points of any weights: square near zero, absolute far away."""
    offsets = right_offsets(TWO)
    offsets[..., axis] += error
    assert loss_of(offsets, TWO).item() == pytest.approx(expected, rel=tolerances.DOUBLE)


def test_points_far_from_every_source_do_not_count() -> None:
    offsets = right_offsets(TWO)
    far = TWO[2].target[0] < 1e-3
    assert 20 < int(far.sum()) < len(POINTS)
    offsets[0, far] += 5.0
    # three errors of 5 at each of at most 105 points of weight 1e-12 at most
    assert loss_of(offsets, TWO).item() == pytest.approx(0.0, abs=105 * 13.5e-12)


def test_empty_slots_and_the_order_of_the_sources_change_nothing() -> None:
    offsets = 0.1 * torch.randn(
        (1, len(POINTS), 3), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    expected = loss_of(offsets, TWO).item()
    cosines, present, _ = TWO
    swapped = places((0.9, 0.83, -0.9), (0.11, -0.42, 0.3))
    assert loss_of(offsets, swapped).item() == pytest.approx(expected)
    moved = cosines.clone()
    moved[0, 2] = torch.tensor([0.11, -0.42, 0.3])
    occupied = occupancy(moved, present, AXES, *WIDTHS)
    assert loss_of(offsets, (moved, present, occupied)).item() == expected


def test_a_scene_without_sources_has_no_place_to_miss_and_no_gradient() -> None:
    empty = places()
    offsets = torch.ones((1, len(POINTS), 3), dtype=torch.float64).requires_grad_()
    loss = loss_of(offsets, empty)
    loss.backward()
    assert loss.item() == 0.0 and offsets.grad is not None and not bool(offsets.grad.any())
    cosines, present = (torch.cat(pair) for pair in zip(empty[:2], TWO[:2], strict=True))
    both = cosines, present, occupancy(cosines, present, AXES, *WIDTHS)
    mixed = loss_of(torch.zeros((2, len(POINTS), 3), dtype=torch.float64), both)
    alone = loss_of(torch.zeros((1, len(POINTS), 3), dtype=torch.float64), TWO)
    assert mixed.item() == pytest.approx(alone.item(), rel=tolerances.DOUBLE)


def test_offset_loss_gradient_against_finite_differences() -> None:
    random = torch.Generator().manual_seed(2)
    offsets = torch.randn((1, len(POINTS), 3), dtype=torch.float64, generator=random).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss_of(values, TWO), offsets)


def random_counts(n_scenes: int = 6, n_steps: int = 5) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    return 3.0 * torch.randn((n_scenes, n_steps), dtype=torch.float64, generator=random)


def test_probabilities_of_the_count_add_up_to_one() -> None:
    probabilities = count_log_probabilities(random_counts()).exp()
    assert probabilities.shape == (6, 6)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(6, dtype=torch.float64))


def test_even_odds_of_going_on_halve_the_probability_with_every_source() -> None:
    found = count_log_probabilities(torch.zeros((1, 5), dtype=torch.float64)).exp()[0]
    expected = torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 32], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_the_product_of_continuations_is_the_probability() -> None:
    """P(K = k) = (1 - q_k) prod_{j < k} q_j, and no factor 1 - q after the last step."""
    counts = random_counts()
    q = 1.0 / (1.0 + torch.exp(-counts))
    found = count_log_probabilities(counts).exp()
    for scene in range(6):
        for k in range(6):
            expected = math.prod(float(q[scene, j]) for j in range(k))
            expected *= 1.0 - float(q[scene, k]) if k < 5 else 1.0
            assert float(found[scene, k]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_sources", [0, 3, 5])
def test_a_certain_and_right_count_has_no_loss_and_doubt_costs(n_sources: int) -> None:
    sure = torch.where(torch.arange(5) < n_sources, 30.0, -30.0)[None]
    losses = [
        count_loss(scale * sure, torch.tensor([n_sources], dtype=torch.int32)).item()
        for scale in (1.0, 0.1, 0.0, -0.1)
    ]
    assert losses[0] == pytest.approx(0.0, abs=1e-9)
    assert losses == sorted(losses)


def test_count_loss_gradient_against_finite_differences() -> None:
    true = torch.tensor([0, 1, 2, 3, 4, 5])
    assert torch.autograd.gradcheck(lambda counts: count_loss(counts, true), random_counts().requires_grad_())
