"""The search grid's geometry, and peaks of spectra whose maxima are known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from risolve.inference.grid import MOST_POINTS, Grid, grid_for, grid_steering, search_grid
from risolve.inference.peaks import Maxima, local_maxima, peaks, placed, stencils
from risolve.physics.array import Array
from risolve.physics.geometry import cosines_from_sources, planar_array, sources_from_cosines
from tests.messages import shows
from tests.oracles import steering as oracle
from tests.tolerances import DOUBLE

AZIMUTH, ELEVATION, RANGE = (-math.pi / 3, math.pi / 3), (-math.pi / 6, math.pi / 6), (0.5, 10.0)


def make_grid(n_u: int = 6, n_v: int = 5, n_w: int = 4) -> Grid:
    return search_grid(n_u, n_v, n_w, AZIMUTH, ELEVATION, RANGE)


def test_points_run_over_w_slowest_and_u_fastest() -> None:
    lattice = make_grid().coordinates.reshape(4, 5, 6, 3)
    assert (lattice[:, :, 1:, 0] > lattice[:, :, :-1, 0]).all()
    assert (lattice[:, 1:, :, 1] > lattice[:, :-1, :, 1]).all()
    assert (lattice[1:, :, :, 2] > lattice[:-1, :, :, 2]).all()


def test_uniform_between_the_extreme_sources() -> None:
    grid = make_grid()
    low, high = grid.coordinates.amin(0), grid.coordinates.amax(0)
    torch.testing.assert_close(low, torch.tensor([-math.sqrt(0.75), -0.5, 0.1], dtype=torch.float64))
    torch.testing.assert_close(high, torch.tensor([math.sqrt(0.75), 0.5, 2.0], dtype=torch.float64))
    torch.testing.assert_close(grid.steps, (high - low) / torch.tensor([5.0, 4.0, 3.0]))


def test_symmetric_ranges_give_an_exactly_symmetric_lattice() -> None:
    lattice = make_grid(22, 13, 5).coordinates.reshape(5, 13, 22, 3)
    assert torch.equal(lattice[..., 0], -lattice.flip(2)[..., 0])
    assert torch.equal(lattice[..., 1], -lattice.flip(1)[..., 1])


def test_holds_every_source_of_ranges_beside_boresight() -> None:
    azimuth, elevation = (0.3, 1.0), (-0.8, -0.2)
    grid = search_grid(4, 4, 3, azimuth, elevation, RANGE)
    corners = torch.cartesian_prod(
        torch.linspace(*azimuth, 7, dtype=torch.float64), torch.linspace(*elevation, 7, dtype=torch.float64)
    )
    cosines = cosines_from_sources(torch.cat((corners, torch.ones(49, 1, dtype=torch.float64)), 1))
    assert (cosines >= grid.coordinates.amin(0) - 1e-12).all()
    assert (cosines <= grid.coordinates.amax(0) + 1e-12).all()


def planar(n_horizontal: int, n_vertical: int, spacing: float, wavelength: float) -> Array:
    """A planar array of uniform amplitude."""
    return Array(planar_array(n_horizontal, n_vertical, spacing), wavelength, spherical_amplitude=False)


def test_points_within_the_horizon_keep_their_cosines_and_others_lie_on_it() -> None:
    grid = search_grid(9, 9, 2, (-1.4, 1.4), (-1.2, 1.2), RANGE)
    inside = grid.coordinates[:, :2].square().sum(1) < 1.0
    assert 0 < int(inside.sum()) < grid.n_points
    again = cosines_from_sources(grid.sources)
    torch.testing.assert_close(again[inside], grid.coordinates[inside], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        grid.sources[~inside, 0].abs(), torch.full_like(grid.sources[~inside, 0], math.pi / 2)
    )
    torch.testing.assert_close(again[~inside, 1:], grid.coordinates[~inside, 1:])


def test_the_grid_of_the_default_array_is_the_one_of_the_parameters() -> None:
    assert grid_for(planar(12, 12, 0.15, 0.3), AZIMUTH, ELEVATION, RANGE).shape == (5, 13, 22)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_grid_of_an_array_scales_with_the_wavelength(scale: float) -> None:
    near, far = (scale * r for r in RANGE)
    grid = grid_for(planar(16, 8, 0.15 * scale, 0.3 * scale), AZIMUTH, ELEVATION, (near, far))
    assert grid.shape == grid_for(planar(16, 8, 0.15, 0.3), AZIMUTH, ELEVATION, RANGE).shape


def test_neighbouring_points_of_a_grid_are_half_a_beam_apart() -> None:
    """Half way between any two neighbours the array keeps more than half of the gain |a_1^H a_2|^2 / N^2."""
    array = planar(16, 8, 0.005, 0.01)
    elements = array.elements
    grid = grid_for(array, AZIMUTH, ELEVATION, (0.02, 2.0))
    lattice = grid.coordinates.reshape(*grid.shape, 3)
    n_w, n_v, n_u = (n // 2 for n in grid.shape)
    wave = grid_steering(grid, array).reshape(-1, *grid.shape)
    for axis, n in enumerate(grid.shape):
        middle = lattice[n_w, n_v, n_u].clone()
        middle[2 - axis] -= (grid.steps[2 - axis]) / 2
        between = oracle.steering(sources_from_cosines(middle).tolist(), elements.tolist(), 0.01, False)
        gain = (wave[:, n_w, n_v, n_u].conj() @ torch.from_numpy(between).to(torch.complex64)).abs() / 128
        assert 0.5 < float(gain.square()) < 1.0, (axis, n)


def test_an_array_in_depth_needs_more_points() -> None:
    flat = planar_array(6, 6, 0.15)
    deep = flat.clone()
    deep[:, 2] = flat[:, 0].abs()
    grids = [
        grid_for(Array(elements, 0.3, False), AZIMUTH, ELEVATION, RANGE).shape for elements in (flat, deep)
    ]
    assert grids[1][2] > grids[0][2]


def test_the_grid_of_an_array_may_end_at_infinity() -> None:
    grid = grid_for(planar(4, 4, 0.15, 0.3), AZIMUTH, ELEVATION, (0.5, math.inf))
    assert float(grid.coordinates[:, 2].min()) == 0.0


def ring(n: int = 6, radius: float = 0.1) -> Array:
    """A circle of elements in the x-z plane."""
    angle = 2.0 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return Array(radius * torch.stack((angle.sin(), torch.zeros_like(angle), angle.cos()), -1), 0.2)


def test_a_grid_all_around_is_closed_and_half_a_beam_apart() -> None:
    grid = grid_for(ring(), (-math.pi, math.pi), (0.0, 0.0), (1.0, 4.0))
    azimuths = grid.axes[0]
    assert grid.around and grid.closed and grid.shape[1] == 1
    assert torch.equal(grid.sources, grid.coordinates)
    step = float(grid.steps[0])
    assert step == pytest.approx(2.0 * math.pi / grid.shape[2])
    assert float(azimuths[0]) == -math.pi and float(azimuths[-1]) == pytest.approx(math.pi - step)
    # diameter 0.2 m and one spacing of 0.1 m, at 0.2 m wavelength
    assert step <= 0.5 * 0.2 / 0.3 + 1e-12
    part = grid_for(ring(), (1.0, 3.0), (0.0, 0.0), (1.0, 4.0))
    assert part.around and not part.closed
    assert float(part.axes[0][0]) == 1.0 and float(part.axes[0][-1]) == 3.0


def test_peaks_of_a_closed_grid_reach_across_the_seam() -> None:
    grid = grid_for(ring(), (-math.pi, math.pi), (-0.5, 0.5), (1.0, 4.0))
    n_w, n_v, n_u = grid.shape
    inner = (n_w - 1) // 2, (n_v - 1) // 2
    for shift in (-0.3, 0.2):
        place = grid.coordinates.reshape(*grid.shape, 3)[inner[0], inner[1], 0].clone()
        place[0] += shift * grid.steps[0]
        spectrum = -(grid.apart(grid.coordinates, place) / grid.steps).square().sum(-1)[None]
        found = peaks(spectrum, grid, 3)
        assert found.usable[0].tolist() == [True, False, False]
        away = grid.apart(found.coordinates[0, 0], place)
        torch.testing.assert_close(away, torch.zeros(3, dtype=torch.float64), rtol=0.0, atol=1e-9)
        # every point and its neighbours, one by one
        around = stencils(grid, torch.tensor([[0, n_u - 1]]))[0]
        assert around[:, 1].tolist() == [n_u - 1, n_u - 2] and around[:, 4].tolist() == [1, 0]


def test_places_on_a_closed_grid_are_told_apart_the_shorter_way() -> None:
    grid = grid_for(ring(), (-math.pi, math.pi), (0.0, 0.0), (1.0, 4.0))
    behind = torch.tensor([[math.pi - 0.01, 0.0, 0.5], [0.01 - math.pi, 0.0, 0.5]], dtype=torch.float64)
    first, second = grid.coordinates_of(behind)
    assert grid.apart(first, second).tolist() == pytest.approx([0.02, 0.0, 0.0])
    turned_once = behind + torch.tensor([2.0 * math.pi, 0.0, 0.0])
    torch.testing.assert_close(grid.coordinates_of(turned_once), grid.coordinates_of(behind))
    torch.testing.assert_close(grid.in_box(first), first)


def test_refuses_a_line_of_elements_and_an_absurd_number_of_points() -> None:
    line = planar_array(9, 1, 0.15) @ torch.tensor([[0.6, 0.8, 0.0], [0, 0, 0], [0, 0, 0]]).double()
    with pytest.raises(ValueError, match=shows("azimuth ... elevation ... 9 elements")):
        grid_for(Array(line, 0.3, False), AZIMUTH, ELEVATION, RANGE)
    with pytest.raises(ValueError, match=shows(f"{MOST_POINTS} points ... 71 x 41 x")):
        grid_for(planar(40, 40, 0.15, 0.3), AZIMUTH, ELEVATION, (0.01, math.inf))


def test_steering_columns_are_the_waves_of_the_points() -> None:
    grid = make_grid(3, 2, 2)
    elements = planar_array(3, 5, 0.15)
    columns = grid_steering(grid, Array(elements, 0.3, True))
    assert columns.dtype == torch.complex64
    for point, source in enumerate(grid.sources.tolist()):
        wave = torch.from_numpy(oracle.steering(source, elements.tolist(), 0.3, True))
        torch.testing.assert_close(columns[:, point].to(torch.complex128), wave, rtol=0.0, atol=1e-6)


def quadratic(grid: Grid, places: list[tuple[float, float, float]], heights: list[float]) -> Tensor:
    """Highest of several separable paraboloids, in units of the grid steps."""
    spectrum = torch.full((grid.n_points,), -math.inf, dtype=torch.float64)
    for place, height in zip(places, heights, strict=True):
        away = (grid.coordinates - torch.tensor(place, dtype=torch.float64)) / grid.steps
        spectrum = torch.maximum(spectrum, height - away.square().sum(1))
    return spectrum


def test_peaks_of_paraboloids_are_exact_and_sorted() -> None:
    grid = search_grid(15, 11, 9, AZIMUTH, ELEVATION, RANGE)
    steps, middle = grid.steps, grid.coordinates.reshape(*grid.shape, 3)
    first = (middle[2, 3, 3] + steps * torch.tensor([0.3, -0.4, 0.2])).tolist()
    second = (middle[6, 7, 11] + steps * torch.tensor([-0.1, 0.2, -0.45])).tolist()
    spectra = torch.stack(
        (quadratic(grid, [first, second], [5.0, 9.0]), quadratic(grid, [first, second], [9.0, 5.0]))
    )
    found = peaks(spectra, grid, 2)
    assert found.usable.all()
    expected = torch.tensor([[second, first], [first, second]], dtype=torch.float64)
    torch.testing.assert_close(found.coordinates, expected, rtol=DOUBLE, atol=1e-10)
    assert (found.score[:, 0] > found.score[:, 1]).all()


def test_a_peak_on_the_boundary_counts_and_stays_in_the_box() -> None:
    grid = make_grid()
    beyond = grid.coordinates[-1] + grid.steps * 0.7
    found = peaks(quadratic(grid, [tuple(beyond.tolist())], [1.0])[None], grid, 1)
    assert found.usable.all()
    torch.testing.assert_close(found.coordinates[0, 0], grid.coordinates[-1])


def test_equal_values_make_one_peak_and_the_rest_is_absent() -> None:
    grid = make_grid()
    flat = torch.zeros((2, grid.n_points))
    flat[1, 40:42] = 1.0
    found = peaks(flat, grid, 3)
    assert found.usable.tolist() == [[True, False, False], [True, True, False]]
    assert torch.equal(found.coordinates.isnan().all(-1), ~found.usable)
    assert torch.equal(found.score.isnan(), ~found.usable)
    assert found.score[1, 0] == 1.0


def test_every_peak_is_a_local_maximum_of_the_26_neighbours() -> None:
    grid = make_grid()
    spectrum = torch.rand((3, grid.n_points), generator=torch.Generator().manual_seed(1))
    found = peaks(spectrum, grid, grid.n_points + 5)
    for scene in range(3):
        lattice = spectrum[scene].reshape(grid.shape)
        expected = []
        for w in range(4):
            for v in range(5):
                for u in range(6):
                    around = lattice[max(w - 1, 0) : w + 2, max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
                    if lattice[w, v, u] == around.max():
                        expected.append(float(lattice[w, v, u]))
        assert found.score[scene][found.usable[scene]].tolist() == sorted(expected, reverse=True)


def test_a_stencil_holds_the_neighbours_or_the_point_itself() -> None:
    grid = make_grid()
    for point in range(grid.n_points):
        w, v, u = (int(i) for i in np.unravel_index(point, grid.shape))
        expected = [point]
        for step in (-1, 1):
            for axis in (2, 1, 0):
                place = [w, v, u]
                inside = 0 < place[axis] < grid.shape[axis] - 1
                place[axis] += step if inside else 0
                expected.append(int(np.ravel_multi_index(place, grid.shape)))
        assert stencils(grid, torch.tensor([[point]]))[0, 0].tolist() == expected


def test_peaks_found_in_float32_are_placed_by_the_values_of_float64() -> None:
    grid = search_grid(15, 11, 9, AZIMUTH, ELEVATION, RANGE)
    place = grid.coordinates.reshape(*grid.shape, 3)[4, 5, 6] + grid.steps * torch.tensor([0.3, -0.4, 0.2])
    exact = quadratic(grid, [tuple(place.tolist())], [1e3])[None]
    maxima = local_maxima(exact.float(), grid, 1)
    around = stencils(grid, maxima.point)
    found = placed(exact.gather(1, around.flatten(1)).unflatten(1, around.shape[1:]), maxima, grid)
    torch.testing.assert_close(found.coordinates[0, 0], place, rtol=0.0, atol=1e-10)
    rough = peaks(exact.float(), grid, 1)
    assert 1e-6 < float((rough.coordinates[0, 0] - place).abs().max()) < 1e-3


def test_placed_peaks_are_ordered_by_their_values_and_stay_within_half_a_step() -> None:
    """Two maxima that the search ordered wrongly, a neighbour above its maximum, and a slot without one."""
    grid = make_grid()
    inner = int(np.ravel_multi_index((1, 2, 2), grid.shape))
    maxima = Maxima(torch.tensor([[inner, inner + 1, 0]]), torch.tensor([[True, True, False]]))
    values = torch.zeros((1, 3, 7), dtype=torch.float64)
    values[0, 0, 0] = 1.0
    values[0, 1] = torch.tensor([2.0, 2.1, 0.0, 0.0, 0.0, 0.0, 0.0])
    values[0, 2, 0] = 9.0
    found = placed(values, maxima, grid)
    assert found.usable.tolist() == [[True, True, False]]
    assert found.score[0, :2].tolist() == [2.0, 1.0]
    assert found.score[0, 2].isnan()
    expected = grid.coordinates[inner + 1] - 0.5 * grid.steps * torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(found.coordinates[0, 0], expected)
    torch.testing.assert_close(found.coordinates[0, 1], grid.coordinates[inner])


def test_refuses_spectra_of_another_grid_or_not_finite() -> None:
    grid = make_grid()
    with pytest.raises(ValueError, match=shows(f"grid point, {grid.n_points}; got 7")):
        peaks(torch.zeros((1, 7)), grid, 1)
    spectrum = torch.zeros((3, grid.n_points))
    spectrum[1, 4] = math.nan
    with pytest.raises(ValueError, match=shows("spectrum ... scenes [1]")):
        peaks(spectrum, grid, 1)


@pytest.mark.parametrize(
    ("arguments", "law"),
    [
        ((0, 5, 4, AZIMUTH, ELEVATION, RANGE), "0 x 5 x 4"),
        ((6, 5, 4, (-2.0, 1.0), ELEVATION, RANGE), "azimuth ... [-2.0, 1.0]"),
        ((6, 5, 4, AZIMUTH, (0.3, 0.1), RANGE), "elevation ... [0.3, 0.1]"),
        ((6, 5, 4, AZIMUTH, ELEVATION, (0.0, 1.0)), "range ... [0.0, 1.0]"),
    ],
)
def test_refuses_impossible_ranges(
    arguments: tuple[int, int, int, tuple[float, float], tuple[float, float], tuple[float, float]], law: str
) -> None:
    with pytest.raises(ValueError, match=shows(law)):
        search_grid(*arguments)
