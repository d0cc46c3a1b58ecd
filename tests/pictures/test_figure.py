"""What stands in a figure: marks at their places, ellipses of their size, names, numbers apart."""

import itertools
import pickle
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import risolve
from risolve.physics.geometry import positions
from risolve.pictures.figure import figure_of
from risolve.pictures.marks import ellipse, range_ticks
from risolve.pictures.space import ellipsoid, reach_of, shapes
from risolve.pictures.view import View
from tests.messages import shows
from tests.pictures.cases import marks, one_view, titled, two_sources, views_of
from tests.worlds import SPREAD_SOURCES, direct_array


@pytest.fixture(scope="module")
def view() -> View:
    return one_view()


@pytest.fixture(scope="module")
def figure(view: View) -> Figure:
    return figure_of([view], 1)


def test_sources_and_truth_stand_at_their_places(view: View, figure: Figure) -> None:
    spectrum = titled(figure, "Spectrum at")
    assert view.truth is not None
    for marker, places in (("o", view.sources), ("x", view.truth)):
        np.testing.assert_allclose(marks(spectrum, marker), torch.rad2deg(places[:, :2]))
    assert [text.get_text() for text in spectrum.texts] == ["0", "1"]
    assert (spectrum.get_xlabel(), spectrum.get_ylabel()) == ("azimuth (degrees)", "elevation (degrees)")


def test_the_map_is_highest_where_the_strongest_source_is(view: View, figure: Figure) -> None:
    (image,) = titled(figure, "Spectrum").images
    values = np.asarray(image.get_array())
    row, column = np.unravel_index(values.argmax(), values.shape)
    left, right, low, high = image.get_extent()
    place = np.linspace(left, right, values.shape[1])[column], np.linspace(low, high, values.shape[0])[row]
    np.testing.assert_allclose(place, torch.rad2deg(view.focus[:2]), atol=3.0)


def test_a_close_up_shows_an_ellipse_of_two_deviations(view: View, figure: Figure) -> None:
    for number in range(2):
        (axes,) = (axes for axes in figure.axes if axes.get_title("left") == f"Source {number}")
        x, y = axes.lines[number].get_data()
        deviations = torch.rad2deg(view.deviations[number])
        for values, axis in ((x, 0), (y, 1)):
            half = np.ptp(np.asarray(values)) / 2.0
            assert half == pytest.approx(2.0 * float(deviations[axis]), rel=2e-3)
        low, high = axes.get_xlim()
        assert low < np.min(x) and np.max(x) < high


def test_an_ellipse_does_not_widen_what_was_searched(view: View) -> None:
    wide = figure_of([replace(view, covariance=1e6 * view.covariance)], 1)
    spectrum = titled(wide, "Spectrum")
    for ends, (low, high) in zip((spectrum.get_xlim(), spectrum.get_ylim()), view.window, strict=False):
        np.testing.assert_allclose(ends, np.rad2deg([low, high]))


def test_an_ellipse_is_the_edge_of_its_covariance() -> None:
    covariance = torch.tensor([[4.0, 1.5], [1.5, 1.0]], dtype=torch.float64)
    edge = ellipse(covariance)
    distance = torch.einsum("ni,ij,nj->n", edge, torch.linalg.inv(covariance), edge)
    torch.testing.assert_close(distance, torch.full_like(distance, 4.0))
    assert bool(ellipse(covariance * torch.nan).isnan().all())
    assert bool((ellipse(torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64)))[:, 1] == 0.0).all())


def test_an_ellipsoid_is_the_edge_of_its_covariance(view: View) -> None:
    """In azimuth, elevation and 1/r, drawn in metres."""
    source, covariance = view.sources[0], view.covariance[0]
    for line in ellipsoid(source, covariance, 1e9):
        p = torch.from_numpy(line)
        r = p.norm(dim=-1)
        back = torch.stack((torch.atan2(p[:, 0], p[:, 2]), torch.asin(p[:, 1] / r), 1.0 / r), -1) - source
        distance = torch.einsum("ni,ij,nj->n", back, torch.linalg.inv(covariance), back)
        torch.testing.assert_close(distance, torch.full_like(distance, 4.0), rtol=1e-5, atol=0.0)


