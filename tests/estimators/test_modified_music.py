"""Modified MUSIC: what cancels on the anti-diagonal, what is left of the third order, and the aliases."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.covariance import (
    NormalizedCovariance,
    blend,
    sample_covariance,
    sample_factor,
    true_covariance,
)
from risolve.estimators.contract import Estimate
from risolve.estimators.lattice import Lattice, rectangular_lattice
from risolve.estimators.modified_music import (
    anti_diagonal,
    directions_modulo_period,
    most_smoothed,
    smoothed,
    sub_array,
)
from risolve.estimators.registry import estimator
from risolve.physics.array import Array
from risolve.physics.geometry import cosines_from_sources, planar_array
from risolve.physics.observation import Observation
from risolve.physics.steering import fresnel_steering, steering
from risolve.shapes import Elements
from tests.estimators.cases import GRID, LOADING, SETTINGS, drawn_prediction, make_estimator
from tests.messages import shows
from tests.oracles import spectra
from tests.tolerances import DOUBLE, SIGMAS
from tests.worlds import DEFAULT, SPREAD_SOURCES, WIDE, direct_array, make_scenes, noiseless, with_amplitude

WAVELENGTH = 0.3

PLACED = 6e-4
"""A parabola through three of eight bins across the half-width of a lobe, in direction cosines: of one source
it is at most 1.4e-4 off in the cases here, and the oracle's grid has steps of 1e-3."""


def exact_rows(sources: Float[Tensor, "*scene source 3"], lattice: Lattice) -> Tensor:
    return steering(sources, lattice.elements(), WAVELENGTH, False)


def fresnel_rows(sources: Float[Tensor, "*scene source 3"], lattice: Lattice) -> Tensor:
    return fresnel_steering(sources, lattice.elements(), WAVELENGTH)


def of(rows: Tensor) -> NormalizedCovariance:
    """R of equal uncorrelated sources."""
    return true_covariance(rows, torch.ones(rows.shape[:2], dtype=torch.float64))


def array_of(elements: Elements) -> Array:
    """Elements of uniform amplitude."""
    return Array(elements, WAVELENGTH, spherical_amplitude=False)


def found_directions(covariance: NormalizedCovariance, lattice: Lattice, n_sources: int) -> Tensor:
    """(u, v) of the best peaks, up to the period."""
    virtual = anti_diagonal(covariance).unflatten(1, (lattice.n_vertical, lattice.n_horizontal))
    return directions_modulo_period(
        virtual, n_sources, n_sources, lattice, array_of(lattice.elements())
    ).cosines


def off_period(difference: Tensor, lattice: Lattice) -> Tensor:
    """A difference of direction cosines, less the nearest multiple of the period."""
    period = 0.5 * WAVELENGTH / torch.tensor(lattice[2:], dtype=torch.float64)
    return difference - period * (difference / period).round()


@pytest.mark.parametrize("lattice", [Lattice(5, 8, 0.15, 0.15), Lattice(4, 6, 0.12, 0.15)], ids=str)
def test_the_second_order_cancels_on_the_anti_diagonal(lattice: Lattice) -> None:
    """Closed form: sum_k p_k exp(2 j k (u x + v y)), whatever the ranges."""
    sources = torch.tensor(SPREAD_SOURCES[:2], dtype=torch.float64).repeat(2, 1, 1)
    sources[1, :, 2] = torch.tensor([0.2, 1.3])
    result = anti_diagonal(of(fresnel_rows(sources, lattice)))
    u, v = cosines_from_sources(sources)[0, :, :2].unbind(-1)
    x, y = lattice.elements()[:, :2].unbind(-1)
    phase = 4.0 * math.pi / WAVELENGTH * (u[:, None] * x + v[:, None] * y)
    expected = 0.5 * torch.polar(torch.ones_like(phase), phase).sum(0)
    torch.testing.assert_close(result, expected.expand_as(result), rtol=0.0, atol=1e-10)


