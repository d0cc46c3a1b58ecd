"""Sources of files of any array: near the truth, as sure as stated, and refused where they cannot be told."""

import contextlib
import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from stages.artifacts import localization_setup
from stages.artifacts.errors import CheckpointError, MeasurementError
from stages.artifacts.localization_setup import FieldOfView, Options, method_for, probe
from stages.artifacts.measurement_stream import measurement_stream
from stages.artifacts.network_file import new_network, read_network, write_network
from stages.artifacts.params_file import read_params
from stages.artifacts.sources_file import VALUES, write_sources
from stages.artifacts.sources_text import source_lines, summary_line
from stages.artifacts.truth_table import score_lines
from stages.estimators.registry import REGISTRY
from stages.localize import FOUND_TOLERANCE_DEG, LS_RIDGE, Localization, covariance_of, localize_files
from stages.normalize import normalize
from stages.params import Params
from stages.physics.geometry import planar_array
from stages.physics.observation import Observation
from stages.physics.scenario import Scenes
from tests.architecture.source import ROOT
from tests.measurement_files import (
    at,
    attribute,
    changed,
    spread_scenes,
    with_values,
    worlds,
    write_user_file,
)
from tests.tiny_run import write_params
from tests.worlds import FIELD_OF_VIEW, SPREAD_SOURCES, WIDE, make_scenes, signal_of

OPTIONS = Options(estimator="ml", n_sources=2, field_of_view=None, false_alarm=0.01, model=Path("gone.pt"))


def localized(*files: Path, remarks: list[str] | None = None, **options: Any) -> Localization:
    said: list[str] = [] if remarks is None else remarks
    return localize_files(files, replace(OPTIONS, **options), said.append, None)


def column(found: Localization, name: str) -> np.ndarray:
    values: np.ndarray = found.sources.values[:, VALUES.index(name)]
    return values


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
        elements=elements,
        wavelength=0.3,
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


@pytest.mark.parametrize("name", [name for name in REGISTRY if "blend" not in name and name != "learned"])
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
    picked = torch.tensor([2])
    one = Scenes(
        scenes.observation.select(picked),
        *(
            getattr(scenes, name)[picked]
            for name in ("n_sources", "snr_db", "sources", "power", "amplitudes")
        ),
    )
    alone = localized(write_user_file(tmp_path / "one.h5", one))
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
    assert np.isfinite(found.sources.values).all()


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
    with pytest.raises(MeasurementError, match="no scene can be located: scene 0: snapshots: 54 of 54"):
        localized(path)


def test_a_scene_that_fails_in_the_estimator_is_left_out_too(tmp_path: Path) -> None:
    """Equal snapshots under equal codes have no centred covariance, though every number is sound."""
    path = write_user_file(tmp_path / "user.h5", worlds()["no surface"])
    whole = localized(path, estimator="music")
    changed(path, at("snapshots", 1, 1.0 + 0.5j))
    remarks: list[str] = []
    found = localized(path, estimator="music", remarks=remarks)
    assert found.sources.scenes[:, 1].tolist() == [0, 2]
    assert remarks[-1].startswith(f"{path}: scene 1 is left out: a covariance needs a positive, finite trace")
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
        ({"n_sources": 6}, "independent sources need 2 L min"),
        ({"n_sources": -1}, "allow 0 to 5 sources, got --sources -1"),
        ({"false_alarm": 0.0}, "--false-alarm: a probability between 0 and 1, got 0"),
        ({"estimator": "guess"}, "--estimator: no estimator is called 'guess'; there are"),
        (
            {"field_of_view": FieldOfView((10.0, -10.0), (-30.0, 30.0), (1.0, 2.0))},
            "--field-of-view: azimuth is lowest < highest within +-90 degrees, in front of the array; got",
        ),
        (
            {"field_of_view": FieldOfView((-10.0, 10.0), (-30.0, 30.0), (0.0, 2.0))},
            "--field-of-view: range is 0 < nearest < farthest",
        ),
        (
            {"field_of_view": FieldOfView((-60.0, 60.0), (-30.0, 30.0), (0.0001, 2.0))},
            "a grid has at most 50000 points",
        ),
    ],
)
def test_impossible_wishes_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    with pytest.raises(MeasurementError) as caught:
        localized(path, **options)
    assert message in str(caught.value)


