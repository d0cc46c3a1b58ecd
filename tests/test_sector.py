"""A sector of azimuths through 180 degrees: it binds search and answer, and a picture holds it."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import risolve
from risolve.cli import parser
from risolve.door import FoundSources
from risolve.field import FieldOfView, check_field
from risolve.files.measurements import write_measurements
from risolve.locating_options import options_of
from risolve.physics.limits import visible
from risolve.pictures.page import page
from risolve.pictures.view import Shot, beside_truth, view_of
from tests.localization import column, localized
from tests.messages import shows

ANGLE = 2.0 * np.pi * np.arange(8) / 8
RING = risolve.Array(0.05 * np.stack((np.sin(ANGLE), 0.0 * ANGLE, np.cos(ANGLE)), -1), 0.1)
DOOR = risolve.Array(RING.elements[:, [1, 0, 2]], 0.1)
PLANE = risolve.planar(4, 4, spacing=0.05, wavelength=0.1)
SECTOR = (170.0, -170.0)


def seen(*azimuth_deg: float) -> risolve.Observation:
    """One source a scene, at elevation 0 and infinity."""
    random = np.random.default_rng(8)
    angles = torch.deg2rad(torch.tensor(azimuth_deg, dtype=torch.float64))
    wave = RING.steering(torch.stack((angles, 0.0 * angles, 0.0 * angles), -1)).numpy()[:, None]
    numbers = random.normal(size=(2, len(azimuth_deg), 40, 8))
    sent = np.exp(2j * np.pi * random.random((len(azimuth_deg), 40, 1)))
    return risolve.Observation(sent * wave + 0.07 * (numbers[0] + 1j * numbers[1]), RING)


def within(*azimuth_deg: float, estimator: str = "ml") -> FoundSources:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return risolve.locate(
            seen(*azimuth_deg),
            sources=1,
            azimuth=SECTOR,
            elevation=0,
            range=np.inf,
            estimator=estimator,
        )


@pytest.mark.parametrize("estimator", ["ml", "ml_unconditional", "music+ml", "beamformer+ml", "sbl", "nomp"])
def test_a_source_is_found_on_either_side_of_180_degrees(estimator: str) -> None:
    azimuth = [171.0, 180.0, -179.0, -171.0]
    found = within(*azimuth, estimator=estimator)
    beside = (found["azimuth_deg"] - azimuth + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(beside, 0.0, atol=0.7)
    assert np.abs(found["azimuth_deg"]).max() <= 180.0
    assert found["at_limit"].tolist() == [0.0] * 4
    assert (found["azimuth_std_deg"] < 0.3).all()


def test_nothing_is_said_of_sources_within() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        risolve.locate(seen(175.0, -175.0), sources=1, azimuth=SECTOR, elevation=0, range=np.inf)


def test_what_stands_beside_is_answered_at_the_nearer_end() -> None:
    found = within(160.0, -160.0)
    assert found["azimuth_deg"].tolist() == pytest.approx([170.0, -170.0])
    assert found["at_limit"].tolist() == [1.0, 1.0]


def test_limits_up_to_180_degrees_end_there() -> None:
    """The nearest place within 100 to 180 of one at -179 is 180, and not 100."""
    limits = FieldOfView((100.0, 180.0)).limits(RING, 8)
    assert limits is not None
    place = torch.deg2rad(torch.tensor([[-179.0, 0.0, 0.0]], dtype=torch.float64))
    assert float(limits.held(place)[0, 0]) == pytest.approx(np.pi)


@pytest.mark.parametrize(
    ("array", "stated"),
    [
        (RING, (180.0, -180.0)),
        (RING, (170.0, -190.0)),
        (DOOR, SECTOR),
        (PLANE, (60.0, -60.0)),
    ],
)
def test_a_sector_is_refused_where_not_all_azimuths_are_seen(
    array: risolve.Array, stated: tuple[float, float]
) -> None:
    with pytest.raises(ValueError, match=shows(f"azimuth ... {stated[0]:g} to {stated[1]:g}")):
        check_field(FieldOfView(stated), visible(array, array.n_elements))


def test_a_picture_holds_the_sector() -> None:
    found = within(-175.0)
    ((_, values),) = found.of_scenes()
    view = view_of(Shot("a.h5", 0, "ml"), found.observation, 0, found.searched, values)
    view = beside_truth(view, np.array([[np.deg2rad(-175.0), 0.0, 0.0]]), np.deg2rad(5.0))
    np.testing.assert_allclose(np.rad2deg(view.window[0]), (170.0, 190.0))
    assert torch.rad2deg(view.places[:, 0]).tolist() == pytest.approx([185.0, 185.0], abs=1.0)
    # its numbers are those of the result
    assert ">-175.000<" in page([view], 1, b"")
    figure = found.plot()
    figure.canvas.draw()
    axes = figure.axes[0]
    assert axes.get_xlim() == pytest.approx((170.0, 190.0))
    labels = [label.get_text() for label in axes.get_xticklabels()]
    ticks = dict(zip(axes.get_xticks().tolist(), labels, strict=True))
    assert (ticks[175.0], ticks[180.0], ticks[185.0]) == ("175", "180", "-175")


def test_the_command_takes_it(tmp_path: Path) -> None:
    write_measurements(tmp_path / "a.h5", seen(-175.0))
    limits = ["--azimuth", "170", "-170", "--elevation", "0", "--range", "inf", "--sources", "1"]
    options = options_of(parser().parse_args(["localize", "a.h5", *limits]))
    remarks: list[str] = []
    found = localized(tmp_path / "a.h5", remarks=remarks, **vars(options))
    assert column(found, "azimuth_deg")[0] == pytest.approx(-175.0, abs=0.7)
    assert len(remarks) == 1 and re.search(shows("azimuth 170 to -170"), remarks[0])