def test_the_anti_diagonal_is_read_the_same_from_a_factor_and_from_the_matrix() -> None:
    observation = make_scenes(WIDE, 2, 10.0, 3).observation.to(torch.complex128)
    sources = torch.tensor(SPREAD_SOURCES[:2], dtype=torch.float64).expand(3, 2, 3)
    sample = sample_covariance(sample_factor(observation, 1e-3))
    predicted = drawn_prediction(observation, sources, GRID, torch.complex128)
    for covariance in (sample, predicted, blend(predicted, sample, 0.3, LOADING)):
        R = covariance.dense()
        expected = torch.stack([R[:, n, 39 - n] for n in range(40)], dim=1)
        torch.testing.assert_close(anti_diagonal(covariance), expected, rtol=0.0, atol=DOUBLE * 40)


@pytest.mark.parametrize("shape", [(8, 5), (6, 4), (2, 2)])
def test_sub_arrays_are_windows_and_their_own_backward_average(shape: tuple[int, int]) -> None:
    virtual = torch.randn((2, *shape), dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    virtual = virtual + virtual.flip(1, 2).conj()
    factor = smoothed(virtual)
    rows, columns = sub_array(shape[0]), sub_array(shape[1])
    windows = [
        virtual[:, i : i + rows, j : j + columns].reshape(2, -1)
        for i in range(shape[0] - rows + 1)
        for j in range(shape[1] - columns + 1)
    ]
    assert torch.equal(factor, torch.stack(windows, dim=-1))
    R = factor @ factor.mH
    torch.testing.assert_close(R.flip(1, 2).conj(), R, rtol=0.0, atol=1e-12)


def test_smoothing_restores_the_rank() -> None:
    lattice = Lattice(5, 8, 0.15, 0.15)
    sources = torch.tensor([SPREAD_SOURCES], dtype=torch.float64)
    virtual = anti_diagonal(of(exact_rows(sources, lattice))).unflatten(1, (8, 5))
    singular = torch.linalg.svdvals(smoothed(virtual))[0]
    assert most_smoothed(lattice) >= 3
    assert float(singular[2]) > 0.05 * float(singular[0])


@pytest.mark.parametrize("n_sources", [1, 2])
def test_directions_are_the_peaks_of_the_spectrum_as_written(n_sources: int) -> None:
    """Against sub-arrays, covariance and spectrum one entry at a time, on a fine grid around each peak."""
    lattice = Lattice(5, 8, 0.15, 0.15)
    sources = torch.tensor([SPREAD_SOURCES[:n_sources]], dtype=torch.float64)
    R = of(exact_rows(sources, lattice))
    offsets = np.linspace(-0.01, 0.01, 21)
    for u, v in found_directions(R, lattice, n_sources)[0].tolist():
        around = np.array([(u + du, v + dv) for dv in offsets for du in offsets])
        spectrum = spectra.virtual_music(
            R.dense()[0].numpy(),
            lattice.elements().numpy(),
            5,
            (sub_array(5), sub_array(8)),
            WAVELENGTH,
            around,
            n_sources,
        )
        highest = around[spectrum.argmax()]
        assert np.abs(highest - (u, v)).max() <= PLACED


@pytest.mark.parametrize("lattice", [Lattice(5, 8, 0.15, 0.15), Lattice(9, 4, 0.075, 0.2)], ids=str)
@pytest.mark.parametrize("source", [(0.9, -0.3, 0.8), (-0.2, 0.4, 0.3), (-0.6, -0.1, 1.5), (0.0, 0.0, 1.0)])
def test_fresnel_waves_give_their_directions(lattice: Lattice, source: tuple[float, float, float]) -> None:
    sources = torch.tensor([[source]], dtype=torch.float64)
    found = found_directions(of(fresnel_rows(sources, lattice)), lattice, 1)
    error = off_period(found - cosines_from_sources(sources)[..., :2], lattice)
    assert float(error.abs().max()) < PLACED


def test_the_bias_of_exact_waves_falls_as_the_square_of_inverse_range() -> None:
    """The first odd order of the phase after the linear one is -k w^2 (q.e) (|e|^2 - (q.e)^2) / 2."""
    lattice = Lattice(8, 6, 0.15, 0.15)
    sources = torch.tensor([[[0.6, -0.3, w]] for w in (0.4, 0.2)], dtype=torch.float64)
    found = torch.cat([found_directions(of(exact_rows(one[None], lattice)), lattice, 1) for one in sources])
    floor = torch.cat([found_directions(of(fresnel_rows(one[None], lattice)), lattice, 1) for one in sources])
    near, far = off_period(found - floor, lattice)[:, 0].norm(dim=-1).tolist()
    assert near > 2e-3
    assert near / far == pytest.approx(4.0, rel=0.15)


def direct(
    sources: list[tuple[float, float, float]], lattice: Lattice, wave: Literal["exact", "fresnel"]
) -> Observation:
    """An ordinary array without noise: one scene a source, K = 1, four snapshots."""
    places = torch.tensor(sources, dtype=torch.float64)[:, None]
    rows = (exact_rows if wave == "exact" else fresnel_rows)(places, lattice)
    amplitudes = torch.tensor([1.0, 1j, -2.0, 0.3 - 0.4j], dtype=torch.complex128)
    n_elements = rows.shape[-1]
    return Observation(
        snapshots=amplitudes[:, None] * rows,
        channel=torch.eye(n_elements, dtype=torch.complex128)[None],
        codes=torch.ones((1, 4, n_elements), dtype=torch.complex128),
        array=array_of(lattice.elements()),
        source_model="independent",
        noise_power=None,
    )


def estimated(observation: Observation) -> Estimate:
    one = estimator("modified_music", GRID, SETTINGS)
    covariance = sample_covariance(sample_factor(observation, 1e-6))
    return one.estimate(observation, covariance, torch.ones(observation.n_scenes, dtype=torch.int64))


OFF_AXIS = [
    (math.radians(phi), math.radians(theta), 1.0 / r)
    for phi in (-50.0, -13.5, 13.5, 50.0)
    for theta in (-25.0, 10.0)
    for r in (2.0, 5.0)
]
"""50 and -13.5 degrees are one another's alias, sin 50 = 1 - sin 13.5, in the horizontal plane."""


@pytest.mark.parametrize(
    "lattice",
    [
        Lattice(5, 8, 0.15, 0.15),
        Lattice(8, 5, 0.15, 0.15),
        Lattice(8, 8, 0.075, 0.075),
        Lattice(6, 6, 0.15, 0.3),
    ],
    ids=str,
)
def test_fresnel_waves_are_neither_mirrored_nor_aliased(lattice: Lattice) -> None:
    result = estimated(direct(OFF_AXIS, lattice, "fresnel"))
    assert bool(result.resolved.all())
    expected = cosines_from_sources(torch.tensor(OFF_AXIS, dtype=torch.float64))
    error = (cosines_from_sources(result.sources[:, 0]) - expected)[:, :2].abs()
    assert float(error.max()) < PLACED


@pytest.mark.parametrize(
    "lattice", [Lattice(5, 8, 0.15, 0.15), Lattice(8, 8, 0.15, 0.15), Lattice(12, 12, 0.15, 0.15)], ids=str
)
def test_exact_waves_are_off_by_the_bias_of_the_third_order_alone(lattice: Lattice) -> None:
    """The plane wave nearest to the third-order phase, over sub-arrays that are shorter than the array.

        -k w^2 (q.e) (|e|^2 - (q.e)^2) / 2 ~ k (du, dv).e

    Over all elements the slope by least squares is somewhat more than over the sub-arrays: the cubic is
    steepest at the edges.
    """
    result = estimated(direct(OFF_AXIS, lattice, "exact"))
    assert bool(result.resolved.all())
    sources = torch.tensor(OFF_AXIS, dtype=torch.float64)
    truth = cosines_from_sources(sources)[:, :2]
    places = lattice.elements()[:, :2]
    projection = truth @ places.mT
    third = -(sources[:, 2:] ** 2) * projection * (places.square().sum(-1) - projection.square()) / 2.0
    slope = third @ torch.linalg.pinv(places).mT
    bias = cosines_from_sources(result.sources[:, 0])[:, :2] - truth
    assert float((bias - 0.75 * slope).norm(dim=-1).max()) < 0.2 * float(slope.norm(dim=-1).max())
    assert bool(((bias - 0.75 * slope).norm(dim=-1) < 0.2 * slope.norm(dim=-1) + PLACED).all())


def test_the_range_of_a_far_enough_source_is_found_on_the_exact_wave() -> None:
    lattice = Lattice(12, 12, 0.15, 0.15)
    for spherical_amplitude in (False, True):
        observation = direct([(0.5, -0.2, 0.25), (-0.9, 0.3, 0.2)], lattice, "exact")
        result = estimated(with_amplitude(observation, spherical_amplitude))
        error = result.sources[:, 0, 2] - torch.tensor([0.25, 0.2], dtype=torch.float64)
        assert float(error.abs().max()) < 0.05


def test_a_surface_with_as_many_antennas_as_elements_is_localized() -> None:
    """WIDE with M = N, where the pseudo-inverse loses nothing: sources off both axes, through a channel."""
    system = replace(WIDE, n_antennas=40)
    scenes = noiseless(make_scenes(system, 1, 20.0, 6, sources=[(0.87, -0.3, 0.4)]))
    one = make_estimator("modified_music")
    covariance = sample_covariance(sample_factor(scenes.observation, 1e-9))
    result = one.estimate(scenes.observation, covariance, scenes.n_sources.long())
    error = (cosines_from_sources(result.sources) - cosines_from_sources(scenes.sources[:, :1]))[..., :2]
    assert float(error.abs().max()) < 0.02


def test_several_sources_of_an_ordinary_array() -> None:
    scenes = noiseless(direct_array(SPREAD_SOURCES[:2], 20.0, 4, 200, n_horizontal=8, n_vertical=6))
    one = make_estimator("modified_music")
    covariance = sample_covariance(sample_factor(scenes.observation, 1e-6))
    result = one.estimate(scenes.observation, covariance, scenes.n_sources.long())
    assert bool(result.resolved.all())
    ordered = result.sources.gather(1, result.sources[..., :1].argsort(1).expand(-1, -1, 3))
    assert float((ordered - scenes.sources)[..., :2].abs().max()) < 0.1


def test_the_projection_on_fewer_antennas_keeps_a_share_and_leaves_an_error() -> None:
    """Without noise the anti-diagonal of R_samp keeps M / N of the signal; its error falls as 1 / sqrt(L)."""
    n_scenes, errors = 40, []
    for n_snapshots in (16, 64):
        system = replace(DEFAULT, n_snapshots=n_snapshots)
        scenes = noiseless(make_scenes(system, 1, 20.0, n_scenes))
        virtual = anti_diagonal(sample_covariance(sample_factor(scenes.observation, 1e-6)))
        wave = scenes.observation.array.steering(scenes.sources[:, 0])
        signal = wave * wave.flip(1).conj()
        share = (signal.conj() * virtual).mean(1).real
        spread = float(share.std()) / math.sqrt(n_scenes)
        assert float(share.mean()) == pytest.approx(16 / 144, abs=SIGMAS * spread + 0.1 * 16 / 144)
        rest = (virtual - share[:, None] * signal).abs().square().mean(1)
        errors.append(float(rest.mean().sqrt() / share.mean()))
    assert errors[0] == pytest.approx(144 / (16 * math.sqrt(16)), rel=0.5)
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.2)


