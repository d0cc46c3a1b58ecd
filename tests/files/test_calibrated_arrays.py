"""Files of calibrated arrays: what is written is read, and what breaks the format is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import risolve
from risolve.calibration.unknowns import Priors
from risolve.errors import MeasurementError
from risolve.files.calibrated_array import CalibratedArray
from risolve.words.inspection import inspect_lines
from tests.calibration.worlds import world
from tests.measurement_files import Change, at, attribute, changed, with_values, without
from tests.messages import shows


@pytest.fixture(scope="module")
def calibrated() -> CalibratedArray:
    """Of a surface, most of it unknown, some places left out and one scene that does not fit."""
    unknown = ["antenna_phases", "positions", "heading", "coupling", "truth_elevation", "truth_scale"]
    made = world(*unknown, priors=Priors(None, None, 0.002), n_scenes=8)
    sources = made.placed.sources[:, 0].numpy()
    truth = {
        "azimuth": np.rad2deg(sources[:, 0]),
        "elevation": np.rad2deg(sources[:, 1]),
        "range": 1.0 / sources[:, 2],
    }
    found = risolve.calibrate(
        made.placed.observation, unknown=unknown, truth=truth, position_deviation=0.002, folds=2
    )
    columns = ("observation", "scene", "log_likelihood_before", "log_likelihood_after")
    table = dict(zip(columns, ([0, 0], [1, 2], [-3.0, -4.0], [-2.0, -1.5]), strict=True))
    return replace(found, outlying=((0, 3),), held_out=pd.DataFrame(table))


def test_what_is_written_is_read(calibrated: CalibratedArray, tmp_path: Path) -> None:
    path = tmp_path / "array.h5"
    risolve.write_array(path, calibrated)
    found = risolve.read_array(path)
    for name in ("not_told", "outlying", "log_likelihood", "is_better", "heading_deg", "coupling", "truth"):
        assert getattr(found, name) == getattr(calibrated, name), name
    for name in ("element_gains", "antenna_gains", "excess"):
        np.testing.assert_array_equal(getattr(found, name), getattr(calibrated, name))
    assert found.deviations.keys() == calibrated.deviations.keys()
    for name, values in calibrated.deviations.items():
        np.testing.assert_array_equal(found.deviations[name], values)
    assert found.left_out is not None and calibrated.left_out is not None
    pd.testing.assert_frame_equal(found.left_out, calibrated.left_out)
    assert found.held_out is not None and calibrated.held_out is not None
    pd.testing.assert_frame_equal(found.held_out, calibrated.held_out)
    assert repr(found) == repr(calibrated)
    assert f"truth_range_scale {calibrated.truth['range_scale']:.4g}" in repr(found)
    again = path.with_name("again.h5")
    risolve.write_array(again, found)
    assert again.read_bytes() == path.read_bytes()


def test_what_was_read_is_applied_alike(calibrated: CalibratedArray, tmp_path: Path) -> None:
    seen = world("gains", n_scenes=2).placed.observation
    risolve.write_array(tmp_path / "array.h5", calibrated)
    one, other = (each.apply(seen) for each in (calibrated, risolve.read_array(tmp_path / "array.h5")))
    np.testing.assert_array_equal(one.channel.numpy(), other.channel.numpy())
    np.testing.assert_array_equal(one.array.elements.numpy(), other.array.elements.numpy())


def test_nothing_known_is_no_column(calibrated: CalibratedArray, tmp_path: Path) -> None:
    bare = replace(calibrated, not_told=(), outlying=(), left_out=None, held_out=None)
    bare = replace(bare, heading_deg=None, coupling=None, truth={}, deviations={})
    risolve.write_array(tmp_path / "array.h5", bare)
    found = risolve.read_array(tmp_path / "array.h5")
    assert found.not_told == () and found.outlying == ()
    assert found.left_out is None and found.held_out is None
    assert found.heading_deg is None and found.coupling is None and found.truth == {}
    assert found.deviations == {}


def test_inspect_explains_it(calibrated: CalibratedArray, tmp_path: Path) -> None:
    risolve.write_array(tmp_path / "array.h5", calibrated)
    lines, fault = inspect_lines(tmp_path / "array.h5")
    assert fault is None
    assert "risolve-array 1" in lines[0] and any("15 elements" in line for line in lines)


DAMAGED: list[tuple[Change, str]] = [
    (attribute("format", "risolve-sources"), "attribute format"),
    (attribute("version", 2), "attribute version ... 2"),
    (attribute("wavelength_m", -1.0), "wavelength_m ... -1.0"),
    (attribute("amplitude", "loud"), "attribute amplitude ... loud"),
    (attribute("is_better", 3), "attribute is_better ... 3"),
    (attribute("heading_deg", np.nan), "attribute heading_deg ... nan"),
    (attribute("heading_deg", "north"), "attribute heading_deg ... north"),
    (attribute("truth_elevation_deg", np.inf), "attribute truth_elevation_deg ... inf"),
    (at("coupling", 0, np.nan), "coupling"),
    (at("element_gains", 0, 0.0), "element_gains ... got 1"),
    (at("antenna_gains", 1, np.nan), "antenna_gains"),
    (at("nominal_positions_m", (0, 0), np.inf), "nominal_positions_m"),
    (at("excess", 0, -1.0), "excess ... -1"),
    (at("deviations/position_m", (2, 1), np.inf), "deviations/position_m ... inf"),
    (with_values("deviations/antenna_phase_deg", lambda values: values[:3]), "antenna_phase_deg ... 3"),
    (with_values("element_positions_m", lambda values: values[:7]), "7"),
    (with_values("left_out/scene", lambda values: values[:2]), "left_out"),
    (at("held_out/log_likelihood_after", 0, np.nan), "held_out/log_likelihood_after"),
    (with_values("log_likelihood", lambda values: values.astype(np.float32)), "log_likelihood ... float32"),
    (without("excess"), "excess"),
    (lambda file: file.create_dataset("left_out/mood", data=np.ones(8)), "left_out/mood"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGED)
def test_what_breaks_the_format_is_refused(
    calibrated: CalibratedArray, tmp_path: Path, change: Change, said: str
) -> None:
    path = tmp_path / "array.h5"
    risolve.write_array(path, calibrated)
    with pytest.raises(MeasurementError, match=shows(f"array.h5 ... {said}")):
        risolve.read_array(changed(path, change))


def test_what_is_no_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="int"):
        risolve.write_array(tmp_path / "array.h5", 3)  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match="gone.h5"):
        risolve.read_array(tmp_path / "gone.h5")
    (tmp_path / "text.h5").write_text("no array", "utf-8")
    with pytest.raises(MeasurementError, match="text.h5"):
        risolve.read_array(tmp_path / "text.h5")
