"""The concentrated likelihood, its expansion and the best subset, against projections written out."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from risolve.inference import projection
from risolve.inference.candidates import explained, match, most_explaining
from risolve.inference.likelihood import best_subset, concentrated_residual
from risolve.inference.projection import project
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes, System
from tests.messages import shows
from tests.oracles import likelihood as oracle
from tests.tolerances import DOUBLE, FINITE_DIFFERENCE
from tests.worlds import (
    DEFAULT,
    SMALL,
    SPREAD_SOURCES,
    WIDE,
    direct_array,
    make_scenes,
    noiseless,
    scaled,
    with_amplitude,
)

MODELS: tuple[SourceModel, ...] = ("independent", "constant")


def placed(scenes: Scenes, n_sources: int) -> Tensor:
    return scenes.sources[:, :n_sources].contiguous()


def dictionary_of(
    observation: Observation, scene: int, sources: Tensor, spherical_amplitude: bool
) -> tuple[list[oracle.Array], list[oracle.Array]]:
    """G_l and y_l of one scene."""
    matrices = oracle.dictionary(
        observation.channel[min(scene, len(observation.channel) - 1)].numpy().astype(complex),
        observation.codes[min(scene, len(observation.codes) - 1)].numpy().astype(complex),
        sources.tolist(),
        observation.array.elements.tolist(),
        observation.array.wavelength,
        spherical_amplitude,
        observation.source_model,
    )
    snapshots = observation.snapshots[scene].numpy().astype(complex)
    return matrices, oracle.groups(snapshots, observation.source_model)


@pytest.mark.parametrize("spherical_amplitude", [False, True])
@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize(("system", "n_sources"), [(SMALL, 1), (WIDE, 3)], ids=["3x5", "5x8"])
def test_residual_equals_the_projection(
    system: System, n_sources: int, source_model: SourceModel, spherical_amplitude: bool
) -> None:
    scenes = make_scenes(system, n_sources, 5.0, 3, source_model)
    sources = placed(scenes, n_sources) + 0.05
    present = torch.ones(sources.shape[:2], dtype=torch.bool)
    observation = with_amplitude(scenes.observation, spherical_amplitude)
    found = concentrated_residual(observation, sources, present)
    for scene in range(3):
        expected = oracle.residual(
            *dictionary_of(scenes.observation, scene, sources[scene], spherical_amplitude)
        )
        assert float(found[scene]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("source_model", MODELS)
def test_absent_sources_do_not_count(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 3, 5.0, 3, source_model)
    sources = placed(scenes, 3)
    present = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    found = concentrated_residual(
        scenes.observation, torch.where(present[..., None], sources, torch.nan), present
    )
    for scene in (0, 2):
        one = scenes.observation.select(slice(scene, scene + 1))
        only = sources[scene : scene + 1, present[scene]]
        alone = concentrated_residual(one, only, torch.ones(only.shape[:2], dtype=torch.bool))
        torch.testing.assert_close(found[scene], alone[0], rtol=DOUBLE, atol=0.0)
    energy = scenes.observation.snapshots[1].to(torch.complex128).abs().square().sum()
    torch.testing.assert_close(found[1], energy, rtol=DOUBLE, atol=0.0)


@pytest.mark.parametrize("source_model", MODELS)
def test_the_truth_leaves_nothing_of_snapshots_without_noise(source_model: SourceModel) -> None:
    scenes = noiseless(make_scenes(WIDE, 3, 5.0, 3, source_model, sources=SPREAD_SOURCES))
    present = torch.ones((3, 3), dtype=torch.bool)
    found = concentrated_residual(scenes.observation, placed(scenes, 3), present)
    energy = scenes.observation.snapshots.abs().square().sum((1, 2))
    assert (found < 1e-20 * energy).all()


@pytest.mark.parametrize("source_model", MODELS)
def test_a_further_source_never_raises_the_residual(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 3, 0.0, 5, source_model)
    mask = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    residuals = [
        concentrated_residual(scenes.observation, placed(scenes, 3), row.expand(5, 3)) for row in mask
    ]
    assert (residuals[1] <= residuals[0]).all()
    assert (residuals[2] <= residuals[1]).all()


@pytest.mark.parametrize("spherical_amplitude", [False, True])
@pytest.mark.parametrize("source_model", MODELS)
def test_slope_is_half_the_negative_gradient(source_model: SourceModel, spherical_amplitude: bool) -> None:
    scenes = make_scenes(WIDE, 2, 5.0, 3, source_model, sources=SPREAD_SOURCES[:2])
    observation = with_amplitude(scenes.observation, spherical_amplitude).to(torch.complex128)
    sources = placed(scenes, 2) + 0.02
    present = torch.ones((3, 2), dtype=torch.bool)
    slope = project(observation, sources).slope
    step = 1e-5
    for coordinate in range(6):
        moved = torch.zeros(6, dtype=torch.float64)
        moved[coordinate] = step
        up, down = (
            concentrated_residual(observation, sources + sign * moved.reshape(2, 3), present)
            for sign in (1.0, -1.0)
        )
        numeric = -(up - down) / (4.0 * step)
        largest = float(slope.abs().max())
        torch.testing.assert_close(
            slope[:, coordinate], numeric, rtol=FINITE_DIFFERENCE, atol=10 * FINITE_DIFFERENCE * largest
        )


@pytest.mark.parametrize("source_model", MODELS)
def test_curvature_is_half_the_hessian_where_nothing_is_left(source_model: SourceModel) -> None:
    """Without noise Gauss-Newton leaves nothing out: H = 1/2 d^2 J at the truth."""
    scenes = noiseless(make_scenes(WIDE, 2, 5.0, 2, source_model, sources=SPREAD_SOURCES[:2]))
    sources = placed(scenes, 2)
    curvature = project(scenes.observation, sources).curvature
    step = 1e-5
    columns = []
    for coordinate in range(6):
        moved = torch.zeros(6, dtype=torch.float64)
        moved[coordinate] = step
        up, down = (
            project(scenes.observation, sources + sign * moved.reshape(2, 3)).slope for sign in (1.0, -1.0)
        )
        columns.append(-(up - down) / (2.0 * step))
    numeric = torch.stack(columns, dim=-1)
    largest = float(curvature.abs().max())
    torch.testing.assert_close(curvature, numeric, rtol=1e-6, atol=1e-7 * largest)


@pytest.mark.parametrize("source_model", MODELS)
def test_the_best_subset_is_the_best_of_all(source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 2, 5.0, 4, source_model)
    random = torch.Generator().manual_seed(3)
    spread = torch.tensor([1.0, 0.5, 0.9], dtype=torch.float64)
    guesses = (torch.rand((4, 4, 3), dtype=torch.float64, generator=random) * 2 - 1) * spread
    guesses[..., 2] += 1.0
    candidates = torch.cat((guesses[:, :2], placed(scenes, 2) + 0.03, guesses[:, 2:]), dim=1)
    usable = torch.ones((4, 6), dtype=torch.bool)
    usable[1, 2] = False
    found = best_subset(scenes.observation, torch.where(usable[..., None], candidates, torch.nan), usable, 2)
    for scene in range(4):
        kept = candidates[scene, usable[scene]]
        columns, received = dictionary_of(scenes.observation, scene, kept, False)
        expected = kept[list(oracle.best_subset(columns, received, 2))]
        torch.testing.assert_close(found[scene], expected, rtol=0.0, atol=0.0)


def test_many_candidates_are_searched_by_exchange() -> None:
    """C(14, 3) = 364 subsets: the exchange ends where no exchange of one member helps, here at the best
    of all.
    """
    scenes = make_scenes(WIDE, 3, 20.0, 4, sources=SPREAD_SOURCES)
    random = torch.Generator().manual_seed(4)
    guesses = torch.rand((4, 11, 3), dtype=torch.float64, generator=random) - 0.5
    guesses[..., 2] += 0.6
    candidates = torch.cat((guesses, placed(scenes, 3)), dim=1)
    found = best_subset(scenes.observation, candidates, torch.ones((4, 14), dtype=torch.bool), 3)
    for scene in range(4):
        columns, received = dictionary_of(scenes.observation, scene, candidates[scene], False)
        expected = candidates[scene, list(oracle.best_subset(columns, received, 3))]
        assert sorted(found[scene].tolist()) == sorted(expected.tolist())


def test_the_exchange_leaves_a_candidate_that_only_looked_best_first() -> None:
    """y = e_1 + e_2: (e_1 + e_2 + e_20 / 3) / |.| explains most alone, e_1 and e_2 explain all together."""
    identity = torch.eye(20, dtype=torch.complex128)
    between = (identity[0] + identity[1] + identity[19] / 3.0) / math.sqrt(2.0 + 1.0 / 9.0)
    columns = torch.cat((between[None], identity[:15]))[None, None]
    seen = match(columns, (identity[0] + identity[1])[None, None])
    assert math.comb(16, 2) > 100
    alone = explained(seen, torch.arange(16).reshape(1, 16, 1))
    assert int(alone.argmax()) == 0
    assert sorted(most_explaining(seen, 2)[0].tolist()) == [1, 2]


def test_too_few_usable_candidates_leave_empty_slots() -> None:
    scenes = make_scenes(WIDE, 2, 10.0, 2)
    candidates = torch.cat((placed(scenes, 2), placed(scenes, 2) + 0.2), dim=1)
    usable = torch.tensor([[True, True, True, True], [False, True, False, False]])
    found = best_subset(scenes.observation, candidates, usable, 2)
    assert found[0].isfinite().all()
    assert found[1].isnan().all(-1).sum() == 1
    assert torch.equal(found[1][~found[1].isnan().all(-1)][0], candidates[1, 1])


def test_repeated_candidates_are_not_taken_twice() -> None:
    scenes = make_scenes(WIDE, 2, 20.0, 3, sources=SPREAD_SOURCES[:2])
    first, second = placed(scenes, 2).unbind(1)
    candidates = torch.stack((first, first, second, first), dim=1)
    found = best_subset(scenes.observation, candidates, torch.ones((3, 4), dtype=torch.bool), 2)
    for scene in range(3):
        assert sorted(found[scene].tolist()) == sorted((first[scene].tolist(), second[scene].tolist()))


@pytest.mark.parametrize("factor", [1e-8, 1e8, 3e-5 + 4e-5j])
@pytest.mark.parametrize("source_model", MODELS)
def test_residual_scales_with_the_power(source_model: SourceModel, factor: complex) -> None:
    scenes = make_scenes(WIDE, 2, 5.0, 3, source_model)
    exact = scenes.observation.to(torch.complex128)
    present = torch.ones((3, 2), dtype=torch.bool)
    one, other = (
        concentrated_residual(observation, placed(scenes, 2), present)
        for observation in (exact, scaled(exact, factor))
    )
    torch.testing.assert_close(other, one * abs(factor) ** 2, rtol=1e-10, atol=0.0)


def test_a_direct_array_needs_no_surface() -> None:
    scenes = direct_array(SPREAD_SOURCES[:2], 10.0, 2)
    present = torch.ones((2, 2), dtype=torch.bool)
    found = concentrated_residual(scenes.observation, placed(scenes, 2), present)
    for scene in range(2):
        expected = oracle.residual(*dictionary_of(scenes.observation, scene, scenes.sources[scene], False))
        assert float(found[scene]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shared_channel", [False, True])
@pytest.mark.parametrize("source_model", MODELS)
def test_scenes_worked_on_at_once_change_nothing(
    source_model: SourceModel, shared_channel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = make_scenes(WIDE, 2, 5.0, 5, source_model, shared_channel=shared_channel)
    observation = scenes.observation.to(torch.complex128)
    together = project(observation, placed(scenes, 2))
    monkeypatch.setattr(projection, "BLOCK_VALUES", 2 * 9 * 8 * 40)
    in_blocks = project(observation, placed(scenes, 2))
    for one, other in zip(together, in_blocks, strict=True):
        torch.testing.assert_close(other, one, rtol=DOUBLE, atol=DOUBLE * float(one.abs().max()))


def test_curvature_equals_the_information_written_out() -> None:
    scenes = make_scenes(SMALL, 1, 5.0, 2)
    observation = scenes.observation.to(torch.complex128)
    sources = placed(scenes, 1)
    fit = project(observation, sources)
    step = 1e-6
    for scene in range(2):
        matrices, _ = dictionary_of(scenes.observation, scene, sources[scene], False)
        derivatives: list[list[oracle.Array]] = [[] for _ in matrices]
        for coordinate in range(3):
            moved = torch.zeros(3, dtype=torch.float64)
            moved[coordinate] = step
            up, _ = dictionary_of(scenes.observation, scene, sources[scene] + moved, False)
            down, _ = dictionary_of(scenes.observation, scene, sources[scene] - moved, False)
            for snapshot, (above, below) in enumerate(zip(up, down, strict=True)):
                derivatives[snapshot].append(((above - below) / (2 * step))[:, 0])
        expected = oracle.information(matrices, derivatives, list(fit.amplitudes[scene].numpy()), 2.0)
        np.testing.assert_allclose(
            fit.curvature[scene].numpy(), expected, rtol=1e-6, atol=1e-7 * expected.max()
        )


def test_refuses_what_is_not_finite_or_not_possible() -> None:
    scenes = make_scenes(DEFAULT, 1, 10.0, 3)
    broken = placed(scenes, 1).clone()
    broken[2, 0, 1] = torch.nan
    usable = torch.ones((3, 1), dtype=torch.bool)
    with pytest.raises(ValueError, match=shows("sources ... scenes [2]")):
        concentrated_residual(scenes.observation, broken, usable)
    with pytest.raises(ValueError, match=shows("candidates ... scenes [2]")):
        best_subset(scenes.observation, broken, usable, 1)
    with pytest.raises(ValueError, match="0 to 1 .* sources, got 2"):
        best_subset(scenes.observation, placed(scenes, 1), usable, 2)
