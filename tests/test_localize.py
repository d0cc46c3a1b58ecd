"""Sources of files of any array: near the truth, as sure as stated, and refused where they cannot be told."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from risolve.errors import MeasurementError
from risolve.estimators.registry import REGISTRY
from risolve.field import FieldOfView
from risolve.files.located_sources import VALUES
from risolve.inference.grid import MOST_POINTS
from risolve.locating import needs_model
from risolve.physics.array import Array
from risolve.physics.geometry import planar_array
from risolve.physics.observation import Observation
from risolve.physics.scenario import Scenes
from tests.localization import column, localized
from tests.measurement_files import (
    at,
    attribute,
    changed,
    spread_scenes,
    with_values,
    worlds,
    write_user_file,
)
from tests.messages import shows
from tests.worlds import SPREAD_SOURCES, WIDE, make_scenes, signal_of


@pytest.mark.parametrize("n_sources", [2, None])
@pytest.mark.parametrize("name", list(worlds()))
def test_locates_the_sources_of_any_array(tmp_path: Path, name: str, n_sources: int | None) -> None:
    path = write_user_file(tmp_path / "user.h5", worlds()[name])
    found = localized(path, n_sources=n_sources)
    assert found.sources.scenes.tolist() == [[0, 0, 2], [0, 1, 2], [0, 2, 2]]
    assert found.sources.left_out == ()
    deviations = np.concatenate([score.agreement.deviation for score in found.scores])
    assert all(score.agreement.found.all() for score in found.scores)
    # 18 standard normal numbers: the largest stays below 4.5 but in 1 case of 8000
    assert deviations.shape == (6, 3)
    assert np.abs(deviations).max() < 4.5


def bent_array() -> Scenes:
    """An ordinary array whose elements stand on a quarter of a cylinder."""
    flat = planar_array(6, 4, 0.15)
    angle = flat[:, 0] / 0.6
    elements = torch.stack((0.6 * torch.sin(angle), flat[:, 1], 0.6 * torch.cos(angle) - 0.6), dim=-1)
    scenes = make_scenes(WIDE, 2, 20.0, 3, sources=SPREAD_SOURCES[:2])
    observation = Observation(
        snapshots=torch.zeros((3, 9, 24), dtype=torch.complex64),
        channel=torch.eye(24, dtype=torch.complex64)[None],
        codes=torch.ones((1, 9, 24), dtype=torch.complex64),
        array=Array(elements, 0.3, spherical_amplitude=False),
        source_model="independent",
        noise_power=torch.full((3,), 0.01, dtype=torch.float64),
    )
    signal = signal_of(replace(scenes, observation=observation))
    noise = torch.randn(signal.shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    snapshots = (signal + 0.1 * noise).to(torch.complex64)
    return replace(scenes, observation=replace(observation, snapshots=snapshots))


def test_locates_with_an_array_that_is_not_flat(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", bent_array())
    found = localized(path)
    assert all(score.agreement.found.all() for score in found.scores)
    assert np.abs(np.concatenate([score.agreement.deviation for score in found.scores])).max() < 4.5


@pytest.mark.parametrize("name", [name for name in REGISTRY if not needs_model(name)])
def test_every_classical_estimator_runs_on_another_array(tmp_path: Path, name: str) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    found = localized(path, estimator=name)
    assert found.sources.estimator == name
    assert np.isfinite(column(found, "azimuth_deg")).all()


@pytest.mark.parametrize("n_sources", [2, None])
def test_refinement_reaches_the_same_maximum_from_any_start(tmp_path: Path, n_sources: int | None) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    expected = localized(path)
    found = localized(path, estimator="mvdr+ml", n_sources=n_sources)
    assert found.sources.estimator == "mvdr+ml"
    for results in (found, expected):
        results.sources.values[:] = results.sources.values[np.argsort(column(results, "azimuth_deg"))]
    np.testing.assert_allclose(column(found, "azimuth_deg"), column(expected, "azimuth_deg"), atol=0.01)
    np.testing.assert_allclose(column(found, "range_std_m"), column(expected, "range_std_m"), rtol=0.02)


def test_columns_agree_with_each_other(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    found = localized(path)
    azimuth, elevation = np.radians(column(found, "azimuth_deg")), np.radians(column(found, "elevation_deg"))
    reach = column(found, "range_m")
    np.testing.assert_allclose(column(found, "x_m"), reach * np.sin(azimuth) * np.cos(elevation))
    np.testing.assert_allclose(column(found, "y_m"), reach * np.sin(elevation))
    np.testing.assert_allclose(column(found, "z_m"), reach * np.cos(azimuth) * np.cos(elevation))
    # amplitudes of power 1, nine of them: their mean square is Gamma(9) / 9
    assert np.abs(column(found, "power_db")).max() < 6.0
    assert (column(found, "range_std_m") > 0.0).all()


def test_a_scene_is_located_the_same_alone_and_among_others(tmp_path: Path) -> None:
    scenes = spread_scenes(3)
    together = localized(write_user_file(tmp_path / "all.h5", scenes))
    alone = localized(write_user_file(tmp_path / "one.h5", scenes.select(torch.tensor([2]))))
    np.testing.assert_allclose(alone.sources.values, together.sources.values[4:], rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-25, 1e-8, 1e8])
def test_the_scale_of_the_snapshots_changes_the_power_alone(tmp_path: Path, factor: float) -> None:
    expected = localized(write_user_file(tmp_path / "user.h5", spread_scenes(2)))
    path = changed(
        write_user_file(tmp_path / "scaled.h5", spread_scenes(2)),
        with_values("snapshots", lambda v: (v * factor).astype(np.complex64)),
        with_values("noise_power", lambda v: v * factor**2),
    )
    remarks: list[str] = []
    found = localized(path, n_sources=None, remarks=remarks)
    assert len(remarks) == 1
    for name in ("azimuth_deg", "elevation_deg", "range_m", "azimuth_std_deg", "range_std_m"):
        np.testing.assert_allclose(column(found, name), column(expected, name), rtol=1e-3, atol=1e-4)
    gain = column(found, "power_db") - column(expected, "power_db")
    np.testing.assert_allclose(gain, 20.0 * math.log10(factor), atol=1e-3)


def test_noise_power_and_truth_may_be_absent(tmp_path: Path) -> None:
    scenes = spread_scenes()
    path = write_user_file(tmp_path / "user.h5", scenes, truth=False, noise_power=False)
    found = localized(path, n_sources=None)
    assert found.scores == ()
    assert found.sources.scenes[:, 2].tolist() == [2, 2, 2, 2]
    assert np.isnan(column(found, "misfit")).all()
    assert np.isfinite(np.delete(found.sources.values, VALUES.index("misfit"), axis=1)).all()


def test_scenes_of_noise_have_no_source(tmp_path: Path) -> None:
    scenes = make_scenes(WIDE, 0, 0.0, 3)
    found = localized(write_user_file(tmp_path / "user.h5", scenes), n_sources=None, false_alarm=1e-3)
    assert found.sources.scenes.tolist() == [[0, 0, 0], [0, 1, 0], [0, 2, 0]]
    assert found.sources.values.shape == (0, len(VALUES))


def test_bad_scenes_are_left_out_and_the_others_located(tmp_path: Path) -> None:
    remarks: list[str] = []
    whole = localized(write_user_file(tmp_path / "whole.h5", spread_scenes()))
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, at("snapshots", 1, 0.0), at("channel", (3, 0, 0), np.nan))
    found = localized(path, remarks=remarks)
    assert found.sources.scenes[:, 1].tolist() == [0, 2]
    assert [scene for _, scene, _ in found.sources.left_out] == [1, 3]
    assert f"{path}: scene 1 is left out: snapshots: all zero" in remarks
    np.testing.assert_allclose(found.sources.values, whole.sources.values[[0, 1, 4, 5]], rtol=1e-6)
    changed(path, at("snapshots", slice(None), np.nan))
    with pytest.raises(MeasurementError, match=shows("user.h5: ... scene 0: snapshots: 54 of 54")):
        localized(path)


def test_a_scene_that_fails_in_the_estimator_is_left_out_too(tmp_path: Path) -> None:
    """Equal snapshots under equal codes have no centred covariance, though every number is sound."""
    path = write_user_file(tmp_path / "user.h5", worlds()["no surface"])
    whole = localized(path, estimator="music")
    changed(path, at("snapshots", 1, 1.0 + 0.5j))
    remarks: list[str] = []
    found = localized(path, estimator="music", remarks=remarks)
    assert found.sources.scenes[:, 1].tolist() == [0, 2]
    assert re.match(shows(f"{path}: scene 1 ... trace"), remarks[-1])
    np.testing.assert_allclose(found.sources.values, whole.sources.values[[0, 1, 4, 5]], rtol=1e-6)


def test_files_and_shards_keep_their_numbers(tmp_path: Path) -> None:
    scenes = spread_scenes(2)
    (tmp_path / "split").mkdir()
    for number in range(2):
        write_user_file(tmp_path / f"split/shard-000{number}.h5", scenes)
    path = write_user_file(tmp_path / "user.h5", worlds()["no surface"])
    found = localized(tmp_path / "split", path)
    assert found.sources.scenes[:, :2].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 1], [1, 2]]
    assert found.sources.source.tolist() == [0, 1] * 7
    np.testing.assert_array_equal(found.sources.values[:4], found.sources.values[4:8])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_sources": 6}, "2 L min(M, N) ... 0 to 5 sources, got 6"),
        ({"n_sources": -1}, "0 to 5 sources, got -1"),
        ({"false_alarm": 0.0}, "0 ... 1, got 0"),
        ({"estimator": "guess"}, "'guess'"),
        (
            {"field_of_view": FieldOfView((10.0, -10.0), (-30.0, 30.0), (1.0, 2.0))},
            "got 10 to -10",
        ),
        (
            {"field_of_view": FieldOfView((-10.0, 10.0), (-30.0, 30.0), (0.0, 2.0))},
            "field of view: range ... 1e-09 <= nearest < farthest ... 0 to 2",
        ),
        (
            {"field_of_view": FieldOfView((-60.0, 60.0), (-30.0, 30.0), (0.000001, 2.0))},
            f"{MOST_POINTS} points",
        ),
    ],
)
def test_impossible_wishes_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    with pytest.raises(MeasurementError, match=shows(message)):
        localized(path, **options)


def test_the_field_of_view_may_be_given_to_infinity(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    field = FieldOfView((-40.0, 40.0), (-30.0, 30.0), (1.0, math.inf))
    remarks: list[str] = []
    found = localized(path, field_of_view=field, remarks=remarks)
    assert all(score.agreement.found.all() for score in found.scores)
    assert remarks == [
        f"{path}: ml searches azimuth -40 to 40 degrees, elevation -30 to 30 degrees, range 1 to inf m"
    ]


def test_a_line_of_elements_tells_one_angle(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, with_values("element_positions_m", lambda v: np.outer(np.arange(40.0), [0.15, 0.0, 0.0])))
    remarks: list[str] = []
    found = localized(path, remarks=remarks)
    assert (column(found, "elevation_deg") == 0.0).all()
    assert np.isnan(column(found, "elevation_std_deg")).all()
    assert any("elevation 0 degrees" in remark for remark in remarks)
    assert any("on a line" in remark and "elevation" in remark for remark in remarks)
    with pytest.raises(MeasurementError, match=shows("user.h5: azimuth ... 40 elements")):
        localized(path, field_of_view=FieldOfView(elevation_deg=(-10.0, 10.0)))


def test_a_source_beside_the_field_of_view_is_remarked(tmp_path: Path) -> None:
    """Limits that are stated bind the answer, those of the usual field do not."""
    path = write_user_file(tmp_path / "user.h5", make_scenes(WIDE, 1, 20.0, 2, sources=[(1.1, 0.1, 0.5)]))
    remarks: list[str] = []
    found = localized(path, n_sources=1, remarks=remarks)
    assert all(score.agreement.found.all() for score in found.scores)
    assert re.match(shows(f"{path}: 2 sources ... nearer"), remarks[-1])
    write_user_file(path, make_scenes(WIDE, 1, 20.0, 2, sources=[(0.42, 0.1, 0.5)]))
    for field, name, limit in (
        (FieldOfView((-20.0, 20.0)), "azimuth_deg", 20.0),
        (FieldOfView(range_m=(3.0, 10.0)), "range_m", 3.0),
    ):
        found = localized(path, n_sources=1, field_of_view=field, remarks=remarks)
        np.testing.assert_allclose(column(found, name), limit)
        assert column(found, "at_limit").tolist() == [1.0, 1.0]
        assert re.match(shows(f"{path}: 2 sources ... limit ... scene 0"), remarks[-1])


def test_a_noise_power_beyond_the_power_received_is_remarked(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, with_values("noise_power", lambda v: v * np.array([1.0, 1e4, 1.0, 1e4])))
    remarks: list[str] = []
    localized(path, remarks=remarks)
    assert any(re.search(shows("sigma^2 ... |y|^2 ... 2 scenes, ... 1"), remark) for remark in remarks)


def test_a_noise_power_below_what_the_sources_leave_is_remarked(tmp_path: Path) -> None:
    """A millionth of the true one: counting goes on as long as sources are looked for."""
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    remarks: list[str] = []
    found = localized(path, n_sources=None, remarks=remarks)
    np.testing.assert_allclose(column(found, "misfit"), 1.0, atol=5.0 * math.sqrt(1.0 / 33.0))
    assert len(remarks) == 1
    changed(path, with_values("noise_power", lambda v: v * np.array([1.0, 1e-6, 1.0, 1e-6])))
    localized(path, n_sources=None, remarks=remarks)
    text = "\n".join(remarks[1:])
    assert re.search(shows("sigma^2, misfit above 1, ... 2 scenes, ... 1"), text)
    assert re.search(shows("sources, ... most ... 2 scenes, ... 1: some"), text)


def test_part_of_a_damaged_file_is_located(tmp_path: Path) -> None:
    """Scene 2 of 5 is in a compressed block that is no longer readable."""
    path = write_user_file(tmp_path / "user.h5", spread_scenes(5))
    whole = localized(path)
    with h5py.File(path, "r+") as file:
        values = file["snapshots"][()]
        del file["snapshots"]
        blocks = (1, *values.shape[1:])
        packed = file.create_dataset("snapshots", data=values, chunks=blocks, compression="gzip")
        place = packed.id.get_chunk_info(2).byte_offset
    with path.open("r+b") as raw:
        raw.seek(place)
        raw.write(b"damage")
    found = localized(path)
    assert found.sources.scenes[:, 1].tolist() == [0, 1, 3, 4]
    ((_, scene, reason),) = found.sources.left_out
    assert (scene, reason.partition(":")[0]) == (2, "snapshots")
    expected = np.delete(whole.sources.values, [4, 5], axis=0)
    np.testing.assert_allclose(found.sources.values, expected, rtol=1e-6)


def test_a_bad_file_is_refused_before_the_others_are_located(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A truth of no range in the second file; and shards of another array."""
    files = [write_user_file(tmp_path / f"{name}.h5", spread_scenes(2)) for name in "ab"]
    changed(files[1], at("truth/range_m", (0, 0), -1.0))
    monkeypatch.setattr("risolve.localize.localize", lambda *arguments: pytest.fail("located"))
    with pytest.raises(MeasurementError, match="b.h5: truth/range_m: 1e-09 to inf"):
        localized(*files)
    shards = tmp_path / "shards"
    shards.mkdir()
    write_user_file(shards / "shard-0000.h5", spread_scenes(2))
    write_user_file(shards / "shard-0001.h5", worlds()["another array"])
    with pytest.raises(MeasurementError, match=shows("shard-0001.h5: ... array")):
        localized(shards)


