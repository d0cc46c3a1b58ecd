"""Simulated scenes: the same to the bit, all different, resumable, with the statistics asked for."""

import hashlib
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from risolve import seeds
from risolve.errors import ParameterError, StateError
from risolve.files.measurements import read_scenes
from risolve.physics.scenario import Scenes, draw_installation, draw_scene
from stages.params import objects
from stages.params.file import read_params
from stages.params.model import SPLITS, Params, Split
from stages.running.state import work_directory
from stages.simulate import main, simulate
from tests import tolerances
from tests.messages import shows
from tests.tiny_run import call_verb, environment, run_verb, write_params
from tests.worlds import signal_of


def params(directory: Path, changes: Mapping[str, Any] | None = None) -> Params:
    return read_params(write_params(directory, changes))


def one_stratum(split: str, n_sources: int, snr_db: float, n_scenes: int) -> dict[str, Any]:
    return {
        f"simulate.{split}.strata": {
            "only": {"n_sources": [n_sources] * 2, "snr_db": [snr_db] * 2, "n_scenes": n_scenes}
        }
    }


def digests(directory: Path) -> dict[str, str]:
    """Relative path -> digest of every file under a directory."""
    return {
        path.relative_to(directory).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*.h5"))
    }


@pytest.fixture(scope="module")
def split_scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[Split, Scenes]:
    found = params(tmp_path_factory.mktemp("params"))
    return {split: simulate(found, split, range(found.simulate.split(split).n_scenes)) for split in SPLITS}


def test_no_two_scenes_of_any_splits_coincide(split_scenes: dict[Split, Scenes]) -> None:
    def bytes_of(tensor: torch.Tensor) -> bytes:
        return tensor.contiguous().numpy().tobytes()

    rows = [(scenes, i) for scenes in split_scenes.values() for i in range(scenes.observation.n_scenes)]
    assert len(rows) == 10 + 6 + 5 + 3 + 9 + 6
    for field in ("snapshots", "channel", "codes"):
        assert len({bytes_of(getattr(s.observation, field)[i]) for s, i in rows}) == len(rows), field
    occupied = [(scenes, i) for scenes, i in rows if scenes.n_sources[i] > 0]
    assert len({bytes_of(s.sources[i]) for s, i in occupied}) == len(occupied)
    places = torch.cat([s.sources[i, : s.n_sources[i]] for s, i in occupied])
    assert len(torch.unique(places[:, 0])) == len(places)


def test_a_scene_does_not_depend_on_its_company(tmp_path: Path) -> None:
    found = params(tmp_path)
    together, apart = simulate(found, "train", range(10)), simulate(found, "train", range(6, 8))
    assert torch.equal(together.sources[6:8].nan_to_num(), apart.sources.nan_to_num())
    assert torch.equal(together.power[6:8].nan_to_num(), apart.power.nan_to_num())
    assert torch.equal(together.observation.codes[6:8], apart.observation.codes)
    torch.testing.assert_close(
        together.observation.snapshots[6:8], apart.observation.snapshots, rtol=tolerances.SINGLE, atol=1e-6
    )


def test_another_seed_is_another_data_set(tmp_path: Path, split_scenes: dict[Split, Scenes]) -> None:
    other = simulate(params(tmp_path, {"simulate.seed": 5}), "train", range(10))
    assert not torch.isclose(other.observation.snapshots, split_scenes["train"].observation.snapshots).any()


def test_strata_hold_their_counts_and_snr(split_scenes: dict[Split, Scenes]) -> None:
    test = split_scenes["test_independent"]
    assert test.n_sources.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert test.snr_db.tolist() == [0.0] * 3 + [10.0] * 3 + [0.0] * 3
    train = split_scenes["train"]
    assert set(train.n_sources.tolist()) <= {0, 1, 2, 3}
    assert ((train.snr_db >= -5.0) & (train.snr_db <= 20.0)).all()


