"""`risolve localize` with a trained network: used where it fits, refused with the differences elsewhere."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from risolve import locating
from risolve.errors import CheckpointError
from risolve.estimators.registry import REGISTRY
from risolve.field import FieldOfView
from risolve.files.measurement_stream import measurement_stream
from risolve.files.model import read_network
from risolve.files.sources import read_sources, write_sources
from risolve.localize import FOUND_TOLERANCE_DEG
from risolve.locating import covariance_of, localizer_for, probe
from risolve.networks.trained import Prediction, uncalibrated
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes
from risolve.words.sources import source_lines
from stages.normalize import normalize
from stages.params.file import read_params
from stages.params.model import Params
from tests.architecture.source import ROOT
from tests.checkpoints import write_untrained
from tests.localization import OPTIONS, column, localized
from tests.measurement_files import (
    write_user_file,
)
from tests.messages import shows
from tests.tiny_run import write_params
from tests.worlds import FIELD_OF_VIEW, WIDE, make_scenes


def tiny_model(directory: Path, **changes: Any) -> tuple[Params, Path]:
    """Initial weights for a 5 x 3 surface, 4 antennas and 7 snapshots."""
    params = read_params(write_params(directory, changes))
    write_untrained(directory / "learned.pt", uncalibrated(0.25), params)
    return params, directory / "learned.pt"


def fitting_scenes(source_model: SourceModel = "independent") -> Scenes:
    system = replace(WIDE, n_horizontal=5, n_vertical=3, n_antennas=4, n_snapshots=7)
    return make_scenes(system, 1, 20.0, 2, source_model, distribution=FIELD_OF_VIEW)


@pytest.mark.parametrize("name", ["learned", "learned_peaks", "learned_peaks+ml", "music_blend"])
def test_a_model_is_used_on_the_array_that_it_was_trained_for(tmp_path: Path, name: str) -> None:
    _, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    found = localized(path, estimator=name, n_sources=1, model=model)
    assert found.sources.scenes[:, 2].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["learned", "learned_peaks", "learned_peaks+ml", "music_blend"])
@pytest.mark.parametrize("n_sources", [1, None])
def test_the_confidence_of_a_count_is_in_every_result(
    tmp_path: Path, name: str, n_sources: int | None
) -> None:
    """Stated by the learned estimators where they count; nothing is stated of a number that was told."""
    _, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    found = localized(path, estimator=name, n_sources=n_sources, model=model).sources
    stated = n_sources is None and name.startswith("learned")
    maximizes = name in ("learned", "learned_peaks+ml")
    confidence = found.count_confidence
    assert confidence.shape == (2,)
    assert bool(((confidence > 0.0) & (confidence <= 1.0)).all() if stated else np.isnan(confidence).all())
    beyond = found.beyond_training
    assert bool(((beyond > 0.0) & (beyond <= 1.0)).all() if maximizes else np.isnan(beyond).all())
    for suffix in (".csv", ".json", ".h5"):
        write_sources(tmp_path / f"sources{suffix}", found)
    rows = pd.read_csv(tmp_path / "sources.csv")
    by_row = np.repeat(confidence, found.scenes[:, 2])
    np.testing.assert_allclose(rows["count_confidence"].to_numpy(dtype=float), by_row, rtol=1e-9)
    by_row = np.repeat(beyond, found.scenes[:, 2])
    np.testing.assert_allclose(rows["beyond_training"].to_numpy(dtype=float), by_row, rtol=1e-9)
    document = json.loads((tmp_path / "sources.json").read_text("utf-8"))
    expected = [None if math.isnan(value) else value for value in confidence.tolist()]
    assert [scene["count_confidence"] for scene in document["scenes"]] == expected
    again = read_sources(tmp_path / "sources.h5", None)
    np.testing.assert_array_equal(again.count_confidence, confidence)
    assert ("count sure" in source_lines(found)[0]) == stated


def test_scenes_beyond_a_training_are_remarked_with_another_estimator(tmp_path: Path) -> None:
    """Snapshots of another channel fit no sources, those of the training do."""
    _, model = tiny_model(tmp_path)
    scenes = fitting_scenes()
    seen = scenes.observation
    wrong = replace(scenes, observation=replace(seen, channel=seen.channel.roll(1, dims=1)))
    remarks = {}
    for name, own in (("right", scenes), ("wrong", wrong)):
        path = write_user_file(tmp_path / f"{name}.h5", own)
        said = remarks.setdefault(name, list[str]())
        found = localized(path, remarks=said, estimator="learned", n_sources=1, model=model).sources
        assert bool(((found.beyond_training > 0.9) == (name == "wrong")).all())
    for parts in ("fits ... 2 scenes", "2 scenes ... beyond_training > 0.9 ... 2 leave ... ml"):
        assert any(re.search(shows(parts), line) for line in remarks["wrong"])
    assert not any("beyond_training" in line for line in remarks["right"])


def test_a_network_counts_no_further_than_it_was_trained(tmp_path: Path) -> None:
    """A scene of as many sources as the network tells apart is remarked."""
    params, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    with measurement_stream(path, None) as stream:
        options = replace(OPTIONS, n_sources=None, model=model)
        learned = localizer_for(stream, replace(options, estimator="learned"), "the file")
        blended = localizer_for(stream, replace(options, estimator="music_blend"), "the file")
    assert learned.settings.counting.most == params.sources.max_sources == 3
    assert blended.settings.counting.most == 3


@pytest.mark.parametrize("loops", [0, 1])
@pytest.mark.parametrize("noise_power", [True, False])
@pytest.mark.parametrize("source_model", ["independent", "constant"])
def test_the_covariance_of_a_file_is_the_one_of_the_pipeline(
    tmp_path: Path, source_model: SourceModel, noise_power: bool, loops: int
) -> None:
    """What `localize` predicts is what `normalize`'s maps say, bit by bit."""
    params, model = tiny_model(tmp_path, **{"network.loops": loops})
    path = write_user_file(tmp_path / "user.h5", fitting_scenes(source_model), noise_power=noise_power)
    with measurement_stream(path, None) as stream:
        localizer = localizer_for(
            stream, replace(OPTIONS, estimator="learned", n_sources=1, model=model), "the file"
        )
        observation = stream.chunk(0, 2).observation
    assert observation is not None
    maps = normalize(observation, params).maps
    expected = read_network(model, params.of_model()).predict(maps.values, maps.estimated_snr, observation)
    found = covariance_of(observation, torch.ones(2, dtype=torch.int64), localizer)
    assert isinstance(found, Prediction)
    assert torch.equal(found.covariance.dense(), expected.covariance.dense())
    for name in ("occupancy", "places", "count_log_probabilities", "estimated_snr"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"wavelength": 0.31}, "wavelength_m ... 0.31 ... 0.3"),
        ({"n_horizontal": 6}, "elements ... 18 ... 15 (5 x 3, 0.15 m"),
        (
            {"n_horizontal": 3, "n_vertical": 5},
            "element_positions_m: ... (5 x 3, 0.15 m ... vertical",
        ),
        ({"spacing": 0.14}, "element_positions_m: element 0"),
        ({"n_antennas": 5}, "antennas ... 5 ... 4"),
        ({"n_snapshots": 9}, "snapshots ... 9 ... 7"),
    ],
)
def test_a_model_of_another_system_is_refused(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    _, model = tiny_model(tmp_path)
    system = replace(WIDE, n_horizontal=5, n_vertical=3, n_antennas=4, n_snapshots=7)
    path = write_user_file(tmp_path / "user.h5", make_scenes(replace(system, **changes), 1, 20.0, 2))
    with pytest.raises(CheckpointError, match=shows(f"{difference} ... estimator ml")):
        localized(path, estimator="learned", n_sources=1, model=model)


def test_a_model_is_asked_within_its_own_field_of_view(tmp_path: Path) -> None:
    _, model = tiny_model(tmp_path)
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    field = FieldOfView((-70.0, 50.0))
    with pytest.raises(CheckpointError) as caught:
        localized(path, estimator="learned", n_sources=1, model=model, field_of_view=field)
    assert "azimuth -70 to 50 degrees" in str(caught.value)
    narrow = FieldOfView((10.0, 20.0), 5.0)
    for name in ("learned", "learned_peaks", "learned_peaks+ml", "music_blend"):
        found = localized(path, estimator=name, n_sources=1, model=model, field_of_view=narrow)
        assert (np.abs(column(found, "azimuth_deg") - 15.0) <= 5.0 + 1e-9).all()
        np.testing.assert_allclose(column(found, "elevation_deg"), 5.0)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", fitting_scenes())
    with pytest.raises(CheckpointError, match=shows("gone.pt: ... `train` ... `calibrate`")):
        localized(path, estimator="learned", n_sources=1)


def test_what_estimators_read_is_known_without_an_array() -> None:
    kinds = {name: probe(name).covariance_kind for name in REGISTRY}
    assert kinds["ml"] is None
    assert (kinds["music"], kinds["music_blend"], kinds["learned"]) == ("sample", "blend", "predicted")


def test_settings_without_a_model_are_those_of_the_parameters() -> None:
    params = read_params(ROOT / "params.yaml")
    assert params.covariance.ls_ridge == locating.LS_RIDGE
    assert params.covariance.diagonal_loading == locating.LOADING
    assert params.evaluate.found_tolerance_deg == FOUND_TOLERANCE_DEG
    assert params.estimators.refine_iterations == locating.ITERATIONS
    assert params.estimators.fit_iterations == locating.FIT_ITERATIONS
    assert params.estimators.most_sources == locating.MOST_COUNTED


# result files
