"""The figure of a calibrated array: gains, places, and ellipses as many times larger as it says."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

import risolve
from risolve.calibration.array_calibration import ArrayCalibration

LINE = risolve.linear(5, 0.05, 0.1)
MOVED = torch.zeros((5, 3), dtype=torch.float64)
MOVED[0, 0], MOVED[1, 2], MOVED[2, 1] = 0.001, -0.002, 0.001
GAINS = np.array([1.0, 2.0j, 0.5, -1.0, 1.0 + 1.0j])


@pytest.fixture(scope="module")
def calibrated() -> risolve.CalibratedArray:
    """A line of which the phase of the last element is not told."""
    found = replace(LINE, elements=LINE.elements + MOVED)
    antennas = torch.ones(5, dtype=torch.complex128)
    applied = ArrayCalibration(LINE, found, torch.from_numpy(GAINS), antennas, None, None)
    return risolve.CalibratedArray(
        array=found,
        element_gains=GAINS,
        antenna_gains=antennas.numpy(),
        heading_deg=None,
        coupling=None,
        truth={"azimuth_deg": 1.25},
        deviations={
            "gain_db": np.full(5, 0.3),
            "gain_phase_deg": np.array([1.0, 2.0, 3.0, 4.0, np.nan]),
            "position_m": np.full((5, 3), [0.0005, 0.001, 0.00025]),
        },
        not_told=(),
        outlying=(),
        log_likelihood=(-2.0, -1.0),
        left_out=None,
        held_out=None,
        is_better=True,
        excess=np.full(3, np.nan),
        calibration=applied,
    )


@pytest.fixture(scope="module")
def figure(calibrated: risolve.CalibratedArray) -> Figure:
    return risolve.plot_array(calibrated)


def test_gains_stand_at_their_elements_with_two_deviations(figure: Figure) -> None:
    amplitude, phase = (
        next(axes for axes in figure.axes if axes.get_ylabel() == name)
        for name in ("gain (dB)", "phase (degrees)")
    )
    for axes, expected, half in (
        (amplitude, 20.0 * np.log10(np.abs(GAINS)), np.full(5, 0.6)),
        (phase, [0.0, 90.0, 0.0, 180.0, 45.0], [2.0, 4.0, 6.0, 8.0, np.nan]),
    ):
        x, y = next(line for line in axes.lines if line.get_marker() == "o").get_data()
        np.testing.assert_allclose(np.asarray(x), np.arange(5))
        np.testing.assert_allclose(np.asarray(y), expected, atol=1e-12)
        (bars,) = axes.collections
        ends = np.array([np.ptp(bar.vertices[:, 1]) / 2.0 for bar in bars.get_paths()])
        known = np.isfinite(half)
        np.testing.assert_allclose(ends[: known.sum()], np.array(half)[known])


def test_places_and_ellipses_are_as_many_times_larger_as_said(figure: Figure) -> None:
    panels = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("Places")]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in panels] == [
        ("x (m)", "z (m)"),
        ("x (m)", "y (m)"),
    ]
    for axes, plane in zip(panels, ((0, 2), (0, 1)), strict=True):
        larger = float(re.findall(r"[\d.]+", axes.get_title(loc="left"))[0])
        assert larger > 1.0
        nominal, drawn = (np.column_stack(line.get_data()) for line in axes.lines)
        np.testing.assert_allclose(nominal, LINE.elements.numpy()[:, plane])
        np.testing.assert_allclose(drawn, (LINE.elements + larger * MOVED).numpy()[:, plane], atol=1e-9)
        ellipses = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
        sizes = {(round(one.width, 9), round(one.height, 9)) for one in ellipses}
        deviations = [0.0005, 0.001, 0.00025]
        assert (
            sizes == {tuple(round(4.0 * larger * deviations[axis], 9) for axis in plane)}
            and len(ellipses) == 5
        )


def test_what_was_not_unknown_has_no_panel(calibrated: risolve.CalibratedArray) -> None:
    bare = replace(calibrated, deviations={}, is_better=False)
    figure = risolve.plot_array(replace(bare, array=LINE))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Places", "Places"]
    assert not any(axes.patches for axes in figure.axes)


def test_the_heading_says_what_was_found(calibrated: risolve.CalibratedArray, figure: Figure) -> None:
    (heading,) = (text.get_text() for text in figure.texts)
    assert "5 elements" in heading and "1.25" in heading
    (nominal,) = (text.get_text() for text in risolve.plot_array(replace(calibrated, is_better=False)).texts)
    assert "nominal" in nominal and "1.25" not in nominal