def test_a_source_at_infinity_has_a_direction_and_no_place(tmp_path: Path) -> None:
    """A true range of infinity is allowed too, and found by the inverse range."""
    far = make_scenes(WIDE, 1, 20.0, 6, sources=[(0.3, 0.1, 1e-4)])
    path = changed(write_user_file(tmp_path / "user.h5", far), at("truth/range_m", (0, 0), math.inf))
    found = localized(path, n_sources=1)
    infinite = np.isinf(column(found, "range_m"))
    assert infinite.any()
    assert np.isnan(column(found, "x_m")[infinite]).all() and np.isnan(column(found, "z_m")[infinite]).all()
    spread = column(found, "inverse_range_std_per_m")
    assert (np.abs(column(found, "inverse_range_per_m")) < 5.0 * spread + 1e-4).all()
    assert all(score.agreement.found.all() for score in found.scores)


def test_snapshots_that_determine_no_source_are_refused(tmp_path: Path) -> None:
    system = replace(WIDE, n_antennas=1, n_snapshots=1)
    path = write_user_file(tmp_path / "user.h5", make_scenes(system, 1, 20.0, 1))
    with pytest.raises(MeasurementError, match=shows("user.h5: ... L = 1 ... M = 1 ... N = 40 ... none")):
        localized(path, n_sources=None)


# learned


def test_a_wavelength_in_millimetres_is_one_line(tmp_path: Path) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes()), attribute("wavelength_m", 300.0))
    with pytest.raises(MeasurementError, match="millimetres"):
        localized(path)
