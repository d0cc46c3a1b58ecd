"""The descent on objectives whose minimum is known."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from risolve.inference.descent import Expansion, descend

N_SCENES = 6


@dataclass(frozen=True)
class Parabola:
    """f = 1 + (x - m)^T Q (x - m), of which H knows a share of the diagonal alone."""

    minimum: Tensor
    hessian: Tensor
    known: float
    low: Tensor
    high: Tensor
    size: Tensor
    calls: list[int]

    def expand(self, place: Tensor) -> Expansion:
        self.calls.append(len(place))
        away = place - self.minimum
        slope = -(self.hessian @ away[..., None])[..., 0]
        value = 1.0 - (away * slope).sum(-1)
        curvature = torch.diag_embed(self.known * self.hessian.diagonal(dim1=1, dim2=2))
        return Expansion(value, slope, curvature, torch.ones_like(value), (place.clone(),))

    def select(self, scenes: Tensor) -> "Parabola":
        parts = (self.minimum, self.hessian, self.low, self.high, self.size)
        minimum, hessian, low, high, size = (value[scenes] for value in parts)
        return replace(self, minimum=minimum, hessian=hessian, low=low, high=high, size=size)


def parabola(n_coordinates: int, known: float, limit: float = 10.0) -> Parabola:
    random = torch.Generator().manual_seed(2)
    shape = (N_SCENES, n_coordinates)
    root = torch.randn((*shape, n_coordinates), dtype=torch.float64, generator=random)
    scale = 10.0 ** torch.arange(n_coordinates, dtype=torch.float64)
    hessian = root @ root.mT + torch.eye(n_coordinates, dtype=torch.float64)
    return Parabola(
        minimum=torch.randn(shape, dtype=torch.float64, generator=random) / scale,
        hessian=hessian * scale[:, None] * scale,
        known=known,
        low=torch.full(shape, -limit, dtype=torch.float64),
        high=torch.full(shape, limit, dtype=torch.float64),
        size=torch.ones(N_SCENES, dtype=torch.float64),
        calls=[],
    )


@pytest.mark.parametrize("known", [0.6, 1.0, 5.0])
@pytest.mark.parametrize("n_coordinates", [1, 3, 5])
def test_reaches_the_minimum_with_a_curvature_that_is_wrong(n_coordinates: int, known: float) -> None:
    objective = parabola(n_coordinates, known)
    found = descend(objective, torch.zeros_like(objective.minimum), 200)
    assert found.converged.all()
    torch.testing.assert_close(
        found.expansion.value, torch.ones(N_SCENES, dtype=torch.float64), atol=1e-8, rtol=0
    )
    assert torch.equal(found.expansion.carried[0], found.place)


def test_secants_spare_steps() -> None:
    """With H five times too large every step leaves 4/5 of the way: more than 40 for 1e-9 of f, without T."""
    objective = parabola(1, 5.0)
    found = descend(objective, objective.minimum + 1.0, 20)
    assert found.converged.all()


def test_a_scene_leaves_the_batch_when_it_has_converged() -> None:
    objective = parabola(3, 1.0)
    start = objective.minimum.clone()
    start[0] += 1.0
    found = descend(objective, start, 200)
    assert found.converged.all()
    assert objective.calls[0] == N_SCENES
    assert set(objective.calls[1:]) == {1}
    torch.testing.assert_close(found.place[1:], objective.minimum[1:], rtol=0.0, atol=0.0)


def test_stays_within_the_limits_and_converges_against_them() -> None:
    """f separates for a diagonal Q: the minimum within limits is the minimum brought within them."""
    free = parabola(3, 1.0)
    diagonal = torch.diag_embed(free.hessian.diagonal(dim1=1, dim2=2))
    high = free.minimum - torch.tensor([0.0, 0.1, -1.0], dtype=torch.float64)
    objective = replace(free, hessian=diagonal, high=high)
    found = descend(objective, objective.minimum - 1.0, 200)
    assert found.converged.all()
    torch.testing.assert_close(found.place, torch.minimum(objective.minimum, high), rtol=0.0, atol=1e-4)


def test_without_steps_the_start_is_brought_within_the_limits() -> None:
    objective = parabola(2, 1.0, limit=0.5)
    found = descend(objective, torch.full((N_SCENES, 2), 3.0, dtype=torch.float64), 0)
    assert torch.equal(found.place, objective.high)
    assert not found.converged.any()
