"""What a place explains of what the other sources leave, against covariances written out."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from risolve.inference import left_out
from risolve.inference.detection import detectors, explained, gains
from risolve.inference.field import Field, field
from risolve.inference.left_out import left_out_decrease, snapshot_energies, whitened
from risolve.inference.unconditional import refine_unconditional, unconditional_cost
from risolve.physics.observation import Observation, SourceModel
from tests.inference.test_hypotheses import (
    ELSEWHERE,
    FINE,
    GRID,
    ITERATIONS,
    MODELS,
    even,
    repeated,
    seen,
)
from tests.inference.test_likelihood import dictionary_of
from tests.oracles import unconditional as oracle
from tests.worlds import (
    DEFAULT,
    SPREAD_SOURCES,
    WIDE,
    direct_array,
    make_scenes,
    separations,
)

POINTS = (0, 17, 244, 381, GRID.n_points - 1)
POWERS = np.concatenate((np.zeros(1), np.logspace(-7, 4, 20_001)))


def along_one_direction(observation: Observation) -> Observation:
    """The same snapshots behind the strongest direction of the channel alone."""
    left, values, right = torch.linalg.svd(observation.channel, full_matrices=False)
    return replace(observation, channel=(left[:, :, :1] * values[:, None, :1]) @ right[:, :1])


def one_elsewhere(scenes: Field) -> tuple[Tensor, Tensor, Tensor]:
    """One source that is left out, so that nothing is beside a point."""
    n_scenes = scenes.observation.n_scenes
    return (
        repeated([ELSEWHERE], n_scenes),
        torch.ones((n_scenes, 1), dtype=torch.float64),
        scenes.noise_power,
    )


def oracle_decreases(
    scenes: Field, fit: tuple[Tensor, Tensor, Tensor], scene: int, source: int, points: tuple[int, ...]
) -> np.ndarray:
    """Delta at all of POWERS, with R_-k of every group written out and inverted."""
    sources, powers, noise_power = (values[scene] for values in fit)
    others = [j for j in range(len(sources)) if j != source]
    beams, received = dictionary_of(scenes.observation, scene, GRID.sources[list(points)], False)
    left = [beam[:, :0] for beam in beams]
    if others:
        left, _ = dictionary_of(scenes.observation, scene, sources[others], False)
    total = np.zeros((len(points), len(POWERS)))
    for matrix, y, beam in zip(left, received, beams, strict=True):
        inverse = np.linalg.inv(oracle.covariance(matrix, powers[others].numpy(), float(noise_power)))
        numerator = np.abs(beam.conj().T @ inverse @ y) ** 2
        denominator = np.einsum("rx,rs,sx->x", beam.conj(), inverse, beam).real
        spread = 1.0 + denominator[:, None] * POWERS
        total += numerator[:, None] * POWERS / spread - np.log(spread)
    return total


@MODELS
@pytest.mark.parametrize("n_sources", [1, 3])
def test_whitened_snapshots_have_the_energy_under_the_covariance_written_out(
    source_model: SourceModel, n_sources: int
) -> None:
    """sum_g y_g^H R_g^-1 y_g."""
    scenes = even(seen(make_scenes(WIDE, n_sources, 5.0, 3, source_model)))
    sources = repeated(list(SPREAD_SOURCES[:n_sources]), 3)
    powers = torch.tensor([0.3, 0.02, 2.0], dtype=torch.float64)[:n_sources].expand(3, -1)
    own = whitened(scenes, sources, powers, scenes.noise_power)
    for scene in range(3):
        columns, received = dictionary_of(scenes.observation, scene, sources[scene], False)
        total = 0.0
        for matrix, y in zip(columns, received, strict=True):
            R = oracle.covariance(matrix, powers[scene].numpy(), float(scenes.noise_power[scene]))
            total += float((y.conj() @ np.linalg.solve(R, y)).real)
        energy = own.snapshots[scene].abs().square().sum() - own.inside[scene].abs().square().sum()
        assert float(energy) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("noise_known", [True, False], ids=["noise known", "noise unknown"])
@pytest.mark.parametrize("n_sources", [1, 2, 3])
def test_decreases_of_constant_sources_are_those_of_the_covariance_written_out(
    noise_known: bool, n_sources: int
) -> None:
    """One group: num and den are exact, and so is the best power after one step."""
    scenes = even(seen(make_scenes(WIDE, n_sources, 5.0, 3, "constant"), noise_known))
    powers = torch.tensor([0.3, 0.02, 2.0], dtype=torch.float64)[:n_sources].expand(3, -1)
    fit = (repeated(list(SPREAD_SOURCES[:n_sources]), 3), powers, scenes.noise_power)
    decrease = left_out_decrease(scenes, *fit)
    assert decrease.shape == (3, n_sources, GRID.n_points)
    for scene, source in itertools.product(range(3), range(n_sources)):
        largest = oracle_decreases(scenes, fit, scene, source, POINTS).max(-1)
        own = decrease[scene, source, list(POINTS)].numpy()
        np.testing.assert_allclose(own, largest, rtol=5e-3, atol=2e-3)


@pytest.mark.parametrize("n_sources", [1, 2, 3])
def test_decreases_behind_one_direction_are_those_of_the_covariances_written_out(n_sources: int) -> None:
    """Exact energies, and two steps come close to the best power."""
    observation = along_one_direction(seen(make_scenes(WIDE, n_sources, 5.0, 3)))
    scenes = even(observation)
    powers = torch.tensor([0.3, 0.02, 2.0], dtype=torch.float64)[:n_sources].expand(3, -1)
    fit = (repeated(list(SPREAD_SOURCES[:n_sources]), 3), powers, scenes.noise_power)
    decrease = left_out_decrease(scenes, *fit)
    for scene, source in itertools.product(range(3), range(n_sources)):
        largest = oracle_decreases(scenes, fit, scene, source, POINTS).max(-1)
        own = decrease[scene, source, list(POINTS)].numpy()
        assert np.all(own <= largest * (1.0 + 5e-3) + 5e-3)
        assert np.all(own >= largest * 0.95 - 0.1)


def test_energies_of_the_snapshots_add_up_to_those_of_the_grid() -> None:
    """A source without power leaves nothing: den of a group is |b|^2, of which the rest is even."""
    scenes = even(seen(make_scenes(DEFAULT, 1, 5.0, 4)))
    exact = torch.stack(
        [
            torch.stack(
                [
                    torch.as_tensor(np.abs(beam) ** 2).sum(0)
                    for beam in dictionary_of(scenes.observation, scene, GRID.sources, False)[0]
                ]
            )
            for scene in range(4)
        ]
    )
    own = snapshot_energies(scenes).double()
    torch.testing.assert_close(own.sum(1), exact.sum(1), rtol=1e-4, atol=0.0)
    error = ((own - exact) / exact).square().mean((1, 2)).sqrt()
    spread = ((exact - exact.mean(1, keepdim=True)) / exact).square().mean((1, 2)).sqrt()
    assert bool((error < 0.5 * spread).all())


def test_a_source_without_power_leaves_the_decreases_as_they_are() -> None:
    scenes = even(seen(make_scenes(WIDE, 2, 5.0, 3)))
    powers = torch.tensor([[0.3, 0.0, 0.5]] * 3, dtype=torch.float64)
    sources = repeated(list(SPREAD_SOURCES), 3)
    whole = left_out_decrease(scenes, sources, powers, scenes.noise_power)
    part = left_out_decrease(scenes, sources[:, [0, 2]], powers[:, [0, 2]], scenes.noise_power)
    torch.testing.assert_close(whole[:, [0, 2]], part, rtol=1e-3, atol=1e-3)


@MODELS
def test_scenes_worked_on_at_once_change_nothing(
    source_model: SourceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = even(seen(make_scenes(WIDE, 2, 5.0, 7, source_model)))
    fit = (repeated(list(SPREAD_SOURCES[:2]), 7), torch.ones((7, 2), dtype=torch.float64), scenes.noise_power)
    whole = left_out_decrease(scenes, *fit)
    monkeypatch.setattr(left_out, "BLOCK_VALUES", 1)
    torch.testing.assert_close(left_out_decrease(scenes, *fit), whole, rtol=1e-4, atol=1e-3)


def test_a_constant_source_of_the_best_power_lowers_the_cost_by_the_decrease() -> None:
    """V_0 - V(x) = q - 1 - log q for q = |b^H y|^2 / (sigma^2 |b|^2) > 1, and 0 below."""
    observation = seen(make_scenes(WIDE, 1, 5.0, 3, "constant"))
    scenes = even(observation)
    decrease = left_out_decrease(scenes, *one_elsewhere(scenes))[:, 0].double()
    nothing = torch.empty((3, 1, 0, 3), dtype=torch.float64)
    ((_, detector),) = detectors(observation, GRID)
    gain = gains(detector, explained(detector, nothing))[:, 0]
    q = gain.double() / scenes.noise_power[:, None]
    expected = torch.where(q > 1.0, q - 1.0 - q.log(), 0.0)
    torch.testing.assert_close(decrease, expected, rtol=2e-3, atol=2e-3)
    none = refine_unconditional(scenes.observation, torch.empty((3, 0, 3), dtype=torch.float64), 0).cost
    for points in (decrease.argmax(-1), torch.full((3,), 381)):
        cost = unconditional_cost(scenes.observation, GRID.sources[points][:, None], ITERATIONS)
        own = decrease[torch.arange(3), points]
        torch.testing.assert_close(none - cost, own, rtol=2e-3, atol=2e-3)


def test_the_decrease_peaks_beside_the_source_that_is_left_out() -> None:
    """Wherever the estimate of that source stands."""
    observation = seen(make_scenes(DEFAULT, 3, 10.0, 6, "constant", sources=SPREAD_SOURCES))
    scenes = field(observation, FINE, torch.zeros((6, FINE.n_points)))
    fit = refine_unconditional(scenes.observation, repeated(list(SPREAD_SOURCES), 6), ITERATIONS)
    strayed = fit.sources.clone()
    strayed[:, 1] = torch.tensor(ELSEWHERE, dtype=torch.float64)
    decrease = left_out_decrease(scenes, strayed, fit.powers, fit.noise_power)[:, 1]
    place = FINE.sources[decrease.argmax(-1)]
    apart = separations(torch.stack((place, fit.sources[:, 1]), dim=1))
    assert bool((apart < np.deg2rad(10.0)).all())
    standing = left_out_decrease(scenes, fit.sources, fit.powers, fit.noise_power)[:, 1]
    torch.testing.assert_close(standing, decrease, rtol=1e-3, atol=1e-2)


@MODELS
@pytest.mark.parametrize("snr_db", [-30.0, 60.0])
def test_decreases_are_finite_and_not_negative_at_any_snr(source_model: SourceModel, snr_db: float) -> None:
    observation = seen(make_scenes(DEFAULT, 2, snr_db, 4, source_model, sources=SPREAD_SOURCES[:2]))
    scenes = even(observation)
    fit = refine_unconditional(scenes.observation, repeated(list(SPREAD_SOURCES[:2]), 4), ITERATIONS)
    decrease = left_out_decrease(scenes, fit.sources, fit.powers, fit.noise_power)
    assert bool(decrease.isfinite().all())
    assert bool((decrease >= 0.0).all())


def test_a_direct_array_needs_no_surface() -> None:
    """H = I: all directions of the channel are as strong, and all snapshots as bright."""
    scenes = even(seen(direct_array(SPREAD_SOURCES[:1], 10.0, 3)))
    decrease = left_out_decrease(scenes, *one_elsewhere(scenes))[:, 0]
    place = GRID.sources[decrease.argmax(-1)]
    apart = separations(torch.stack((place, repeated(list(SPREAD_SOURCES[:1]), 3)[:, 0]), dim=1))
    assert bool((apart < np.deg2rad(15.0)).all())