def test_more_sources_than_the_sub_arrays_carry_are_not_resolved() -> None:
    lattice = rectangular_lattice(array_of(planar_array(3, 3, 0.15)))
    assert most_smoothed(lattice) == 3
    places = [(-0.6, 0.3, 0.5), (0.4, -0.3, 0.5), (0.0, 0.0, 0.5), (0.9, 0.2, 0.5)]
    scenes = direct_array(places, 20.0, 2, n_horizontal=3, n_vertical=3)
    one = make_estimator("modified_music")
    covariance = sample_covariance(sample_factor(scenes.observation, 1e-3))
    result = one.estimate(scenes.observation, covariance, scenes.n_sources.long())
    assert result.resolved.tolist() == [False, False]


def test_an_array_that_is_no_lattice_is_refused() -> None:
    scenes = make_scenes(WIDE, 1, 20.0, 2)
    elements = scenes.observation.array.elements.clone()
    elements[13, 1] += 0.01
    observation = replace(scenes.observation, array=replace(scenes.observation.array, elements=elements))
    covariance = sample_covariance(sample_factor(observation, 1e-3))
    for name in ("modified_music", "modified_music_blend"):
        one = make_estimator(name)
        read = (
            covariance
            if one.covariance_kind == "sample"
            else blend(
                drawn_prediction(observation, scenes.sources, GRID, torch.complex64), covariance, 0.3, LOADING
            )
        )
        with pytest.raises(ValueError, match=shows("e_n = ... 40 elements ... 0.01 m")):
            one.estimate(observation, read, scenes.n_sources.long())