def test_counts_and_snr_are_uniform(tmp_path: Path) -> None:
    """K takes each of 4 values with probability 1/4; the SNR has mean 7.5 and deviation 25 / sqrt(12) dB."""
    n = 600
    strata = {"only": {"n_sources": [0, 3], "snr_db": [-5.0, 20.0], "n_scenes": n}}
    scenes = simulate(params(tmp_path, {"simulate.train.strata": strata}), "train", range(n))
    for k in range(4):
        share = float((scenes.n_sources == k).double().mean())
        assert abs(share - 1 / 4) < tolerances.SIGMAS * math.sqrt(3 / 16 / n)
    assert abs(float(scenes.snr_db.mean()) - 7.5) < tolerances.SIGMAS * 25.0 / math.sqrt(12 * n)
    assert abs(float(torch.corrcoef(torch.stack((scenes.n_sources.double(), scenes.snr_db)))[0, 1])) < (
        tolerances.SIGMAS / math.sqrt(n)
    )


@pytest.mark.parametrize("split", ["test_independent", "test_constant"])
@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_snr_is_a_power_ratio(tmp_path: Path, split: Split, snr_db: float) -> None:
    """mean |B A s|^2 / sigma^2 is the SNR; the noise y - B A s has mean |n|^2 = sigma^2 (1 + z / sqrt(n))."""
    n = 60
    scenes = simulate(params(tmp_path, one_stratum(split, 2, snr_db, n)), split, range(n))
    signal_power = signal_of(scenes).abs().square().mean((1, 2))
    assert scenes.observation.noise_power is not None
    ratio_db = 10.0 * torch.log10(signal_power / scenes.observation.noise_power)
    torch.testing.assert_close(ratio_db, torch.full_like(ratio_db, snr_db), rtol=0.0, atol=1e-4)
    noise = scenes.observation.snapshots - signal_of(scenes)
    share = float((noise.abs().square().mean((1, 2)) / scenes.observation.noise_power).mean())
    assert abs(share - 1.0) < tolerances.SIGMAS / math.sqrt(n * noise[0].numel())


def test_scenes_without_sources_are_noise_of_power_one(tmp_path: Path) -> None:
    n = 100
    scenes = simulate(
        params(tmp_path, one_stratum("test_independent", 0, 0.0, n)), "test_independent", range(n)
    )
    assert (scenes.observation.noise_power == 1.0).all()
    assert scenes.sources.isnan().all()
    assert scenes.power.isnan().all()
    power = float(scenes.observation.snapshots.abs().square().mean())
    assert abs(power - 1.0) < tolerances.SIGMAS / math.sqrt(scenes.observation.snapshots.numel())


def test_powers_follow_spread_and_path_loss(tmp_path: Path) -> None:
    n = 200
    stratum = one_stratum("test_independent", 3, 10.0, n)
    equal = simulate(params(tmp_path, stratum), "test_independent", range(n))
    assert (equal.power == 1.0).all()
    spread = simulate(
        params(tmp_path, {**stratum, "sources.power_spread_db": 6.0}), "test_independent", range(n)
    )
    power_db = 10.0 * torch.log10(spread.power)
    assert float(power_db.abs().max()) <= 3.0
    assert abs(float(power_db.mean())) < tolerances.SIGMAS * 6.0 / math.sqrt(12 * 3 * n)
    lossy = simulate(params(tmp_path, {**stratum, "sources.path_loss": True}), "test_independent", range(n))
    expected = (0.3 * lossy.sources[..., 2] / (4.0 * math.pi)).square()
    torch.testing.assert_close(lossy.power, expected, rtol=tolerances.DOUBLE, atol=0.0)
    # |s|^2 of a Gaussian source is exponential: mean p, deviation p
    ratio = float((lossy.amplitudes.abs().square() / lossy.power[:, None, :]).mean())
    assert abs(ratio - 1.0) < tolerances.SIGMAS / math.sqrt(n * 7 * 3)


def test_constant_sources_repeat_one_amplitude(split_scenes: dict[Split, Scenes]) -> None:
    amplitudes = split_scenes["test_constant"].amplitudes[2:, :, :2]
    assert torch.equal(amplitudes, amplitudes[:, :1].expand_as(amplitudes))
    torch.testing.assert_close(amplitudes.abs(), torch.ones(4, 7, 2), rtol=1e-6, atol=0.0)


