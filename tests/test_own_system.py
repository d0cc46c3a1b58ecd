"""A network for the array of a file: `array.file` from `check` to `localize`."""

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import risolve
from risolve.errors import CheckpointError, MeasurementError
from risolve.files.given_system import read_system
from risolve.files.measurements import read_scenes
from risolve.physics.array import Array
from risolve.physics.observation import Observation
from risolve.running.entry import run
from risolve.words.inspection import inspect_lines
from stages import bound, calibrate, check, evaluate, normalize, simulate, sweep, threshold, train
from stages.params.file import SYSTEM, read_params
from stages.params.model import TEST_SPLITS, TRAINING_SPLITS, VALIDATION_SPLITS
from tests.localization import column, localized
from tests.messages import shows
from tests.pipeline.working_copy import clone
from tests.tiny_run import call_verb, write_params

SHORT: dict[str, Any] = {
    "array.file": "my own.h5",
    "sources.range_m": [0.5, 4.0],
    "network.channels": 8,
    "network.blocks": 1,
    "network.groups": 2,
    "train.device": "cpu",
    "train.epochs": 1,
    "train.batch_size": 4,
    "evaluate.estimators": ["beamformer", "learned"],
    "evaluate.blind": ["learned"],
    "evaluate.refine": [False],
    "evaluate.genie_starts": 0,
    "evaluate.bootstrap_samples": 10,
    "evaluate.workers": 1,
    "threshold.scenes": 1,
    "threshold.draws": 2,
    "threshold.snr_db": [10.0],
    "sweep.n_scenes": 2,
    "sweep.points.phase_error_deg": [0.0],
    "sweep.points.dead_fraction": [0.0],
    "sweep.points.channel_error": [0.0],
    "sweep.points.position_jitter_m": [0.0, 0.005],
    "report.example_scenes": 0,
}
"""Of a wavelength of 0.1 m; other arrays and receivers than params.yaml has."""

CIRCLE = risolve.circular(12, 0.08, 0.1)


def normal(*shape: int) -> np.ndarray:
    random = np.random.default_rng(7)
    return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(np.complex64)


def scattered() -> Array:
    """20 elements at random places of a square: of no lattice, and of no mirror."""
    places = np.random.default_rng(5).uniform(-0.2, 0.2, (20, 3)) * (1.0, 1.0, 0.0)
    return Array(places, 0.1)


def surface(n_channels: int, n_codes: int) -> Observation:
    """Three scenes of a surface of scattered elements, with as many channels and sets of codes."""
    codes = np.exp(2j * np.pi * np.random.default_rng(6).random((n_codes, 5, 20)))
    return Observation(normal(3, 5, 6), scattered(), 3e-6 * normal(n_channels, 6, 20), codes)


def antennas(array: Array = CIRCLE, n_snapshots: int = 5) -> Observation:
    """Two scenes of antennas that are the elements."""
    return Observation(normal(2, n_snapshots, array.n_elements), array)