def test_the_field_of_view_may_be_given_to_infinity(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    field = FieldOfView((-40.0, 40.0), (-30.0, 30.0), (1.0, math.inf))
    remarks: list[str] = []
    found = localized(path, field_of_view=field, remarks=remarks)
    assert all(score.agreement.found.all() for score in found.scores)
    assert remarks == [
        f"{path}: ml searches azimuth -40 to 40 degrees, elevation -30 to 30 degrees, range 1 to inf m"
    ]


def test_a_line_of_elements_is_refused(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, with_values("element_positions_m", lambda v: np.outer(np.arange(40.0), [0.15, 0.0, 0.0])))
    with pytest.raises(MeasurementError, match="azimuth and elevation need elements in two dimensions"):
        localized(path)


def test_a_source_beside_the_field_of_view_is_remarked(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", make_scenes(WIDE, 1, 20.0, 2, sources=[(0.42, 0.1, 0.5)]))
    remarks: list[str] = []
    field = FieldOfView((-20.0, 20.0), (-30.0, 30.0), (1.0, 10.0))
    found = localized(path, n_sources=1, field_of_view=field, remarks=remarks)
    assert all(score.agreement.found.all() for score in found.scores)
    assert remarks[-1].startswith(
        f"{path}: 2 sources lie outside the directions searched, the first in scene 0"
    )


def test_a_noise_power_beyond_the_power_received_is_remarked(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, with_values("noise_power", lambda v: v * np.array([1.0, 1e4, 1.0, 1e4])))
    remarks: list[str] = []
    localized(path, remarks=remarks)
    assert "sigma^2 is more than the power received, mean |y|^2, in 2 scenes, the first 1" in remarks[-1]


def test_snapshots_that_determine_no_source_are_refused(tmp_path: Path) -> None:
    system = replace(WIDE, n_antennas=1, n_snapshots=1)
    path = write_user_file(tmp_path / "user.h5", make_scenes(system, 1, 20.0, 1))
    with pytest.raises(
        MeasurementError, match="L = 1 snapshots, M = 1 antennas and N = 40 elements determine none"
    ):
        localized(path, n_sources=None)


# learned


def tiny_model(directory: Path) -> tuple[Params, Path]:
    """Initial weights for a 5 x 3 surface, 4 antennas and 7 snapshots."""
    params = read_params(write_params(directory))
    write_network(directory / "covariance.pt", new_network(params).state_dict(), params)
    return params, directory / "covariance.pt"


def fitting_scenes(**changes: Any) -> Scenes:
    system = replace(WIDE, n_horizontal=5, n_vertical=3, n_antennas=4, n_snapshots=7, **changes)
    return make_scenes(system, 1, 20.0, 2, distribution=FIELD_OF_VIEW)


@pytest.mark.parametrize("name", ["learned", "learned+ml", "music_blend"])
def test_a_model_is_used_on_the_array_that_it_was_trained_for(tmp_path: Path, name: str) -> None:
    _, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    found = localized(path, estimator=name, n_sources=1, model=model)
    assert found.sources.scenes[:, 2].tolist() == [1, 1]


def test_the_covariance_of_a_file_is_the_one_of_the_pipeline(tmp_path: Path) -> None:
    """R_pred of `localize` is that of `normalize`'s maps, bit by bit."""
    params, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    with measurement_stream(path) as stream:
        method = method_for(stream, replace(OPTIONS, estimator="learned", n_sources=1, model=model))
        observation = stream.chunk(0, 2).observation
    assert observation is not None
    maps = normalize(observation, params).maps
    assert maps is not None
    expected = read_network(model, params).predict(maps.values, maps.estimated_snr)
    found = covariance_of(observation, torch.ones(2, dtype=torch.int64), method)
    assert found is not None
    assert torch.equal(found.dense(), expected.dense())


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"wavelength": 0.31}, "wavelength_m is 0.31, the model's 0.3"),
        ({"n_horizontal": 6}, "elements are 18, the model's 15 (5 x 3, 0.15 m apart)"),
        (
            {"n_horizontal": 3, "n_vertical": 5},
            "m from its place in the model's layout (5 x 3, 0.15 m apart, vertical",
        ),
        ({"spacing": 0.14}, "element_positions_m: element 0 stands"),
        ({"n_antennas": 5}, "antennas are 5, the model's 4"),
        ({"n_snapshots": 9}, "snapshots are 9, the model's 7"),
    ],
)
def test_a_model_of_another_system_is_refused(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    _, model = tiny_model(tmp_path)
    system = replace(WIDE, n_horizontal=5, n_vertical=3, n_antennas=4, n_snapshots=7)
    path = write_user_file(tmp_path / "user.h5", make_scenes(replace(system, **changes), 1, 20.0, 2))
    with pytest.raises(CheckpointError) as caught:
        localized(path, estimator="learned", n_sources=1, model=model)
    assert difference in str(caught.value)
    assert "or take --estimator ml, which needs no model" in str(caught.value)


def test_a_model_needs_the_noise_power_and_its_own_field_of_view(tmp_path: Path) -> None:
    _, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes(), noise_power=False)
    field = FieldOfView((-50.0, 50.0), (-30.0, 30.0), (0.5, 10.0))
    with pytest.raises(CheckpointError) as caught:
        localized(path, estimator="learned", n_sources=1, model=model, field_of_view=field)
    assert "noise_power is missing, the model's maps need it" in str(caught.value)
    assert "--field-of-view is azimuth -50 to 50 degrees" in str(caught.value)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    with pytest.raises(CheckpointError, match=r"gone\.pt: there is no such checkpoint; run `train` first"):
        localized(path, estimator="learned", n_sources=1)


