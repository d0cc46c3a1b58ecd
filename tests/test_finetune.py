"""`risolve finetune`: R_pred tuned on measurements without truth, and all else as it was."""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from risolve import cli
from risolve.errors import CheckpointError, MeasurementError
from risolve.files import hdf5
from risolve.files.checkpoint import read_checkpoint, save_checkpoint
from risolve.files.measurement_stream import measurement_stream
from risolve.files.model import read_model, read_network
from risolve.finetune import TunedModel, finetune_files, unlabelled
from risolve.inference.noise import estimated_noise_power
from risolve.networks.counting import OF_NETWORK, CountRule
from risolve.networks.trained import Calibration
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import Scenes
from risolve.running.target import parts_directory
from risolve.tune import TuningOptions, checked, tuning_key
from stages.normalize import normalize
from stages.params.file import read_params
from tests.checkpoints import anything, write_untrained
from tests.measurement_files import at, attribute, changed, with_values, write_user_file
from tests.messages import shows
from tests.test_cli import risolve
from tests.tiny_run import environment, write_params
from tests.worlds import FIELD_OF_VIEW, WIDE, make_scenes

RULE = CountRule(0.125, 0.5, (0.75, 0.0, 2.0, 1.0, 0.5), (0.5, 0.0, 3.0, -0.25, 0.5), 90.0)
CALIBRATION = Calibration(RULE, OF_NETWORK, 0.25)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Initial weights for a 5 x 3 surface, 4 antennas and 7 snapshots, with a count rule of their own."""
    params = read_params(write_params(tmp_path / "run"))
    write_untrained(tmp_path / "learned.pt", CALIBRATION, params)
    return tmp_path / "learned.pt"


def scenes_of(n_scenes: int, source_model: SourceModel = "independent", **changes: Any) -> Scenes:
    system = replace(WIDE, n_horizontal=5, n_vertical=3, n_antennas=4, n_snapshots=7)
    return make_scenes(
        replace(system, **changes), 1, 15.0, n_scenes, source_model, distribution=FIELD_OF_VIEW
    )


def options_of(model: Path, **changes: Any) -> TuningOptions:
    return replace(TuningOptions(model, epochs=2, lr=3e-3, held_back=0.2, seed=1), **changes)


def silent(line: str) -> None:
    pass


def tuned(
    *files: Path, options: TuningOptions, work: Path, remark: Callable[[str], None] = silent
) -> TunedModel:
    return finetune_files(files, options, checked(files, options), remark, work)


def test_the_covariance_is_tuned_and_all_else_stays_bit_for_bit(tmp_path: Path, original: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(120))
    status, out, err = risolve(
        "finetune", path, "--model", original, "--out", tmp_path / "tuned.pt", "--epochs", "2", "--lr", "3e-3"
    )
    assert status == 0
    before, after = read_model(original), read_model(tmp_path / "tuned.pt")
    assert before.tunings == ()
    (tuning,) = after.tunings
    assert (tuning.files, tuning.n_scenes, tuning.n_held_back) == (("user.h5",), 120, 24)
    assert tuning.best_epoch in (1, 2)
    assert tuning.loss_after < tuning.loss_before
    assert out == (
        f"120 scenes, 24 of them held back: likelihood loss {tuning.loss_before:.5f}, then "
        f"{tuning.loss_after:.5f} in epoch {tuning.best_epoch} of 2: {tmp_path / 'tuned.pt'}\n"
    )
    for line in (
        f"before: likelihood loss of 24 scenes held back {tuning.loss_before:.5f}",
        f"epoch {tuning.best_epoch} of 2: likelihood loss held back {tuning.loss_after:.5f}",
    ):
        assert line in err.splitlines()
    assert "finetune: 6 of 6 batches" in err
    assert after.trained.calibration == CALIBRATION
    for name, value in before.trained.network.state_dict().items():
        assert torch.equal(after.trained.network.state_dict()[name], value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["learned.pt", "run", "tuned.pt", "user.h5"]

    observation = scenes_of(8).observation
    params = read_params(tmp_path / "run/params.yaml")
    maps = normalize(observation, params).maps
    first, second = (
        model.trained.predict(maps.values, maps.estimated_snr, observation) for model in (before, after)
    )
    for name in ("occupancy", "places", "count_log_probabilities", "estimated_snr"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert float((first.covariance.dense() - second.covariance.dense()).abs().max()) > 0.01
    as_of_params = read_network(tmp_path / "tuned.pt", params.of_model())
    found = as_of_params.predict(maps.values, maps.estimated_snr, observation)
    assert torch.equal(found.covariance.dense(), second.covariance.dense())


def test_a_tuned_network_is_explained_located_with_and_tuned_again(tmp_path: Path, original: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(100))
    arguments = ("--epochs", "1", "--lr", "3e-3")
    for model, out in ((original, tmp_path / "once.pt"), (tmp_path / "once.pt", tmp_path / "twice.pt")):
        assert risolve("finetune", path, "--model", model, "--out", out, *arguments)[0] == 0
    first, second = read_model(tmp_path / "twice.pt").tunings
    assert second.loss_before == pytest.approx(first.loss_after, rel=1e-6)
    status, out, _ = risolve("inspect", tmp_path / "twice.pt")
    assert status == 0
    notes = [
        line for line in out.splitlines() if line.startswith("R_pred tuned on 100 scenes of user.h5, 20")
    ]
    assert len(notes) == 2
    few = write_user_file(tmp_path / "few.h5", scenes_of(2))
    model = ("--model", tmp_path / "twice.pt", "--sources", "1")
    for estimator in ("learned", "music_blend"):
        assert risolve("localize", few, "--estimator", estimator, *model)[0] == 0


def test_weights_that_do_not_improve_are_not_taken(tmp_path: Path, original: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(100))
    arguments = ("--model", original, "--out", tmp_path / "tuned.pt", "--epochs", "1", "--lr", "30")
    status, out, _ = risolve("finetune", path, *arguments)
    assert status == 0
    assert "no epoch lowers the likelihood loss of" in out
    after = read_model(tmp_path / "tuned.pt")
    assert after.trained.of_covariance is None
    (tuning,) = after.tunings
    assert (tuning.best_epoch, tuning.loss_after) == (0, tuning.loss_before)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
@pytest.mark.parametrize("noise_power", [True, False])
def test_what_is_learned_from_is_what_the_pipeline_would_make(
    tmp_path: Path, original: Path, source_model: SourceModel, noise_power: bool
) -> None:
    """Maps and factors of `normalize`, and no truth; on another scale of the snapshots the same."""
    params = read_params(tmp_path / "run/params.yaml")
    path = write_user_file(
        tmp_path / "user.h5", scenes_of(3, source_model), truth=False, noise_power=noise_power
    )
    with measurement_stream(path, None) as stream:
        observation = stream.chunk(0, 3).observation
    assert observation is not None
    expected = normalize(observation, params)
    found = unlabelled(observation, read_model(original))
    assert torch.equal(found.maps, expected.maps.values)
    assert torch.equal(found.estimated_snr, expected.maps.estimated_snr)
    assert torch.equal(found.factor, expected.factor)
    assert found.n_sources.tolist() == [-1, -1, -1]
    received = found.observation
    assert received is not None and received.noise_power is not None
    known = observation.noise_power
    sigma = (estimated_noise_power(observation) if known is None else known).double()
    power = observation.snapshots.abs().double().square().mean((1, 2))
    torch.testing.assert_close(received.noise_power, sigma / power)
    weak = replace(
        observation,
        snapshots=observation.snapshots * 1e-25,
        noise_power=None if known is None else known * 1e-50,
    )
    scaled = unlabelled(weak, read_model(original)).observation
    assert scaled is not None
    torch.testing.assert_close(scaled.snapshots, received.snapshots, rtol=1e-4, atol=1e-5)


def test_files_of_both_source_models_and_shards_are_tuned_on_together(tmp_path: Path, original: Path) -> None:
    (tmp_path / "split").mkdir()
    for number in range(2):
        write_user_file(tmp_path / "split" / hdf5.shard_name(number), scenes_of(30))
    path = write_user_file(tmp_path / "constant.h5", scenes_of(40, "constant"), noise_power=False)
    work = tmp_path / "work"
    found = tuned(tmp_path / "split", path, options=options_of(original, epochs=1), work=work)
    tuning = found.model.tunings[-1]
    assert (found.n_left_out, tuning.n_scenes, tuning.files) == (0, 100, ("split", "constant.h5"))


def test_bad_scenes_are_left_out_and_the_status_says_so(tmp_path: Path, original: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(103))
    changed(path, at("snapshots", 1, 0.0), at("snapshots", 70, np.nan))
    arguments = ("--model", original, "--out", tmp_path / "tuned.pt", "--epochs", "1")
    status, out, err = risolve("finetune", path, *arguments)
    assert status == cli.LEFT_OUT
    assert out.startswith("101 scenes, 20 of them held back")
    assert f"{path}: scene 1 is left out: snapshots: all zero" in err.splitlines()
    assert f"{path}: scene 70 is left out: snapshots: 28 of 28 numbers are not finite" in err.splitlines()


@pytest.mark.parametrize(
    ("n_scenes", "changes", "message"),
    [
        (99, {}, "100 scenes ... got 99"),
        (100, {"epochs": 0}, "--epochs: 1 ... got 0"),
        (100, {"lr": 0.0}, "--lr: ... got 0"),
        (100, {"lr": math.inf}, "--lr: ... got inf"),
        (100, {"held_back": 0.6}, "--held-back: ... 0.05 to 0.5, got 0.6"),
        (100, {"held_back": math.nan}, "--held-back: ... 0.05 to 0.5, got nan"),
        (100, {"seed": -1}, "--seed: 0 ... got -1"),
    ],
)
def test_impossible_wishes_and_too_few_scenes_are_refused(
    tmp_path: Path, original: Path, n_scenes: int, changes: dict[str, Any], message: str
) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(n_scenes))
    with pytest.raises(MeasurementError, match=shows(message)):
        checked([path], options_of(original, **changes))


def test_too_few_scenes_that_can_be_used_are_refused(tmp_path: Path, original: Path) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", scenes_of(100)), at("snapshots", 3, np.inf))
    with pytest.raises(MeasurementError, match=shows("user.h5: ... 100 scenes ... got 99")):
        tuned(path, options=options_of(original), work=tmp_path / "work")


@pytest.mark.parametrize(("name", "value"), [("noise", "antennas"), ("gains", "equal")])
def test_what_a_network_does_not_know_is_refused(
    tmp_path: Path, original: Path, name: str, value: str
) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", scenes_of(100)), attribute(name, value))
    with pytest.raises(MeasurementError, match=shows(f"user.h5: ... {name} = {value}")):
        checked([path], options_of(original))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"wavelength": 0.31}, "wavelength_m ... 0.31 ... 0.3"),
        ({"n_horizontal": 6}, "elements ... 18 ... 15 (5 x 3, 0.15 m"),
        ({"n_antennas": 5}, "antennas ... 5 ... 4"),
        ({"n_snapshots": 9}, "snapshots ... 9 ... 7"),
    ],
)
def test_measurements_of_another_system_are_refused(
    tmp_path: Path, original: Path, changes: dict[str, Any], difference: str
) -> None:
    own = write_user_file(tmp_path / "own.h5", scenes_of(100))
    path = write_user_file(tmp_path / "user.h5", scenes_of(2, **changes))
    with pytest.raises(CheckpointError, match=shows(f"{path}, {difference}")):
        checked([own, path], options_of(original))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "tuned.h5"], "error: tuned.h5: ... .pt, got .h5"),
        (["--out", "learned.pt"], "error: learned.pt: ... measurements"),
        (["--out", "tuned.pt", "--model", "gone.pt"], "error: gone.pt: "),
        (["--out", "tuned.pt", "--epochs", "0"], "error: --epochs: 1 ... got 0"),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing(
    tmp_path: Path, original: Path, arguments: list[str], message: str
) -> None:
    write_user_file(tmp_path / "user.h5", scenes_of(100))
    with contextlib.chdir(tmp_path):
        status, out, err = risolve("finetune", "user.h5", "--model", "learned.pt", *arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.match(shows(message), err)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["learned.pt", "run", "user.h5"]


def test_weights_that_blow_up_are_one_line_and_no_file(tmp_path: Path, original: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(100))
    arguments = ("--model", original, "--out", tmp_path / "tuned.pt", "--lr", "1e30")
    status, out, err = risolve("finetune", path, *arguments)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "tuned.pt").exists()


def test_a_stopped_tuning_goes_on_and_ends_as_the_uninterrupted_one(tmp_path: Path, original: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(100))
    options = options_of(original)
    whole = tuned(path, options=options, work=tmp_path / "whole").model

    def stop(line: str) -> None:
        if line.startswith("epoch 1 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(path, options=options, work=tmp_path / "work", remark=stop)
    remarks: list[str] = []
    resumed = tuned(path, options=options, work=tmp_path / "work", remark=remarks.append).model
    assert not any(line.startswith("epoch 1 ") for line in remarks)
    assert resumed.tunings == whole.tunings
    assert resumed.trained.of_covariance is not None and whole.trained.of_covariance is not None
    for name, value in whole.trained.of_covariance.state_dict().items():
        assert torch.equal(resumed.trained.of_covariance.state_dict()[name], value)


def test_other_files_options_and_networks_are_another_piece_of_work(tmp_path: Path, original: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", scenes_of(2))
    options = options_of(original)
    first = tuning_key([path], options)
    assert tuning_key([path], options) == first
    keys = {first, tuning_key([path, path], options), tuning_key([path], replace(options, lr=1e-3))}
    changed(path, with_values("snapshots", lambda v: 2.0 * v))
    keys.add(tuning_key([path], options))
    content = read_checkpoint(original, anything)
    save_checkpoint(original, {**content.content, "tunings": []}, content.parameters)
    keys.add(tuning_key([path], options))
    assert len(keys) == 5


def test_a_damaged_note_is_named(tmp_path: Path, original: Path) -> None:
    content = read_checkpoint(original, anything)
    save_checkpoint(original, {**content.content, "tunings": [{"files": ["a"]}]}, content.parameters)
    with pytest.raises(CheckpointError, match=r"learned\.pt: tunings: "):
        read_model(original)


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path: Path, original: Path) -> None:
    """kill -9 after the first epoch; the second call says what it found and leaves the result alone."""
    path, out = write_user_file(tmp_path / "user.h5", scenes_of(300)), tmp_path / "tuned.pt"
    command = [sys.executable, "-m", "risolve.cli", "finetune", path, "--model", original, "--out", out]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        while not list(parts_directory(out).glob("*/state.pt")):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=True)
    assert "of 32 batches found" in done.stderr
    assert done.stdout.startswith("300 scenes, 60 of them held back")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["learned.pt", "run", "tuned.pt", "user.h5"]
