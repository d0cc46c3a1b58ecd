"""One more source than were found: the decrease of V is that of its own minimum, and small where none is."""

import pytest
import torch

from risolve.inference.one_more import decrease_by_one_more
from risolve.inference.unconditional import refine_unconditional
from risolve.physics.observation import SourceModel
from tests.estimators.cases import GRID
from tests.worlds import SPREAD_SOURCES, WIDE, make_scenes, scaled

MODELS = pytest.mark.parametrize("source_model", ["independent", "constant"])


@MODELS
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_the_decrease_is_that_of_the_source_that_is_missing(missing: int, source_model: SourceModel) -> None:
    scenes = make_scenes(WIDE, 3, 20.0, 4, source_model, sources=SPREAD_SOURCES)
    observation = scenes.observation
    others = [k for k in range(3) if k != missing]
    less, whole = (
        refine_unconditional(observation, scenes.sources[:, own], 40) for own in (others, [0, 1, 2])
    )
    found = decrease_by_one_more(observation, less.sources, GRID)
    expected = less.cost - whole.cost
    # a few steps do not reach a minimum, and none leads below the least
    assert bool((found > 0.5 * expected).all()) and bool((found < 1.001 * expected).all())
    assert bool((found > 20.0).all())


@MODELS
@pytest.mark.parametrize("n_sources", [0, 2])
def test_noise_lowers_it_by_little_in_any_unit(n_sources: int, source_model: SourceModel) -> None:
    placed = SPREAD_SOURCES[:n_sources] or None
    scenes = make_scenes(WIDE, n_sources, 20.0, 20, source_model, sources=placed)
    best = refine_unconditional(scenes.observation, scenes.sources[:, :n_sources], 40)
    found = decrease_by_one_more(scenes.observation, best.sources, GRID)
    assert bool((found > -1.0).all()) and bool((found < 15.0).all())
    double = scenes.observation.to(torch.complex128)
    again = decrease_by_one_more(scaled(double, 1e-6j), best.sources, GRID)
    torch.testing.assert_close(again, found, rtol=1e-3, atol=1e-3)
