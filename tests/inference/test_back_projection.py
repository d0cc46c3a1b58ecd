"""Projections by sub-apertures against a^H f element by element."""

import math

import pytest
import torch

from risolve.inference.back_projection import MOST_VALUES, back_projection, check_size
from risolve.inference.grid import Grid, grid_for, grid_steering
from risolve.physics.array import Array, linear, planar
from risolve.physics.banded_array import BandedArray, DelayedArray
from tests.messages import shows

FRONT = ((-1.0, 1.0), (-0.5, 0.5), (1.0, 40.0))
ROUND = ((-math.pi, math.pi), (-0.5, 0.5), (1.0, 40.0))


def cylinder(n_round: int, n_high: int) -> Array:
    angle = torch.arange(n_round * n_high) * (2.0 * math.pi / n_round)
    height = (torch.arange(n_round * n_high) // n_round - (n_high - 1) / 2.0) * 0.05
    radius = 0.05 / (2.0 * math.sin(math.pi / n_round))
    return Array(torch.stack((radius * angle.cos(), height, radius * angle.sin()), -1).double(), 0.1)


def irregular(n_elements: int) -> Array:
    random = torch.Generator().manual_seed(0)
    places = torch.rand(n_elements, 3, generator=random, dtype=torch.float64) - 0.5
    return Array(places * torch.tensor([1.0, 0.7, 0.1]), 0.1)


def banded(kind: type[BandedArray]) -> Array:
    places = planar(12, 8, 0.05, 0.1).elements
    return kind([Array(places, wavelength) for wavelength in (0.1, 0.11, 0.12)], has_surface=False)


@pytest.mark.parametrize(
    ("array", "field"),
    [
        (planar(20, 12, 0.05, 0.1), FRONT),
        (Array(planar(16, 16, 0.05, 0.1).elements, 0.1, True), FRONT),
        (irregular(200), FRONT),
        (cylinder(40, 6), ROUND),
        (banded(BandedArray), FRONT),
        (banded(DelayedArray), FRONT),
    ],
    ids=["planar", "spherical amplitude", "irregular", "cylinder", "bands", "delay"],
)
def test_projections_are_those_of_the_elements(array: Array, field: tuple[tuple[float, float], ...]) -> None:
    grid = grid_for(array, *field)
    waves = grid_steering(grid, array)
    seen = (
        torch.nonzero(grid.coordinates[:, :2].square().sum(-1) < 0.95).flatten() if not grid.around else None
    )
    points = torch.arange(grid.n_points) if seen is None else seen
    own = points[:: max(1, len(points) // 40)]
    fields = waves[:, own].mT.contiguous()
    projected = back_projection(grid, array)(fields)
    exact = waves.conj().mT @ fields.mT
    size = waves[:, own].abs().square().sum(0)
    at_own = projected[own, torch.arange(len(own))].abs() / size
    assert float(at_own.min()) > 0.75
    assert float(at_own.mean()) > 0.9
    error = (projected - exact)[points].abs().square().mean(0).sqrt() / size
    assert float(error.max()) < 0.04


def test_energy_is_that_of_all_fields() -> None:
    array = planar(9, 7, 0.05, 0.1)
    projection = back_projection(grid_for(array, *FRONT), array)
    random = torch.Generator().manual_seed(1)
    fields = torch.randn(5, 63, generator=random, dtype=torch.complex64)
    torch.testing.assert_close(projection.energy(fields), projection(fields).abs().square().sum(-1))


def test_tables_are_made_once_a_grid_and_array() -> None:
    array = planar(6, 6, 0.05, 0.1)
    grid = grid_for(array, *FRONT)
    first = back_projection(grid, array)
    assert back_projection(grid, array) is first
    assert back_projection(grid, planar(6, 6, 0.05, 0.1)) is not first


def test_every_point_of_a_lattice_has_its_own_place() -> None:
    array = linear(30, 0.05, 0.1)
    grid = grid_for(array, (-1.0, 1.0), (0.0, 0.0), (1.0, 40.0))
    assert isinstance(grid, Grid)
    place = back_projection(grid, array).place
    assert len(place.unique()) == grid.n_points


def test_tables_that_are_too_large_are_refused() -> None:
    array = planar(120, 120, 0.05, 0.1)
    with pytest.raises(ValueError, match=shows(f"{MOST_VALUES:,} numbers ... 14400 elements")):
        check_size(grid_for(array, (-1.0, 1.0), (-0.5, 0.5), (2.0, 1000.0)), array)
