"""What is drawn of a scene: its spectrum, its places, and the edges of the picture."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import risolve
from risolve.inference.assessment import likelihood_at
from risolve.pictures.view import View, beside_truth
from tests.pictures.cases import TOLERANCE, one_view, two_sources, views_of
from tests.worlds import SPREAD_SOURCES, WIDE, make_scenes


@pytest.fixture(scope="module")
def view() -> View:
    return one_view()


def test_the_spectrum_of_an_array_is_the_beamformer(view: View) -> None:
    """sum_l |a^H y_l|^2 / |a|^2 over sum_l |y_l|^2, loop by loop."""
    places = torch.tensor([[0.1, -0.2, 0.4], [-0.5, 0.2, 0.5], [0.9, 0.4, 0.0]], dtype=torch.float64)
    snapshots = view.observation.snapshots[0].numpy()
    expected = []
    for wave in view.observation.array.steering(places).numpy():
        through = sum(abs(np.vdot(wave, row)) ** 2 for row in snapshots) / np.vdot(wave, wave).real
        expected.append(10.0 * np.log10(through / sum(np.vdot(row, row).real for row in snapshots)))
    np.testing.assert_allclose(view.explained_db(places, view.sources[:0]), expected, atol=1e-4)


@pytest.mark.parametrize("model", ["independent", "constant"])
def test_beside_the_others_a_source_explains_what_it_takes_from_the_residual(model: str) -> None:
    scenes = make_scenes(WIDE, 2, 15.0, 1, model, sources=SPREAD_SOURCES[:2])  # type: ignore[arg-type]
    (view,) = views_of(scenes, risolve.locate(scenes.observation, sources=2))
    whole = view.observation.snapshots.abs().double().square().sum()
    residual = likelihood_at(view.observation, view.sources[None]).residual
    for number in range(2):
        other = view.sources[[1 - number]]
        alone = likelihood_at(view.observation, other[None]).residual
        share = 10.0 * torch.log10((alone - residual) / whole)
        torch.testing.assert_close(
            view.explained_db(view.sources[[number]], other), share, atol=1e-3, rtol=0.0
        )


def test_along_range_a_source_stands_at_the_best_place(view: View) -> None:
    for number in range(view.n_sources):
        line = view.sources[number].repeat(41, 1)
        line[:, 2] *= torch.linspace(0.5, 1.5, 41, dtype=torch.float64)
        explained = view.explained_db(line, view.sources[[1 - number]])
        assert int(explained.argmax()) == 20


def test_deviations_are_those_of_the_table() -> None:
    scenes = two_sources()
    found = risolve.locate(scenes.observation, sources=2)
    (view,) = views_of(scenes, found)
    np.testing.assert_allclose(torch.rad2deg(view.deviations[:, 0]), found["azimuth_std_deg"], rtol=1e-6)
    np.testing.assert_allclose(torch.rad2deg(view.deviations[:, 1]), found["elevation_std_deg"], rtol=1e-6)
    np.testing.assert_allclose(view.deviations[:, 2], found["inverse_range_std_per_m"], rtol=1e-6)


def test_deviations_where_the_model_does_not_fit_are_those_of_the_table() -> None:
    scenes = two_sources()
    seen = scenes.observation
    turned = np.exp(1j * np.random.default_rng(4).uniform(0.0, 1.5, seen.n_antennas))
    wrong = replace(
        seen, noise_power=None, snapshots=seen.snapshots * torch.from_numpy(turned).to(seen.snapshots.dtype)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = risolve.locate(wrong, sources=2)
    (view,) = views_of(replace(scenes, observation=wrong), found)
    assert found.robust[0] == 1.0
    stated = np.deg2rad(np.stack((found["azimuth_std_deg"], found["elevation_std_deg"]), -1))
    np.testing.assert_allclose(view.deviations[:, :2], stated, rtol=1e-9)


def test_what_is_known_is_not_free() -> None:
    view = one_view(range=2.5)
    assert view.free == [True, True, False]
    assert (view.deviations[:, 2] == 0.0).all()
    assert view.window[2] == (0.4, 0.4)


def test_the_focus_is_the_strongest_source(view: View) -> None:
    torch.testing.assert_close(view.focus, view.sources[view.power_db.argmax()])


def test_the_window_holds_every_place_and_infinity(view: View) -> None:
    beyond = np.array([[1.3, -1.0, 9.0]])
    wider = beside_truth(view, beyond, TOLERANCE)
    for axis, (low, high) in enumerate(wider.window):
        assert bool((low <= wider.places[:, axis]).all() and (wider.places[:, axis] <= high).all())
    assert view.window[0] == pytest.approx((-np.pi / 3, np.pi / 3)) and view.window[2][0] == 0.0


def test_truth_stands_beside_its_source(view: View) -> None:
    """Row k is of source k, in whatever order the truth is; what no source is of comes last."""
    missed = [0.0, -0.4, 0.1]
    true = np.array([missed, *view.sources.flip(0).tolist()])
    beside = beside_truth(view, true, TOLERANCE)
    assert beside.truth is not None
    np.testing.assert_array_equal(beside.truth, [*view.sources.tolist(), missed])
    one = beside_truth(view, true[2:], TOLERANCE)
    assert one.truth is not None
    assert one.truth.isnan().all(-1).tolist() == [False, True]
    assert len(one.places) == 3