def test_what_estimators_read_is_known_without_an_array() -> None:
    kinds = {name: probe(name).covariance_kind for name in REGISTRY}
    assert kinds["ml"] is None
    assert (kinds["music"], kinds["music_blend"], kinds["learned"]) == ("sample", "blend", "predicted")


def test_settings_without_a_model_are_those_of_the_parameters() -> None:
    params = read_params(ROOT / "params.yaml")
    assert params.covariance.ls_ridge == LS_RIDGE
    assert params.covariance.diagonal_loading == localization_setup.LOADING
    assert params.evaluate.found_tolerance_deg == FOUND_TOLERANCE_DEG
    assert params.estimators.refine_iterations == localization_setup.ITERATIONS
    assert params.estimators.fit_iterations == localization_setup.FIT_ITERATIONS
    assert params.estimators.most_sources == localization_setup.MOST_COUNTED


# result files


def test_results_in_every_format_say_the_same(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, at("snapshots", 1, 0.0))
    found = localized(path, n_sources=None)
    for suffix in (".csv", ".json", ".h5"):
        write_sources(tmp_path / f"sources{suffix}", found.sources)
    with (tmp_path / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["scene", "source", *VALUES]
    assert [int(row["scene"]) for row in rows] == [0, 0, 2, 2, 3, 3]
    document = json.loads((tmp_path / "sources.json").read_text())
    assert document["left_out"] == [{"file": str(path), "scene": 1, "reason": "snapshots: all zero"}]
    flat = [source for scene in document["scenes"] for source in scene["sources"]]
    with h5py.File(tmp_path / "sources.h5", "r") as stored:
        assert dict(stored.attrs)["format"] == "risolve-sources"
        assert stored["left_out/reason"][()].tolist() == [b"snapshots: all zero"]
        for name in VALUES:
            values = stored[f"sources/{name}"][()].tolist()
            assert values == [float(row[name]) for row in rows] == [source[name] for source in flat]


def test_results_without_a_source_or_with_unknown_numbers(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", make_scenes(WIDE, 0, 0.0, 2))
    nothing = localized(path, n_sources=0).sources
    some = localized(write_user_file(tmp_path / "some.h5", spread_scenes(1))).sources
    unknown = replace(some, values=np.where(some.values < 0.0, np.nan, np.inf))
    for sources in (nothing, unknown):
        for suffix in (".csv", ".json", ".h5"):
            write_sources(tmp_path / f"sources{suffix}", sources)
    text = (tmp_path / "sources.csv").read_text()
    assert ",," in text
    assert "nan" not in text
    row = json.loads((tmp_path / "sources.json").read_text())["scenes"][0]["sources"][0]
    assert row["azimuth_deg"] is None


def test_results_have_an_ending_that_says_the_format(tmp_path: Path) -> None:
    sources = localized(write_user_file(tmp_path / "some.h5", spread_scenes(1))).sources
    with pytest.raises(
        MeasurementError, match=r"sources\.txt: results end in \.csv, \.json, \.h5, got \.txt"
    ):
        write_sources(tmp_path / "sources.txt", sources)


def test_a_wavelength_in_millimetres_is_one_line(tmp_path: Path) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes()), attribute("wavelength_m", 300.0))
    with pytest.raises(MeasurementError, match="millimetres"):
        localized(path)


def test_the_worked_example_prints_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/localize.md").read_text("utf-8")
    program, printed = (
        page.split("```python\n")[1].split("```")[0],
        page.split("```text\n")[1].split("```")[0],
    )
    with contextlib.chdir(tmp_path):
        exec(compile(program, "docs/localize.md", "exec"), {})
        found = localized(Path("measurements.h5"), n_sources=None)
    lines = [*source_lines(found.sources), summary_line(found.sources), "", *score_lines(found.scores, 5.0)]
    assert printed == "\n".join(lines) + "\n"