IMPAIRMENTS: dict[str, float] = {
    "position_jitter_m": 0.01,
    "phase_error_deg": 10.0,
    "gain_jitter_db": 1.0,
    "dead_fraction": 0.3,
    "channel_error": 0.1,
    "amplitude_minimum": 0.5,
    "background": 1.0,
    "noise_spread_db": 20.0,
}


@pytest.mark.parametrize("impairment", IMPAIRMENTS)
def test_impairment_changes_the_snapshots_and_not_the_known_system(tmp_path: Path, impairment: str) -> None:
    ideal = simulate(params(tmp_path), "test_independent", range(3, 9))
    changed = {f"impairments.{impairment}": IMPAIRMENTS[impairment]}
    impaired = simulate(params(tmp_path, changed), "test_independent", range(3, 9))
    assert not torch.isclose(impaired.observation.snapshots, ideal.observation.snapshots, rtol=1e-3).any()
    for name in ("channel", "codes", "array.elements"):
        value = attrgetter(name)
        assert torch.equal(value(impaired.observation), value(ideal.observation)), name
    assert torch.equal(impaired.sources.nan_to_num(), ideal.sources.nan_to_num())


def test_installation_and_structured_codes_are_stored_once(tmp_path: Path) -> None:
    write_params(tmp_path, {"channel.per_scene": False, "codebook.kind": "hadamard"})
    for split in ("train", "validation"):
        call_verb(tmp_path, main, "--split", split)
    train, validation = (
        read_scenes(tmp_path / "data/scenes" / s, False).observation for s in ("train", "validation")
    )
    assert train.channel.shape == (1, 4, 15)
    assert train.codes.shape == (1, 7, 15)
    assert torch.equal(train.channel, validation.channel)


@pytest.mark.slow
def test_files_are_the_same_for_any_number_of_workers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """24 shards: every one of up to 3 processes has the 8 that make it worth its start, in any order."""
    found = []
    for workers in (1, 2, 3):
        directory = tmp_path / str(workers)
        changes = {"simulate.scenes_per_shard": 2, "simulate.workers": workers}
        write_params(directory, {**one_stratum("train", 2, 10.0, 48), **changes})
        call_verb(directory, main, "--split", "train")
        assert "simulate train: 24 of 24 shards in" in capfd.readouterr().err
        found.append(digests(directory / "data"))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(set(found[0].values())) == 24


