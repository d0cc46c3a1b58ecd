"""The expansion of f: definitions, finite differences, the Schur complement, and what noise leaves."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from risolve.bounds.cramer_rao import conditional_bound, constant_bound
from risolve.calibration.fit import fit_array, places_covariance, theta_covariance
from risolve.calibration.information import Placed, expanded, freedom, values_of
from risolve.calibration.null_space import null_space
from risolve.calibration.unknowns import Priors
from risolve.physics.array import linear
from risolve.physics.observation import SourceModel
from tests import tolerances
from tests.calibration.worlds import World, generator, normal, world
from tests.oracles import calibration as oracle

POSITIONS = Priors(None, None, 0.005)


def of_array(knows_noise: bool = True) -> World:
    return world(
        "gains",
        "positions",
        "heading",
        n_antennas=None,
        n_scenes=4,
        n_sources=2,
        priors=POSITIONS,
        knows_noise=knows_noise,
    )


def through_surface(source_model: SourceModel = "constant") -> World:
    names = ("gains", "antenna_phases", "antenna_gains", "positions", "heading")
    return world(*names, n_scenes=5, n_sources=2, source_model=source_model, priors=POSITIONS)


def coupled() -> World:
    """Behind a surface whose rows are as far apart as its columns."""
    return world("gains", "heading", "coupling", n_scenes=4, n_sources=2)


OF_TRUTH = ("truth_azimuth", "truth_elevation", "truth_range", "truth_scale")


def of_wrong_truth(source_model: SourceModel = "constant") -> World:
    names = ("gains", "positions", "coupling", *OF_TRUTH)
    priors = {"n_antennas": None, "priors": POSITIONS, "source_model": source_model}
    return world(*names, n_scenes=5, n_sources=2, **priors)  # type: ignore[arg-type]


WORLDS = {
    "array": of_array,
    "coupled surface": coupled,
    "wrong truth": of_wrong_truth,
    "wrong truth, independent": lambda: of_wrong_truth("independent"),
    "noise not known": lambda: of_array(False),
    "surface": through_surface,
    "surface, independent": lambda: through_surface("independent"),
}


@pytest.mark.parametrize("name", WORLDS)
def test_what_scenes_leave_is_the_definition(name: str) -> None:
    """Gains, places, turn and heading are applied one by one."""
    made = WORLDS[name]()
    unknowns, seen = made.unknowns, made.placed.observation
    held = {part: made.theta[where].tolist() for part, where in unknowns.parts.items()}
    k, N, M = unknowns.wavenumber, unknowns.array.n_elements, seen.n_antennas
    eta = held.get("heading", [0.0])[0] / (k * unknowns.lever)
    azimuth, elevation, off = (
        held.get(name, [0.0])[0] / (k * unit)
        for name, unit in zip(OF_TRUTH, (unknowns.reach, unknowns.reach, 1.0), strict=False)
    )
    scale = math.exp(held.get("truth_scale", [0.0])[0])
    mixing = oracle.mixing(complex(*held.get("coupling", [0.0])), unknowns.array.elements.tolist())
    elements, gains = [], []
    for n, (x, y, z) in enumerate(unknowns.array.elements.tolist()):
        off_by = held.get("positions", [0.0] * 3 * N)
        moved = [value + off_by[axis * N + n] / k for axis, value in enumerate((x, y, z))]
        elements.append(oracle.turned(moved, eta) if unknowns.is_array else moved)
        gains.append(oracle.gain(held["gains"][n], held["gains"][N + n]))
        if not unknowns.is_array:
            gains[n] *= oracle.gain(0.0, k * x * eta)
    antennas = [
        oracle.gain(held["antenna_gains"][m], held["antenna_phases"][m]) if "antenna_gains" in held else 1.0
        for m in range(M)
    ]
    arrow = expanded([made.placed], unknowns, made.theta)
    for scene in range(seen.n_scenes):
        expected = oracle.residual(
            seen.snapshots[scene].numpy(),
            np.diag(antennas) @ seen.channel[0].numpy() @ np.diag(gains) @ mixing,
            seen.codes[0].numpy(),
            [
                oracle.true_place(place, azimuth, elevation, off, scale)
                for place in made.placed.sources[scene].tolist()
            ],
            elements,
            unknowns.array.wavelength,
            seen.source_model,
        )
        assert float(arrow.scenes[0].residual[scene]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["array", "surface, independent"])
def test_scenes_that_fit_are_as_likely_as_their_residual_says(name: str) -> None:
    """J / sigma^2 of each, whatever is unknown of the array."""
    made = WORLDS[name]()
    arrow, noise_power = (
        expanded([made.placed], made.unknowns, made.theta),
        made.placed.observation.noise_power,
    )
    assert noise_power is not None
    torch.testing.assert_close(values_of(made.placed, made.true), arrow.scenes[0].residual / noise_power)


@pytest.mark.parametrize("name", WORLDS)
def test_slopes_are_central_differences(name: str) -> None:
    """One scene fits so ill that it has lost weight."""
    made = WORLDS[name]()
    unknowns, step = made.unknowns, 1e-6
    free = torch.ones_like(made.placed.is_free)
    free[0] = False
    snapshots = made.placed.observation.snapshots.clone()
    snapshots[-1] += 10.0 * normal(generator(4), *snapshots.shape[1:])
    observation = replace(made.placed.observation, snapshots=snapshots)
    placed = Placed(observation, made.placed.sources, free)
    theta = made.theta + 0.05 * torch.randn(unknowns.size, generator=generator(2), dtype=torch.float64)
    arrow = expanded([placed], unknowns, theta)

    def value(direction: torch.Tensor, places: torch.Tensor) -> float:
        moved = replace(placed, sources=placed.sources + places)
        return expanded([moved], unknowns, theta + direction).value

    nowhere, nothing = torch.zeros_like(placed.sources), unknowns.nothing()
    for part in unknowns.parts.values():
        for number in {part.start, part.stop - 1}:
            along = nothing.clone()
            along[number] = step
            slope = (value(along, nowhere) - value(-along, nowhere)) / (2.0 * step)
            assert slope == pytest.approx(-2.0 * float(arrow.slope[number]), rel=1e-5, abs=1e-4)
    for scene, coordinate in ((0, 0), (1, 0), (1, 2), (2, 4)):
        along = nowhere.clone()
        along[scene].view(-1)[coordinate] = step
        slope = (value(nothing, along) - value(nothing, -along)) / (2.0 * step)
        expected = 0.0 if scene == 0 else slope
        assert -2.0 * float(arrow.scenes[0].slope[scene, coordinate]) == pytest.approx(
            expected, rel=1e-5, abs=1e-4
        )


@pytest.mark.parametrize("name", ["array", "surface", "coupled surface", "wrong truth"])
def test_curvature_is_that_of_the_projected_responses(name: str) -> None:
    """V by central differences of the responses at the amplitudes found, projected, scene by scene; the Schur
    complement is the inverse of the block of theta in the inverse of the whole.
    """
    made = WORLDS[name]()
    unknowns, seen = made.unknowns, made.placed.observation
    free = torch.ones_like(made.placed.is_free)
    free[0] = False
    placed = replace(made.placed, is_free=free)
    arrow = expanded([placed], unknowns, made.theta)
    n_places = free[0].numel()
    whole = torch.diag(torch.cat((unknowns.prior, torch.zeros(n_places * seen.n_scenes))).double())

    def columns(theta: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        """G of every scene and group, [row, source]."""
        own = unknowns.calibration(theta).of(seen)
        waves = own.array.steering(unknowns.true_places(theta, sources, ~free)[0])
        each = torch.einsum("mn,ln,skn->slmk", own.channel[0], own.codes[0], waves)
        return each if seen.source_model == "independent" else each.flatten(1, 2)[:, None]

    matrix = columns(made.theta, placed.sources)
    snapshots = seen.snapshots.reshape(*matrix.shape[:3], 1)
    amplitudes = torch.linalg.pinv(matrix) @ snapshots
    projector = torch.eye(matrix.shape[2]) - matrix @ torch.linalg.pinv(matrix)
    step = 1e-5
    for scene in range(seen.n_scenes):
        slopes = []
        for number in range(unknowns.size + n_places):
            theta, sources = unknowns.nothing(), torch.zeros_like(placed.sources)
            if number < unknowns.size:
                theta[number] = step
            elif bool(free[scene].view(-1)[number - unknowns.size]):
                sources[scene].view(-1)[number - unknowns.size] = step
            change = columns(made.theta + theta, placed.sources + sources) - columns(
                made.theta - theta, placed.sources - sources
            )
            slope = projector[scene] @ change[scene] / (2.0 * step) @ amplitudes[scene]
            slopes.append(torch.view_as_real(slope).flatten())
        lines = torch.stack(slopes)
        own = unknowns.size + n_places * scene + torch.arange(n_places)
        where = torch.cat((torch.arange(unknowns.size), own))
        assert seen.noise_power is not None
        whole[where[:, None], where] += lines @ lines.mT / seen.noise_power[scene]
    held = torch.cat((torch.ones(unknowns.size, dtype=torch.bool), free.flatten()))
    whole = whole[held][:, held]
    size = unknowns.size
    expected = whole[:size, :size] - whole[:size, size:] @ torch.linalg.solve(
        whole[size:, size:], whole[size:, :size]
    )
    error = (arrow.schur() - expected).abs().amax() / expected.abs().amax()
    assert float(error) < tolerances.FINITE_DIFFERENCE


def test_gains_of_one_known_source_have_their_closed_form() -> None:
    """y_ln = g_n b_n s_l, the s_l free and |b_n| = |g_n| = 1: var(alpha_n) = var(phi_n) = sigma^2 / (2 sum
    |s|^2) (1 - 1/N), the common gain being no change.
    """
    made = world("gains", array=linear(6, 0.05, 0.1), n_antennas=None, n_scenes=3)
    seen = made.placed.observation
    signal = made.signal / made.true.element_gains.abs()
    placed = replace(made.placed, observation=replace(seen, snapshots=signal))
    theta = made.theta.clone()
    theta[:6] = 0.0
    arrow = expanded([placed], made.unknowns, theta)
    found = theta_covariance(arrow, null_space(arrow, made.unknowns, theta).total)
    assert seen.noise_power is not None
    energy = (signal[..., 0].abs().square().sum(1) / seen.noise_power).sum()
    expected = (1.0 - 1.0 / 6.0) / (2.0 * energy)
    torch.testing.assert_close(found.diagonal(), expected.expand(12), rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
def test_of_a_known_array_the_places_have_the_bound_that_knows_it(source_model: SourceModel) -> None:
    """An array that is unknown raises it, and one that many known places have shown raises it less."""
    made = world("gains", "antenna_phases", n_scenes=30, n_sources=2, source_model=source_model, snr_db=20.0)
    seen, sources = made.placed.observation, made.placed.sources
    exact = replace(seen, snapshots=made.signal)
    true = made.true.of(exact)
    assert seen.noise_power is not None
    columns = torch.einsum("mn,ln,skn->slmk", true.channel[0], true.codes[0], true.array.steering(sources))
    if source_model == "independent":
        amplitudes = (torch.linalg.pinv(columns) @ made.signal[..., None])[..., 0]
        bound = conditional_bound(true, sources, amplitudes, seen.noise_power)
    else:
        one = (torch.linalg.pinv(columns.flatten(1, 2)) @ made.signal.flatten(1)[..., None])[..., 0]
        bound = constant_bound(true, sources, one, seen.noise_power)
    raised = []
    for n_known in (10, 28):
        free = torch.ones_like(made.placed.is_free)
        free[:n_known] = False
        arrow = expanded([Placed(exact, sources, free)], made.unknowns, made.theta)
        lost = null_space(arrow, made.unknowns, made.theta).total
        nothing = torch.zeros_like(arrow.shared)
        alone = places_covariance(arrow.scenes[0], free, nothing)[-1]
        torch.testing.assert_close(alone, bound.covariance[-1], rtol=1e-6, atol=1e-14)
        both = places_covariance(arrow.scenes[0], free, theta_covariance(arrow, lost))
        assert not both[0].any()
        raised.append((both[-1].diagonal() / alone.diagonal()).mean())
    assert 1.0 < float(raised[1]) < float(raised[0])


def test_noise_leaves_what_is_free() -> None:
    """At the maximum J / sigma^2 is on average the numbers that no unknown takes; of 50 scenes within 5
    standard errors sqrt(J / sigma^2).
    """
    made = world("gains", n_antennas=None, n_scenes=50)
    found = fit_array([made.blind(0.0, 10)], made.unknowns, 60)
    arrow = expanded(found.placed, made.unknowns, found.theta)
    noise_power = made.placed.observation.noise_power
    assert noise_power is not None
    left = float((arrow.scenes[0].residual / noise_power).sum())
    expected = float(freedom(found.placed, made.unknowns)[0].sum())
    assert abs(left - expected) < tolerances.SIGMAS * expected**0.5
