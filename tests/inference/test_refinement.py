"""Refinement: exact without noise, invariant, robust, and as precise as the bound allows."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from risolve.bounds.cramer_rao import conditional_bound, constant_bound
from risolve.inference import likelihood
from risolve.inference.likelihood import Refinement, concentrated_residual, refine
from risolve.inference.projection import project
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes, System
from tests.messages import shows
from tests.worlds import (
    DEFAULT,
    SMALL,
    SPREAD_SOURCES,
    WIDE,
    direct_array,
    make_scenes,
    noiseless,
    scaled,
    signal_of,
)

MODELS: tuple[SourceModel, ...] = ("independent", "constant")
ITERATIONS = 60
ANGLE = math.radians(1e-6)
DISTANCE = 1e-6


def placed(scenes: Scenes, n_sources: int) -> Tensor:
    return scenes.sources[:, :n_sources].contiguous()


def assert_exact(found: Refinement, truth: Tensor) -> None:
    """Within 1e-6 degrees and 1e-6 m."""
    error = (found.sources - truth).abs()
    assert found.converged.all()
    assert float(error[..., :2].max()) < ANGLE
    assert float((1.0 / found.sources[..., 2] - 1.0 / truth[..., 2]).abs().max()) < DISTANCE


def away(system: System, beams: float, shape: tuple[int, int]) -> Tensor:
    """Offsets by a share of the half-power beam width 0.886 lambda / D of each side, in all directions."""
    turn = torch.linspace(0.3, 6.0, shape[0] * shape[1], dtype=torch.float64).reshape(shape)
    width, height = (
        0.886 * system.wavelength / (n * system.spacing) for n in (system.n_horizontal, system.n_vertical)
    )
    parts = (beams * width * turn.cos(), beams * height * turn.sin(), torch.full(shape, 0.05))
    return torch.stack(parts, dim=-1)


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize(
    ("system", "n_sources", "beams"),
    [
        (SMALL, 1, 0.2),
        (WIDE, 1, 0.3),
        (WIDE, 2, 0.3),
        (DEFAULT, 1, 0.4),
        (DEFAULT, 2, 0.4),
        (DEFAULT, 3, 0.4),
    ],
    ids=["3x5 K=1", "5x8 K=1", "5x8 K=2", "12x12 K=1", "12x12 K=2", "12x12 K=3"],
)
def test_exact_without_noise_from_a_good_start(
    system: System, n_sources: int, beams: float, source_model: SourceModel
) -> None:
    """Few antennas and snapshots leave other minima closer by; they start closer."""
    places = SPREAD_SOURCES[:n_sources]
    scenes = noiseless(make_scenes(system, n_sources, 10.0, 20, source_model, sources=places))
    truth = placed(scenes, n_sources)
    start = truth + away(system, beams, (20, n_sources))
    assert_exact(refine(scenes.observation, start, ITERATIONS), truth)


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("n_sources", [1, 2, 3])
def test_half_a_beam_away_hardly_a_scene_has_another_minimum(
    n_sources: int, source_model: SourceModel
) -> None:
    """J itself has minima there: of 100 scenes at most 3 end in one, the others are exact."""
    places = SPREAD_SOURCES[:n_sources]
    scenes = noiseless(make_scenes(DEFAULT, n_sources, 10.0, 100, source_model, sources=places))
    truth = placed(scenes, n_sources)
    start = truth + away(DEFAULT, 0.5, (100, n_sources))
    found = refine(scenes.observation, start, ITERATIONS)
    exact = ((found.sources - truth)[..., :2].abs() < ANGLE).flatten(1).all(1)
    assert int(exact.sum()) >= 97


@pytest.mark.parametrize("source_model", MODELS)
def test_exact_without_noise_with_the_spherical_amplitude(source_model: SourceModel) -> None:
    system = replace(DEFAULT, spherical_amplitude=True)
    drawn = make_scenes(system, 2, 10.0, 4, source_model, sources=SPREAD_SOURCES[:2])
    exact = replace(drawn.observation.to(torch.complex128), snapshots=signal_of(drawn))
    truth = placed(drawn, 2)
    assert_exact(refine(exact, truth + away(system, 0.4, (4, 2)), ITERATIONS), truth)


def test_exact_without_noise_on_a_direct_array() -> None:
    scenes = noiseless(direct_array(SPREAD_SOURCES[:2], 10.0, 3))
    truth = placed(scenes, 2)
    assert_exact(refine(scenes.observation, truth + 0.03, ITERATIONS), truth)


@pytest.mark.parametrize("source_model", MODELS)
def test_never_worse_than_the_start_and_a_stationary_point(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 2, 5.0, 8, source_model)
    start = placed(scenes, 2) + 0.05
    present = torch.ones((8, 2), dtype=torch.bool)
    found = refine(scenes.observation, start, ITERATIONS)
    before = concentrated_residual(scenes.observation, start, present)
    after = concentrated_residual(scenes.observation, found.sources, present)
    assert (found.residual <= before).all()
    torch.testing.assert_close(found.residual, after, rtol=1e-9, atol=0.0)
    again = refine(scenes.observation, found.sources, ITERATIONS)
    settled = found.converged
    assert settled.any()
    torch.testing.assert_close(again.sources[settled], found.sources[settled], rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("source_model", MODELS)
def test_converged_means_nothing_left_to_gain(source_model: SourceModel) -> None:
    """The undamped step promises no more than 1e-9 of J: g^T H^-1 g <= 1e-9 J."""
    scenes = make_scenes(WIDE, 2, 5.0, 20, source_model)
    found = refine(scenes.observation, placed(scenes, 2) + 0.05, ITERATIONS)
    fit = project(scenes.observation.to(torch.complex128), found.sources)
    inside = (found.sources[..., 2] > 0.0).all(1) & found.converged
    assert int(inside.sum()) >= 5
    promised = (fit.slope * torch.linalg.solve(fit.curvature, fit.slope)).sum(-1)
    assert (promised[inside] <= 1.01e-9 * fit.residual[inside]).all()


@pytest.mark.parametrize("source_model", MODELS)
def test_fisher_information_inverts_to_the_bound_at_the_estimate(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 2, 15.0, 5, source_model, sources=SPREAD_SOURCES[:2])
    exact = scenes.observation.to(torch.complex128)
    found = refine(exact, placed(scenes, 2), ITERATIONS)
    assert exact.noise_power is not None
    if source_model == "independent":
        bound = conditional_bound(exact, found.sources, found.amplitudes, exact.noise_power)
    else:
        bound = constant_bound(exact, found.sources, found.amplitudes[:, 0], exact.noise_power)
    torch.testing.assert_close(
        torch.linalg.inv(found.fisher), bound.covariance, rtol=1e-6, atol=1e-6 * float(bound.covariance.max())
    )


@pytest.mark.parametrize("factor", [1e-8, 1e8, 3e-5 + 4e-5j, 1j])
@pytest.mark.parametrize("source_model", MODELS)
def test_scale_and_global_phase_change_nothing(source_model: SourceModel, factor: complex) -> None:
    scenes = make_scenes(WIDE, 2, 10.0, 5, source_model, sources=SPREAD_SOURCES[:2])
    exact = scenes.observation.to(torch.complex128)
    start = placed(scenes, 2) + 0.02
    one = refine(exact, start, ITERATIONS)
    other = refine(scaled(exact, factor), start, ITERATIONS)
    torch.testing.assert_close(other.sources, one.sources, rtol=0.0, atol=1e-9)
    torch.testing.assert_close(other.fisher, one.fisher, rtol=1e-7, atol=1e-7 * float(one.fisher.max()))
    torch.testing.assert_close(other.amplitudes, one.amplitudes * factor, rtol=1e-7, atol=1e-7 * abs(factor))
    assert torch.equal(other.converged, one.converged)


@pytest.mark.parametrize("source_model", MODELS)
def test_permuted_sources_give_the_permuted_answer(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 3, 10.0, 4, source_model, sources=SPREAD_SOURCES)
    start = placed(scenes, 3) + 0.02
    order = torch.tensor([2, 0, 1])
    coordinates = (3 * order[:, None] + torch.arange(3)).flatten()
    one = refine(scenes.observation, start, ITERATIONS)
    other = refine(scenes.observation, start[:, order], ITERATIONS)
    torch.testing.assert_close(other.sources, one.sources[:, order], rtol=0.0, atol=1e-8)
    torch.testing.assert_close(other.amplitudes, one.amplitudes[..., order], rtol=1e-6, atol=1e-6)
    expected = one.fisher[:, coordinates][:, :, coordinates]
    torch.testing.assert_close(other.fisher, expected, rtol=1e-6, atol=1e-6 * float(expected.max()))


@pytest.mark.parametrize("source_model", MODELS)
def test_a_scene_does_not_depend_on_its_batch(
    source_model: SourceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenes end after different numbers of steps, so the batch shrinks on the way; it may come in pieces."""
    scenes = make_scenes(WIDE, 2, 5.0, 12, source_model)
    start = placed(scenes, 2) + 0.03
    together = refine(scenes.observation, start, ITERATIONS)
    for scene in (0, 7):
        part = slice(scene, scene + 1)
        alone = refine(scenes.observation.select(part), start[part], ITERATIONS)
        torch.testing.assert_close(alone.sources, together.sources[part], rtol=0.0, atol=1e-7)
        torch.testing.assert_close(alone.residual, together.residual[part], rtol=1e-8, atol=0.0)
        assert torch.equal(alone.converged, together.converged[part])
    monkeypatch.setattr(likelihood, "CHUNK_VALUES", 9 * 8 * 40 * 5)
    in_pieces = refine(scenes.observation, start, ITERATIONS)
    torch.testing.assert_close(in_pieces.sources, together.sources, rtol=0.0, atol=1e-7)


