"""Sources of one amplitude: their likelihood, its expansion, the bound, the search and the count."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import risolve
from risolve.bounds.cramer_rao import constant_bound
from risolve.inference.assessment import likelihood_at
from risolve.inference.counting import CountingRule, is_source
from risolve.inference.detection import detectors, explained, gains, pair_gains
from risolve.inference.grid import search_grid
from risolve.inference.likelihood import concentrated_residual, misfits, refine
from risolve.inference.projection import amplitude_noise, project, source_responses
from risolve.physics.observation import Observation
from tests.messages import shows
from tests.oracles import cramer_rao as bounds
from tests.oracles import likelihood as oracle
from tests.tolerances import FINITE_DIFFERENCE, SINGLE
from tests.worlds import FIELD_OF_VIEW, SPREAD_SOURCES, WIDE, make_scenes, noiseless

GRID = search_grid(6, 5, 3, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)
PLACES = torch.tensor(SPREAD_SOURCES, dtype=torch.float64)
AMPLITUDE = 0.8 - 0.6j
LINE = risolve.linear(8, 0.5, 1.0)
FROM_FIRST = risolve.Array(LINE.elements - LINE.elements[0], 1.0)
"""A line whose first element is the origin, at which waves have one phase."""


def through_a_surface(n_sources: int, noise: bool = True) -> tuple[Observation, Tensor]:
    """Two scenes of sources of one amplitude, with their places."""
    scenes = make_scenes(WIDE, n_sources, 5.0, 2, "constant", sources=SPREAD_SOURCES[:n_sources])
    places = PLACES[:n_sources].expand(2, n_sources, 3)
    exact = noiseless(scenes).observation
    sent = AMPLITUDE * source_responses(exact, places)[..., 0, :].sum(2)
    own = sent.reshape(exact.snapshots.shape)
    noisy = scenes.observation.snapshots - exact.snapshots if noise else 0.0
    return replace(exact, snapshots=own + noisy, gains="equal"), places


def on_a_line(
    azimuth: list[float], noise: float, n_scenes: int, n_snapshots: int = 20, gains: str = "equal"
) -> Observation:
    """Plane waves of one waveform, with one phase at the first element."""
    random = np.random.default_rng(4)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal((*shape, 2)).view(complex)[..., 0] / np.sqrt(2.0)

    places = torch.tensor([[[a, 0.0, 0.0] for a in np.deg2rad(azimuth)]], dtype=torch.float64)
    wave = FROM_FIRST.steering(places).numpy().sum(1)
    y = normal(n_scenes, n_snapshots, 1) * wave + noise * normal(n_scenes, n_snapshots, 8)
    return Observation(y, FROM_FIRST, source_model="coherent", gains=gains)


def test_the_residual_is_that_of_the_summed_responses() -> None:
    observation, places = through_a_surface(3)
    moved = places + 0.03
    found = concentrated_residual(observation, moved, torch.ones(2, 3, dtype=torch.bool))
    for scene in range(2):
        matrices = oracle.dictionary(
            observation.channel[scene % len(observation.channel)].numpy(),
            observation.codes[scene % len(observation.codes)].numpy(),
            moved[scene].tolist(),
            observation.array.elements.tolist(),
            observation.array.wavelength,
            observation.array.spherical_amplitude,
            "constant",
        )
        summed = [matrix.sum(1, keepdims=True) for matrix in matrices]
        received = oracle.groups(observation.snapshots[scene].numpy(), "constant")
        assert float(found[scene]) == pytest.approx(oracle.residual(summed, received), rel=1e-9)
    torch.testing.assert_close(misfits(observation, moved).sum((1, 2)), found)
    torch.testing.assert_close(refine(observation, moved, 0).residual, found)
    none = concentrated_residual(observation, moved, torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(none, observation.snapshots.abs().square().sum((1, 2)))


def test_slope_and_curvature_are_those_of_the_residual() -> None:
    """Curvature without noise, where Gauss-Newton leaves nothing out."""
    observation, places = through_a_surface(2)
    exact, _ = through_a_surface(2, noise=False)
    present, step = torch.ones(2, 2, dtype=torch.bool), 1e-5
    moved = places + 0.02
    slope, curvature = project(observation, moved).slope, project(exact, places).curvature
    for coordinate in range(6):
        by = torch.zeros(6, dtype=torch.float64)
        by[coordinate] = step
        up, down = (
            concentrated_residual(observation, moved + sign * by.reshape(2, 3), present)
            for sign in (1.0, -1.0)
        )
        atol = 10 * FINITE_DIFFERENCE * float(slope.abs().max())
        expected = -(up - down) / (4.0 * step)
        torch.testing.assert_close(slope[:, coordinate], expected, rtol=FINITE_DIFFERENCE, atol=atol)
        above, below = (project(exact, places + sign * by.reshape(2, 3)).slope for sign in (1.0, -1.0))
        of_slope = -(above - below) / (2.0 * step)
        atol = 1e-7 * float(curvature.abs().max())
        torch.testing.assert_close(curvature[:, coordinate], of_slope, rtol=1e-6, atol=atol)


def test_noise_in_the_one_amplitude_adds_to_the_curvature() -> None:
    """C_ij = Re{D_i^H (I - b b^H / |b|^2) D_j} / |b|^2."""
    observation, places = through_a_surface(2)
    found = amplitude_noise(observation, places)
    for scene, own in enumerate(source_responses(observation, places)[:, 0].numpy()):
        b, derivatives = own[:, 0].sum(0), own[:, 1:].reshape(6, -1)
        energy = np.vdot(b, b).real
        for i, first in enumerate(derivatives):
            for j, second in enumerate(derivatives):
                left = np.vdot(first, second) - np.vdot(first, b) * np.vdot(b, second) / energy
                assert float(found[scene, i, j]) == pytest.approx(left.real / energy, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("n_sources", [1, 2])
def test_the_bound_is_the_inverse_of_the_joint_information(n_sources: int) -> None:
    observation, places = through_a_surface(n_sources, noise=False)
    amplitudes, power = torch.full((2, n_sources), AMPLITUDE), torch.tensor([0.1, 0.4], dtype=torch.float64)
    found = constant_bound(observation, places, amplitudes, power).covariance
    for scene in range(2):
        known = bounds.Scene(
            observation.channel[scene % len(observation.channel)].numpy(),
            observation.codes[scene % len(observation.codes)].numpy(),
            observation.array.elements.tolist(),
            observation.array.wavelength,
            observation.array.spherical_amplitude,
        )
        own = bounds.equal_gains(known, places[scene].numpy(), AMPLITUDE, float(power[scene]))
        deviations = np.sqrt(own.diagonal())
        error = (found[scene].numpy() - own) / np.outer(deviations, deviations)
        assert np.abs(error).max() < FINITE_DIFFERENCE
    if n_sources == 1:
        free = constant_bound(replace(observation, gains="free"), places, amplitudes, power)
        torch.testing.assert_close(found, free.covariance)
    stated = likelihood_at(replace(observation, noise_power=1e-8 * power), places).covariance
    blocks = found.reshape(2, n_sources, 3, n_sources, 3).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
    torch.testing.assert_close(1e8 * stated, blocks, rtol=1e-5, atol=1e-9)


def test_what_is_known_of_the_gains_lowers_the_bound() -> None:
    observation, places = through_a_surface(3, noise=False)
    amplitudes, power = torch.full((2, 3), AMPLITUDE), torch.ones(2, dtype=torch.float64)
    equal = constant_bound(observation, places, amplitudes, power).standard_deviations()
    free = constant_bound(replace(observation, gains="free"), places, amplitudes, power)
    assert bool((equal < free.standard_deviations()).all())
    with pytest.raises(ValueError, match=shows("gains = equal ... 0.5")):
        constant_bound(observation, places, amplitudes + torch.tensor([0.0, 0.5, 0.0]), power)


@pytest.mark.parametrize("n_others", [0, 1, 2])
def test_gains_of_the_grid_are_what_all_sources_explain(n_others: int) -> None:
    observation, places = through_a_surface(3)
    ((_, detector),) = detectors(observation, GRID)
    unit, others = detector.observation, places[:, None, :n_others]
    taken = explained(detector, others)
    energy = unit.snapshots.abs().square().sum((1, 2))
    points = torch.tensor([3, 40, 61]).expand(2, 3)

    def explain(*added: Tensor) -> Tensor:
        every = torch.cat((others[:, 0], torch.stack(added, 1)), 1)
        return energy - refine(unit, every, 0).residual

    one, two = gains(detector, taken)[:, 0], pair_gains(detector, taken, points)
    tolerance = {"rtol": 20 * SINGLE, "atol": 20 * SINGLE}
    for i in range(3):
        first = GRID.sources[points[:, i]]
        torch.testing.assert_close(one[:, points[0, i]].double(), explain(first), **tolerance)
        for j in range(3):
            expected = explain(first, GRID.sources[points[:, j]]) if i != j else torch.zeros_like(energy)
            torch.testing.assert_close(two[:, i, j].double(), expected, **tolerance)


def test_one_source_of_equal_gains_is_one_source() -> None:
    equal, free = (on_a_line([20.0], 0.3, 3, gains=gains) for gains in ("equal", "free"))
    one, other = (risolve.locate(seen, sources=1, elevation=0, range=np.inf) for seen in (equal, free))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-6, atol=1e-9)


def test_sources_are_counted_located_and_their_errors_stated() -> None:
    """Four within two beams of a line of eight."""
    azimuth = [-38.0, -12.0, 14.0, 40.0]
    seen = on_a_line(azimuth, 0.3, 24)
    told = {"elevation": 0, "range": np.inf}
    assert (risolve.locate(seen, **told).scenes[:, 2] == 4).mean() >= 0.95
    found = risolve.locate(seen, sources=4, **told)
    places, deviations = (found[name].reshape(24, 4) for name in ("azimuth_deg", "azimuth_std_deg"))
    order = places.argsort(1)
    ratio = (np.take_along_axis(places, order, 1) - azimuth) / np.take_along_axis(deviations, order, 1)
    assert 0.8 < np.sqrt((ratio**2).mean()) < 1.2
    power = found["power_db"].reshape(24, 4)
    assert (power == power[:, :1]).all() and (found.fits > 0.001).mean() >= 0.95
    # at most (2 M - 2) / n_free sources, where free gains leave 2 M / (2 + n_free)
    with pytest.raises(ValueError, match=shows("2 + 1 K ... 0 to 14 sources, got 15")):
        risolve.locate(seen, sources=15, **told)


def test_a_number_that_explains_less_ends_no_count() -> None:
    """Of three sources of which neither one nor two explain more than noise, noise power unknown."""
    seen = replace(on_a_line([-40.0, 0.0, 35.0], 0.1, 3), noise_power=None)
    assert (risolve.locate(seen, elevation=0, range=np.inf).scenes[:, 2] == 3).all()


# weak scenes have rivals
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_noise_beside_a_source_is_a_source_no_more_often_than_stated() -> None:
    power = torch.full((100,), 0.25, dtype=torch.float64)
    seen = replace(on_a_line([20.0], 0.5, 100, n_snapshots=1), noise_power=power)
    found = risolve.locate(seen, elevation=0, range=np.inf, false_alarm=0.02)
    # 2 of 100, and three standard deviations
    assert (found.scenes[:, 2] > 1).sum() <= 2 + 3 * np.sqrt(2)


def test_the_information_criterion_counts_one_amplitude() -> None:
    """2 T / sigma^2 > (2 a + c) log(2 L M): a = 1 of the first source, 0 of another one."""
    ones = torch.ones(1, dtype=torch.float64)
    seen = replace(on_a_line([20.0], 1.0, 1), noise_power=ones)
    seen = replace(seen, stated=risolve.field.FieldOfView(None, 0.0, np.inf).limits(FROM_FIRST, 8))
    rule = CountingRule("bic", 0.01, 8)
    for n_sources, unknowns in ((0, 3.0), (1, 1.0)):
        threshold = unknowns * np.log(16.0) / 2.0
        for factor, expected in ((0.99, False), (1.01, True)):
            after = 100.0 * ones - factor * threshold
            assert bool(is_source(rule, seen, n_sources, 100.0 * ones, after, 9)) == expected


@pytest.mark.parametrize("estimator", ["music", "nomp", "ml+ml"])
def test_other_estimators_are_refused(estimator: str) -> None:
    with pytest.raises(ValueError, match=shows(f"gains = equal ... ml ... {estimator}")):
        risolve.locate(on_a_line([20.0], 0.3, 1), elevation=0, range=np.inf, estimator=estimator)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gains": "equal"}, "gains = equal ... constant ... coherent ... independent"),
        ({"gains": "same", "source_model": "constant"}, "gains ... 'same'"),
    ],
)
def test_gains_that_cannot_be_told_are_refused(changes: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=shows(told)):
        Observation(np.ones((2, 8), complex), LINE, **changes)
