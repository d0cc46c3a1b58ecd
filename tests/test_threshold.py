"""The Ziv-Zakai curve as a table: units, order, and what it does not depend on."""

import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from risolve.bounds.ziv_zakai import ziv_zakai_bound
from risolve.errors import MeasurementError
from risolve.files.measurements import read_observation
from risolve.seeds import integer_seed
from stages import simulate as simulate_verb
from stages import threshold as threshold_verb
from stages.params import objects
from stages.params.file import read_params
from stages.threshold import SCENES, THRESHOLD
from tests.messages import shows
from tests.tiny_run import call_verb, write_params

FEW = {"threshold.snr_db": [-30.0, -10.0, 0.0, 20.0], "threshold.scenes": 2, "threshold.draws": 4}
COMPONENTS = ["azimuth_deg", "elevation_deg", "inverse_range_per_m", "range_m"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    write_params(directory, FEW)
    call_verb(directory, simulate_verb.main, "--split", "test_independent")
    call_verb(directory, threshold_verb.main)
    return directory


def test_bounds_fall_with_the_snr_from_the_prior_on(finished: Path) -> None:
    table = pd.read_csv(finished / THRESHOLD)
    assert list(table) == ["component", "snr_db", "ziv_zakai", "bound", "prior"]
    assert table["component"].tolist() == [name for name in COMPONENTS for _ in range(4)]
    priors = table.groupby("component", sort=False)["prior"].first()
    # of a uniform width / sqrt(12)
    assert priors["azimuth_deg"] == pytest.approx(120.0 / math.sqrt(12.0))
    assert priors["elevation_deg"] == pytest.approx(60.0 / math.sqrt(12.0))
    assert priors["range_m"] == pytest.approx(9.5 / math.sqrt(12.0))
    for _, own in table.groupby("component"):
        assert own["snr_db"].tolist() == [-30.0, -10.0, 0.0, 20.0]
        assert (np.diff(own["ziv_zakai"]) < 0.0).all()
        assert (np.diff(own["bound"]) < 0.0).all()
        # a mean over eight places does not have the spread of the prior exactly
        assert (own["ziv_zakai"] < 1.05 * own["prior"]).all()
        assert own["bound"].iloc[0] > own["prior"].iloc[0]


def test_values_are_those_of_the_bound_in_the_units_of_their_names(finished: Path) -> None:
    params = read_params(finished / "params.yaml")
    # scenes 3 and 4 are the first of the tiny split with one source
    observation = read_observation(finished / SCENES, False).select(torch.tensor([3, 4]))
    expected = ziv_zakai_bound(
        observation,
        objects.source_distribution(params),
        torch.tensor([1e-3, 0.1, 1.0, 100.0], dtype=torch.float64),
        4,
        torch.Generator().manual_seed(integer_seed(1, "ziv_zakai")),
    )
    table = pd.read_csv(finished / THRESHOLD)
    for name, values in (("ziv_zakai", expected.deviations), ("bound", expected.expected)):
        degrees = torch.cat((torch.rad2deg(values[:, :2]), values[:, 2:]), dim=-1)
        stored = table[name].to_numpy().reshape(4, 4).T
        np.testing.assert_allclose(stored, degrees.numpy(), rtol=1e-9)


def test_path_loss_and_the_snapshots_play_no_part(finished: Path) -> None:
    """The SNR is that of a scene: a weaker source in less noise is the same measurement."""
    params = read_params(finished / "params.yaml")
    observation = read_observation(finished / SCENES, False).select(slice(3, 5))
    lossy = params.model_validate(
        {**params.model_dump(), "sources": {**params.sources.model_dump(), "path_loss": True}}
    )
    expected = threshold_verb.threshold(observation, params)
    pd.testing.assert_frame_equal(threshold_verb.threshold(observation, lossy), expected)
    silent = replace(observation, snapshots=torch.zeros_like(observation.snapshots), noise_power=None)
    pd.testing.assert_frame_equal(threshold_verb.threshold(silent, params), expected)


def test_a_second_run_makes_the_same_bytes(finished: Path) -> None:
    first = (finished / THRESHOLD).read_bytes()
    call_verb(finished, threshold_verb.main)
    assert (finished / THRESHOLD).read_bytes() == first


def test_without_scenes_of_one_source_others_give_the_channels(tmp_path: Path) -> None:
    two = {"only": {"n_sources": [2, 2], "snr_db": [0.0, 0.0], "n_scenes": 3}}
    write_params(tmp_path, {**FEW, "simulate.test_independent.strata": two})
    call_verb(tmp_path, simulate_verb.main, "--split", "test_independent")
    call_verb(tmp_path, threshold_verb.main)
    assert len(pd.read_csv(tmp_path / THRESHOLD)) == 16


def test_bad_scenes_are_named(finished: Path, tmp_path: Path) -> None:
    write_params(tmp_path, FEW)
    with pytest.raises(MeasurementError, match=shows("data/scenes/test_independent: ... `simulate`")):
        call_verb(tmp_path, threshold_verb.main)
    (tmp_path / SCENES).mkdir(parents=True)
    for path in (finished / SCENES).glob("shard-*.h5"):
        (tmp_path / SCENES / path.name).write_bytes(path.read_bytes())
    with h5py.File(tmp_path / SCENES / "shard-0000.h5", "r+") as file:
        file["channel"][3] = file["channel"][3, :1]
        file["codes"][3] = file["codes"][3, :1]
    with pytest.raises(MeasurementError, match=shows("test_independent: ... scenes [3, 4]: ... scenes [0]")):
        call_verb(tmp_path, threshold_verb.main)
    assert not (tmp_path / THRESHOLD).exists()