@pytest.mark.parametrize("source_model", MODELS)
def test_merged_sources_stay_finite(source_model: SourceModel) -> None:
    """Two starts at one place: G is of rank one, amplitudes are shared, and nothing is lost."""
    scenes = make_scenes(WIDE, 1, 20.0, 4, source_model)
    start = placed(scenes, 1).repeat(1, 2, 1)
    found = refine(scenes.observation, start, ITERATIONS)
    single = refine(scenes.observation, placed(scenes, 1), ITERATIONS)
    for value in (found.sources, found.residual, found.fisher):
        assert value.isfinite().all()
    assert found.amplitudes.abs().isfinite().all()
    assert (found.residual <= single.residual * (1.0 + 1e-6)).all()


def test_sources_stay_in_front_and_outside_half_a_wavelength() -> None:
    """Pure noise sends sources anywhere within the limits; a start outside is brought inside."""
    scenes = make_scenes(SMALL, 1, -30.0, 40)
    start = placed(scenes, 1).clone()
    start[0, 0] = torch.tensor([2.0, -3.0, 50.0])
    start[1, 0, 2] = -1.0
    found = refine(scenes.observation, start, ITERATIONS).sources
    assert found.isfinite().all()
    assert (found[..., 0].abs() <= math.pi / 2).all()
    assert (found[..., 1].abs() < math.pi / 2).all()
    assert (found[..., 2] >= 0.0).all()
    assert (found[..., 2] <= 2.0 / SMALL.wavelength).all()