def test_space_holds_elements_sources_and_truth(view: View) -> None:
    drawn = shapes(view)
    (elements,) = (shape.points for shape in drawn if shape.kind == "element")
    np.testing.assert_array_equal(elements, view.observation.array.elements)
    located = [shape for shape in drawn if shape.kind == "located"]
    assert [shape.text for shape in located] == ["0", "1"]
    np.testing.assert_allclose(np.concatenate([s.points for s in located]), positions(view.sources))
    assert len([shape for shape in drawn if shape.kind == "true"]) == 2
    assert len([shape for shape in drawn if shape.kind == "spread"]) == 6


def test_what_is_at_infinity_stands_at_the_edge() -> None:
    scenes = direct_array([(0.4, 0.1, 0.0)], 20.0, 1)
    (view,) = views_of(scenes, risolve.locate(scenes.observation, sources=1, range=np.inf))
    (located,) = (shape for shape in shapes(view) if shape.kind == "located")
    assert located.text == "0 at infinity"
    assert np.linalg.norm(located.points) == pytest.approx(reach_of(view))
    titled(figure_of([view], 1), "Spectrum at infinity")


@pytest.mark.parametrize(
    ("known", "x", "y", "panels"),
    [
        ({}, "azimuth (degrees)", "elevation (degrees)", 4),
        ({"elevation": 0.0}, "azimuth (degrees)", "range (m)", 4),
        ({"azimuth": 5.0}, "elevation (degrees)", "range (m)", 4),
        ({"range": 2.5}, "azimuth (degrees)", "elevation (degrees)", 2),
        ({"elevation": 0.0, "range": np.inf}, "azimuth (degrees)", "energy explained (dB)", 0),
    ],
)
def test_the_spectrum_runs_over_what_is_unknown(known: dict[str, float], x: str, y: str, panels: int) -> None:
    figure = figure_of([one_view(**known)], 1)
    spectrum = titled(figure, "Spectrum")
    assert (spectrum.get_xlabel(), spectrum.get_ylabel()) == (x, y)
    assert len([axes for axes in figure.axes if axes.get_title("left").startswith("Source")]) == panels


@pytest.mark.parametrize(("distance", "panels"), [((1.0, 20.0), 2), (2.0, 1)])
def test_known_angles_leave_range_or_space_alone(distance: tuple[float, float] | float, panels: int) -> None:
    scenes = direct_array(SPREAD_SOURCES[:1], 20.0, 1)
    angles = np.rad2deg(SPREAD_SOURCES[0][:2]).tolist()
    found = risolve.locate(
        scenes.observation, sources=1, azimuth=angles[0], elevation=angles[1], range=distance
    )
    figure = found.plot()
    assert len(figure.axes) == max(panels, 1)


def test_a_cut_reaches_its_maximum_at_the_source(view: View, figure: Figure) -> None:
    cut = titled(figure, "Source 0, along range")
    inverse, decibels = (np.asarray(values) for values in cut.lines[0].get_data())
    assert float(decibels.max()) == 0.0
    step = inverse[1] - inverse[0]
    assert inverse[decibels.argmax()] == pytest.approx(float(view.sources[0, 2]), abs=step)
    np.testing.assert_allclose(marks(cut, "o")[:, 0], view.sources[[0], 2])
    np.testing.assert_allclose(np.ptp(np.asarray(cut.lines[1].get_xdata())), 4.0 * view.deviations[0, 2])
    assert "∞" in [label.get_text() for label in cut.get_xticklabels()]


def test_a_scene_without_a_source_says_so() -> None:
    scenes = two_sources()
    with pytest.warns(UserWarning, match="fits"):
        figure = risolve.locate(scenes.observation, sources=0).plot()
    spectrum = titled(figure, "Spectrum")
    assert spectrum.get_title("left").endswith("no source")
    assert len(spectrum.images) == 1 and marks(spectrum, "o").size == 0
    assert any("no source" in text.get_text() for text in figure.texts)


def test_a_source_without_deviation_has_no_ellipse(view: View) -> None:
    unknown = replace(view, covariance=torch.full_like(view.covariance, torch.nan))
    figure = figure_of([unknown], 1)
    close = next(axes for axes in figure.axes if axes.get_title("left") == "Source 0")
    assert len(close.lines) == 0 and [text.get_text() for text in close.texts] == ["no standard deviation"]
    assert not [shape for shape in shapes(unknown) if shape.kind == "spread"]