def own_folder(folder: Path, observation: Observation, **changes: Any) -> Path:
    risolve.write_measurements(folder / "my own.h5", observation)
    write_params(folder, {**SHORT, **changes})
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a network was trained for a circle of antennas, whose file is then gone."""
    root = own_folder(tmp_path_factory.mktemp("own"), antennas())
    call_verb(root, check.main)
    (root / "my own.h5").unlink()
    for verb in (simulate, normalize):
        for split in (*TRAINING_SPLITS, *VALIDATION_SPLITS):
            call_verb(root, verb.main, "--split", split)
    call_verb(root, train.main)
    return root


def test_scenes_are_those_of_the_array_of_the_file(trained: Path) -> None:
    params = read_params(trained / "params.yaml")
    assert (params.receiver.n_antennas, params.receiver.n_snapshots) == (12, 5)
    assert params.array.n_elements == 12
    for split in TRAINING_SPLITS:
        seen = read_scenes(trained / "data/scenes" / split, False).observation
        assert torch.equal(seen.array.elements, CIRCLE.elements)
        assert seen.array.wavelength == 0.1
        assert seen.snapshots.shape[1:] == (5, 12)
        torch.testing.assert_close(seen.channel, math.sqrt(12) * torch.eye(12, dtype=torch.complex64)[None])
        assert torch.equal(seen.codes, torch.ones((1, 5, 12), dtype=torch.complex64))


@pytest.mark.slow
def test_every_stage_runs_for_the_array_of_a_file(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    for split in TEST_SPLITS:
        for verb in (simulate, normalize, bound):
            call_verb(tmp_path, verb.main, "--split", split)
    for stage in (threshold, calibrate, evaluate, sweep):
        call_verb(tmp_path, stage.main)
    strata = pd.read_csv(tmp_path / "data/evaluation/strata.csv")
    assert set(strata["method"]) == {"beamformer", "learned"}
    levels = pd.read_csv(tmp_path / "data/sweep/impairments.csv")["level"]
    assert set(levels) == {0.0, 0.005}


def test_its_network_locates_the_files_of_that_array_and_of_no_other(trained: Path, tmp_path: Path) -> None:
    model = trained / "data/models/covariance.pt"
    assert max(map(len, inspect_lines(model)[0])) < 300
    risolve.write_measurements(tmp_path / "other.h5", antennas())
    found = localized(tmp_path / "other.h5", estimator="learned", n_sources=1, model=model)
    assert found.sources.scenes[:, 2].tolist() == [1, 1]
    assert np.isfinite(column(found, "azimuth_deg")).all()
    turned = Array(CIRCLE.elements.flip(1), 0.1)
    for name, array, n_snapshots, fault in (
        ("turned", turned, 5, "element_positions_m: element 0"),
        ("larger", risolve.circular(13, 0.08, 0.1), 5, "13 ... 12"),
        ("longer", Array(CIRCLE.elements, 0.11), 5, "wavelength_m ... 0.11 ... 0.1"),
        ("more", CIRCLE, 6, "snapshots ... 6 ... 5"),
    ):
        path = tmp_path / f"{name}.h5"
        risolve.write_measurements(path, antennas(array, n_snapshots))
        with pytest.raises(CheckpointError, match=shows(fault)):
            localized(path, estimator="learned", n_sources=1, model=model)


@pytest.mark.parametrize(("n_channels", "n_codes"), [(1, 3), (3, 1)])
def test_what_all_scenes_share_is_theirs_and_the_rest_is_drawn(
    tmp_path: Path, n_channels: int, n_codes: int
) -> None:
    """Channels have a mean squared entry of 1, whatever the unit of the file."""
    observation = surface(n_channels, n_codes)
    own_folder(tmp_path, observation, **{"train.flips": False})
    call_verb(tmp_path, check.main)
    call_verb(tmp_path, simulate.main, "--split", "train")
    seen = read_scenes(tmp_path / "data/scenes/train", False).observation
    assert torch.equal(seen.array.elements, scattered().elements)
    if n_channels == 1:
        expected = observation.channel / observation.channel.abs().square().mean().sqrt()
        torch.testing.assert_close(seen.channel, expected.to(torch.complex64))
    else:
        assert seen.channel.shape == (10, 6, 20)
        assert float((seen.channel[0] - seen.channel[1]).abs().max()) > 0.1
    if n_codes == 1:
        torch.testing.assert_close(seen.codes, observation.codes.to(torch.complex64))
    else:
        assert seen.codes.shape == (10, 5, 20)


def test_a_channel_that_every_scene_repeats_is_one(tmp_path: Path) -> None:
    once = surface(1, 1)
    again = replace(once, channel=once.channel.expand(3, -1, -1), codes=once.codes.expand(3, -1, -1))
    for name, observation in (("once", once), ("again", again)):
        own_folder(tmp_path / name, observation, **{"train.flips": False})
        call_verb(tmp_path / name, check.main)
    assert (tmp_path / "once" / SYSTEM).read_bytes() == (tmp_path / "again" / SYSTEM).read_bytes()


def test_other_content_of_the_file_is_another_array(tmp_path: Path) -> None:
    own_folder(tmp_path, antennas())
    call_verb(tmp_path, check.main)
    before = (tmp_path / SYSTEM).read_bytes()
    risolve.write_measurements(tmp_path / "my own.h5", antennas(risolve.circular(12, 0.07, 0.1)))
    call_verb(tmp_path, check.main)
    assert (tmp_path / SYSTEM).read_bytes() != before


def test_a_calibrated_array_is_that_of_a_file(tmp_path: Path) -> None:
    """As docs/own-system.md writes it: gains are in the channel, and places are the calibrated ones."""
    random = np.random.default_rng(3)
    truth = {"azimuth": np.linspace(-50.0, 50.0, 9), "elevation": np.linspace(20.0, -20.0, 9)}
    azimuth, elevation = np.deg2rad(truth["azimuth"]), np.deg2rad(truth["elevation"])
    places = torch.from_numpy(np.stack((azimuth, elevation, np.zeros(9)), axis=-1))[:, None]
    gains = np.exp(0.5j * random.standard_normal(12))
    received = normal(9, 20, 1) * (gains * CIRCLE.steering(places).numpy()) + 0.1 * normal(9, 20, 12)
    seen = risolve.Observation(received, CIRCLE)
    found = risolve.calibrate(seen, unknown=["gains"], truth=truth, range=np.inf, folds=0)
    risolve.write_array(tmp_path / "array.h5", found)
    risolve.write_measurements(tmp_path / "mine.h5", seen)
    measured = risolve.read_array(tmp_path / "array.h5").apply(
        risolve.read_measurements(tmp_path / "mine.h5")
    )
    own_folder(tmp_path, measured)
    call_verb(tmp_path, check.main)
    channel = read_system(tmp_path / SYSTEM).channel
    assert channel is not None
    ratio = channel[0].diagonal().numpy() / gains
    assert np.abs(ratio / ratio.mean() - 1.0).max() < 0.05
    assert float((channel[0] - torch.diag(channel[0].diagonal())).abs().max()) == 0.0


def test_a_grid_that_is_coarse_for_the_array_is_remarked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """D = 0.16 m has beams of 0.625, of which 7 points over 1.73 and 5 over 1 are 0.46 and 0.4 apart."""
    for radius, coarse in ((0.08, []), (0.4, ["grid.n_u", "grid.n_v"])):
        array = risolve.circular(12, radius, 0.1)
        own_folder(tmp_path, antennas(array), **{"sources.range_m": [1.0, 4.0]})
        call_verb(tmp_path, check.main)
        assert re.findall(r"grid\.n_[uv]", capsys.readouterr().err) == coarse


def test_without_a_file_the_array_is_the_stated_one(tmp_path: Path) -> None:
    write_params(tmp_path)
    call_verb(tmp_path, check.main)
    params, system = read_params(tmp_path / "params.yaml"), read_system(tmp_path / SYSTEM)
    assert system.array.n_elements == params.array.n_elements == 15
    assert (system.channel, system.codes) == (None, None)


def refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line with which `check` ends; it has written no array."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        call_verb(folder, lambda: run(check.main))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (folder / SYSTEM).exists()
    return line


UPRIGHT = Array(CIRCLE.elements[:, [0, 2, 1]], 0.1)
DEEP = Array(torch.cat((CIRCLE.elements, torch.tensor([[0.02, -0.01, 0.51]], dtype=torch.float64))), 0.1)


@pytest.mark.parametrize(
    ("observation", "changes", "parts"),
    [
        (lambda: antennas(risolve.linear(12, 0.05, 0.1)), {}, "params.yaml:8: array.file ... my own.h5"),
        (lambda: antennas(UPRIGHT), {}, "array.file ... my own.h5"),
        (lambda: antennas(DEEP), {"train.flips": False}, "sources.range_m ... 0.01592 m ... my own.h5"),
        (
            lambda: antennas(),
            {"sources.range_m": [0.04, 4.0]},
            "sources.range_m ... 0.05 m ... 0.04 m ... my own",
        ),
        (lambda: antennas(CIRCLE, 1), {}, "my own.h5: snapshots ... 1"),
        (
            lambda: antennas(risolve.circular(3, 0.08, 0.1)),
            {"train.flips": False},
            "sources.max_sources ... 3 elements",
        ),
        (lambda: surface(1, 1), {}, "train.flips ... my own.h5"),
        (lambda: surface(1, 3), {"codebook.kind": "dft2d"}, "codebook.kind ... dft2d"),
        (
            lambda: surface(1, 1),
            {"train.flips": False, "evaluate.estimators": ["modified_music", "learned"]},
            "evaluate.estimators: modified_music: ... my own.h5",
        ),
    ],
)
def test_an_array_that_no_network_is_for_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    observation: Callable[[], Observation],
    changes: dict[str, Any],
    parts: str,
) -> None:
    own_folder(tmp_path, observation(), **changes)
    line = refusal(tmp_path, capsys)
    assert re.search(shows(parts), line), line


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_folder(tmp_path, antennas()) / "my own.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "my own.h5" in refusal(tmp_path, capsys)
    path.unlink()
    assert "my own.h5" in refusal(tmp_path, capsys)
    path.mkdir()
    assert "my own.h5" in refusal(tmp_path, capsys)
    places = CIRCLE.elements.numpy().copy()
    places[3, 0] = np.nan
    np.savez(
        tmp_path / "my own.npz", snapshots=normal(2, 5, 12), element_positions_m=places, wavelength_m=0.1
    )
    write_params(tmp_path, {**SHORT, "array.file": "my own.npz"})
    assert "element_positions_m" in refusal(tmp_path, capsys)


def test_a_run_without_check_says_so(tmp_path: Path) -> None:
    own_folder(tmp_path, antennas())
    with pytest.raises(MeasurementError, match=shows("data/check/array.h5 ... `check`")):
        read_params(tmp_path / "params.yaml")


@pytest.mark.slow
def test_dvc_runs_again_where_the_content_of_the_file_is_another(tmp_path: Path) -> None:
    """Wherever it lies, by a path with spaces; also in an experiment in a copy."""
    path = tmp_path / "a folder/my own.h5"
    path.parent.mkdir()
    risolve.write_measurements(path, antennas())
    changes = {name: value for name, value in SHORT.items() if name != "array.file"}
    own = clone(tmp_path / "repository", changes)
    stage = "simulate@validation"
    own.succeed("dvc", "exp", "run", "--temp", "--name", "mine", "-S", f"array.file={path}", stage)
    own.write_params({**changes, "array.file": str(path)})
    assert own.reproduce(stage) == ["check"]  # the scenes are those of the experiment
    assert own.reproduce(stage) == []
    risolve.write_measurements(path, antennas(risolve.circular(12, 0.07, 0.1)))
    assert own.reproduce(stage) == ["check", stage]
    path.unlink()
    refused = own.run("dvc", "repro", stage)
    assert refused.returncode != 0
    assert "my own.h5" in refused.stdout + refused.stderr