def test_snapshots_without_any_signal_stay_finite() -> None:
    scenes = make_scenes(SMALL, 1, 10.0, 2)
    silent = replace(scenes.observation, snapshots=scenes.observation.snapshots * 0.0)
    found = refine(silent, placed(scenes, 1), ITERATIONS)
    assert torch.equal(found.sources, placed(scenes, 1))
    assert torch.equal(found.residual, torch.zeros(2, dtype=torch.float64))


def test_no_sources_is_the_empty_estimate() -> None:
    observation = make_scenes(SMALL, 0, 0.0, 3).observation
    found = refine(observation, torch.empty((3, 0, 3), dtype=torch.float64), ITERATIONS)
    energy = observation.snapshots.to(torch.complex128).abs().square().sum((1, 2))
    torch.testing.assert_close(found.residual, energy)
    assert found.sources.shape == (3, 0, 3)
    assert found.converged.all()


def test_no_scenes_are_no_minima() -> None:
    """As where a search has nothing to propose for any scene."""
    observation = make_scenes(WIDE, 2, 10.0, 2).observation.select(torch.arange(0))
    none = refine(observation, torch.empty((0, 2, 3), dtype=torch.float64), 5)
    assert none.sources.shape == (0, 2, 3) and none.residual.shape == (0,)


def test_the_noise_power_is_estimated_where_it_is_not_known() -> None:
    """E J = sigma^2 (L (M - K) - 3 K / 2): the mean over 200 scenes of 14 degrees of freedom each or more."""
    scenes = make_scenes(WIDE, 1, 20.0, 200)
    known = refine(scenes.observation, placed(scenes, 1), ITERATIONS)
    unknown = refine(replace(scenes.observation, noise_power=None), placed(scenes, 1), ITERATIONS)
    ratio = (known.fisher / unknown.fisher)[:, 0, 0]
    degrees = 9 * 5 - 1.5
    assert abs(float(ratio.mean()) - 1.0) < 5.0 / math.sqrt(200 * degrees)


def test_refuses_more_sources_than_equations_and_starts_that_are_not_finite() -> None:
    scenes = make_scenes(SMALL, 1, 10.0, 2)
    with pytest.raises(ValueError, match=r"K < 2 equations .*\(independent sources\); got K = 2"):
        refine(scenes.observation, placed(scenes, 1).repeat(1, 2, 1), ITERATIONS)
    start = placed(scenes, 1).clone()
    start[1, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=shows("start ... finite; ... scenes [1]")):
        refine(scenes.observation, start, ITERATIONS)


def bound_of(observation: Observation, scenes: Scenes, n_sources: int) -> Tensor:
    """sqrt(CRB) of (azimuth, elevation, inverse range) at the truth."""
    exact = observation.to(torch.complex128)
    sources = placed(scenes, n_sources)
    amplitudes = scenes.amplitudes[..., :n_sources].to(torch.complex128)
    assert exact.noise_power is not None
    if observation.source_model == "independent":
        return conditional_bound(exact, sources, amplitudes, exact.noise_power).standard_deviations()
    return constant_bound(exact, sources, amplitudes[:, 0], exact.noise_power).standard_deviations()


@pytest.mark.slow
@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("n_sources", [1, 2, 3])
def test_started_at_the_truth_it_attains_the_bound(n_sources: int, source_model: SourceModel) -> None:
    """sqrt(mean (error / sigma)^2) in 0.9 ... 1.15 at 20 dB: 400 scenes leave 3.6 % (K = 1)."""
    scenes = make_scenes(DEFAULT, n_sources, 20.0, 400, source_model, seed=11)
    truth = placed(scenes, n_sources)
    found = refine(scenes.observation, truth, ITERATIONS)
    error = (found.sources - truth) / bound_of(scenes.observation, scenes, n_sources)
    ratio = error.square().mean((0, 1)).sqrt()
    assert ((ratio > 0.9) & (ratio < 1.15)).all(), ratio.tolist()