@pytest.mark.parametrize("known", [{}, {"elevation": 0.0, "range": np.inf}])
def test_a_rival_is_hollow_and_named_after_its_source(known: dict[str, float]) -> None:
    view = one_view(**known)
    rivals = torch.full_like(view.sources, torch.nan)
    rivals[1] = view.sources[1] + torch.tensor([-0.9, 0.2 * view.free[1], 0.0])
    shown = replace(view, rivals=rivals)
    spectrum = titled(figure_of([shown], 1), "Spectrum")
    hollow = [line for line in spectrum.lines if line.get_fillstyle() == "none"]
    places = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in hollow])
    assert places[np.isfinite(places)].tolist() == pytest.approx([float(torch.rad2deg(rivals[1, 0]))])
    assert [text.get_text() for text in spectrum.texts] == ["0", "1", "1?"]
    assert [shape.text for shape in shapes(shown) if shape.kind == "rival"] == ["1?"]


def test_numbers_of_close_sources_stand_apart(view: View) -> None:
    """Points between the middles of numbers, and from every mark."""
    sources = torch.tensor([[0.0, 0.0, 0.5], [0.03, 0.01, 0.5], [0.03, -0.02, 0.5], [1.04, 0.5, 0.5]])
    close = replace(
        view,
        sources=sources.double(),
        covariance=torch.full((4, 3, 3), torch.nan, dtype=torch.float64),
        power_db=torch.zeros(4, dtype=torch.float64),
        rivals=torch.full((4, 3), torch.nan, dtype=torch.float64),
        truth=None,
    )
    figure = figure_of([close], 1)
    spectrum = titled(figure, "Spectrum")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in spectrum.texts]
    assert len(boxes) == 4
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    edge = spectrum.get_window_extent()
    assert all(edge.x0 <= box.x0 and box.x1 <= edge.x1 and box.y1 <= edge.y1 for box in boxes)
    for x, y in spectrum.transData.transform(marks(spectrum, "o")):
        assert not any(box.contains(x, y) for box in boxes)


@pytest.mark.parametrize(("low", "high"), [(0.0, 4.0), (0.0, 0.01), (0.05, 20.0), (0.4, 0.5), (3.0, 3.01)])
def test_ticks_of_range_are_round_and_apart(low: float, high: float) -> None:
    ticks = range_ticks(low, high)
    assert len(ticks) >= 2
    inverse = np.sort(list(ticks))
    assert low <= inverse[0] and inverse[-1] <= high
    assert np.diff(inverse).min() > 0.1 * (high - low)
    for place, label in ticks.items():
        assert label == "∞" if place == 0.0 else float(label) == pytest.approx(1.0 / place)


def test_several_scenes_are_small_and_counted() -> None:
    found = risolve.locate(two_sources(13).observation, sources=2)
    figure = found.plot()
    assert [axes.get_title("left") for axes in figure.axes] == [f"scene {number}" for number in range(12)]
    assert any(re.search(r"\b12 of 13 scenes", text.get_text()) for text in figure.texts)
    alone = found.plot(scene=12)
    assert any("scene 12" in text.get_text() for text in alone.texts)
    places = marks(titled(alone, "Spectrum"), "o")
    np.testing.assert_allclose(places[:, 0], found["azimuth_deg"][found.scene == 12])


def test_scenes_that_there_are_not_are_refused() -> None:
    found = risolve.locate(two_sources(2).observation, sources=2)
    for scene in (2, -1):
        with pytest.raises(ValueError, match=shows(f"0 to 1 ... 2 scenes ... got {scene}")):
            found.plot(scene=scene)
    with pytest.raises(TypeError):
        found.plot(scene=0.5)  # type: ignore[arg-type]


def test_nothing_else_of_matplotlib_is_touched(view: View) -> None:
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)
    figure_of([view], 1)
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend(auto_select=False) == backend


def test_a_result_goes_to_another_process() -> None:
    found = risolve.locate(two_sources().observation, sources=2)
    again = pickle.loads(pickle.dumps(found))
    places = marks(titled(again.plot(), "Spectrum"), "o")
    np.testing.assert_array_equal(places[:, 0], found["azimuth_deg"])