@pytest.mark.slow
def test_killed_run_takes_its_workers_along_and_resumes(tmp_path: Path) -> None:
    """kill -9 in the middle: the workers end too, the next run makes the rest, the bytes are the same."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    many = {**one_stratum("train", 2, 10.0, 800), "simulate.scenes_per_shard": 2}
    write_params(whole, {**many, "simulate.workers": 1})
    write_params(killed, {**many, "simulate.workers": 2})
    call_verb(whole, main, "--split", "train")
    command = [sys.executable, "-m", "stages.simulate", "--split", "train"]
    process = subprocess.Popen(command, cwd=killed, env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100.0
    while not (early := list(killed.glob("state/simulate-train/*/shard-0003.h5"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(0.5)
    finished = {path.name: path.stat().st_mtime_ns for path in early[0].parent.glob("shard-*.h5")}
    time.sleep(0.5)
    assert len(list(early[0].parent.glob("shard-*.h5"))) == len(finished) < 400
    assert not (killed / "data").exists()
    resumed = run_verb(killed, "simulate", "--split", "train")
    assert resumed.returncode == 0, resumed.stderr
    assert f"simulate train: {len(finished)} of 400 shards found" in resumed.stderr
    published = killed / "data/scenes/train"
    assert {name: (published / name).stat().st_mtime_ns for name in finished} == finished
    assert digests(killed / "data") == digests(whole / "data")
    assert not list(published.glob("*.part"))


DEPARTURES = {
    "position_jitter_m": 0.01,
    "phase_error_deg": 5.0,
    "gain_jitter_db": 1.0,
    "dead_fraction": 0.2,
    "channel_error": 0.1,
}
UP_TO_TWO = {"only": {"n_sources": [1, 2], "snr_db": [0.0, 0.0], "n_scenes": 6}}
LINE_OF_SIGHT = {
    "channel.k_factor": [1e14, 1e14],
    "receiver.n_snapshots": 2,
    **{f"simulate.{split}.strata": UP_TO_TWO for split in SPLITS},
}
"""No scattering, two snapshots, and no more sources than those determine."""


def test_a_scene_whose_sources_are_not_received_is_refused(tmp_path: Path) -> None:
    """All of 3 x 5 elements die in a share 0.95^15 = .46 of the scenes."""
    dead = params(tmp_path, {"impairments.dead_fraction": 0.95})
    with pytest.raises(ParameterError, match=r"dead_fraction: .*> 0; .*scenes \[.*\] of train"):
        simulate(dead, "train", range(10))


def test_an_installation_keeps_its_departures(tmp_path: Path) -> None:
    """One surface: the same dead elements, places and calibration errors in every scene."""
    levels = {f"impairments.{name}": level for name, level in DEPARTURES.items()}
    fixed = params(tmp_path, {"channel.per_scene": False, **levels})
    system, distribution = objects.system(fixed), objects.source_distribution(fixed)
    impaired = objects.impairment_levels(fixed)
    installation = draw_installation(seeds.generator(1, "installation"), system, impaired)
    what = (distribution, "independent", 1, 10.0, impaired)
    drawn = [
        draw_scene(seeds.generator(1, "train", n), system, place, *what)
        for n in range(2)
        for place in (installation, None)
    ]
    assert drawn[0].impairment is drawn[2].impairment is installation.impairment
    assert drawn[1].impairment is not None and drawn[3].impairment is not None
    assert not np.array_equal(drawn[1].impairment.response, drawn[3].impairment.response)


def test_stacked_sensing_matrix_of_low_rank_is_refused(tmp_path: Path) -> None:
    """A channel without scattering has rank one; two snapshots then tell two sources apart and not three."""
    low = params(tmp_path, LINE_OF_SIGHT)
    with pytest.raises(
        ParameterError, match=shows("sources.max_sources: ... rank 2 < 3 ... scene 4 of train")
    ):
        simulate(low, "train", range(4, 6))
    write_params(tmp_path, {**LINE_OF_SIGHT, "sources.max_sources": 2})
    assert simulate(read_params(tmp_path / "params.yaml"), "train", range(2)).observation.n_scenes == 2


def test_bad_input_is_one_line_and_leaves_earlier_results(tmp_path: Path) -> None:
    path = write_params(tmp_path)
    call_verb(tmp_path, main, "--split", "validation")
    earlier = digests(tmp_path / "data")
    assert len(earlier) == 2
    write_params(tmp_path, LINE_OF_SIGHT)
    with pytest.raises(
        ParameterError, match=shows("sources.max_sources: ... got rank 2 < 3 ... scene 0 of validation")
    ):
        call_verb(tmp_path, main, "--split", "validation")
    path.unlink()
    refused = run_verb(tmp_path, "simulate", "--split", "validation")
    assert refused.returncode == 2
    assert re.fullmatch(r"error: params\.yaml: .*\n", refused.stderr)
    assert digests(tmp_path / "data") == earlier


def test_second_run_of_the_same_work_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path)
    call_verb(tmp_path, main, "--split", "train")
    (lock,) = (tmp_path / "state/simulate-train").glob("*.lock")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with (
        work_directory("simulate-train", lock.stem),
        pytest.raises(StateError, match=shows(f"process {os.getpid()} ")),
    ):
        call_verb(tmp_path, main, "--split", "train")


def test_workers_do_not_change_the_name_of_the_work(tmp_path: Path) -> None:
    for workers in (1, 3):
        write_params(tmp_path, {"simulate.workers": workers})
        call_verb(tmp_path, main, "--split", "validation")
    write_params(tmp_path, {"simulate.seed": 3})
    call_verb(tmp_path, main, "--split", "validation")
    assert len(list((tmp_path / "state/simulate-validation").glob("*.lock"))) == 2
