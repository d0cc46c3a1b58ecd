"""The verb: what it writes, what it refuses in one line, and what it leaves alone when it does."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from risolve.files.checkpoint import load_checkpoint, save_checkpoint
from risolve.files.covariances import write_covariances
from risolve.files.measurements import write_scenes
from risolve.files.model import read_network
from risolve.networks.health import TrainingDiverged
from risolve.networks.objective import PARTS
from risolve.running.entry import run
from risolve.running.progress import Progress
from stages import train as verb
from stages.normalize import normalize
from stages.params.file import read_params
from stages.params.model import TRAINING_SPLITS, VALIDATION_SPLITS, Params, Split
from stages.simulate import simulate
from tests.checkpoints import anything
from tests.messages import shows
from tests.tiny_run import call_verb, run_verb, write_params

SMALL: dict[str, Any] = {
    "network.channels": 8,
    "network.blocks": 1,
    "network.groups": 2,
    "train.device": "cpu",
    "train.epochs": 3,
    "train.batch_size": 4,
}
SCENES_PER_FILE = 5


def make_split(directory: Path, split: Split, **changes: Any) -> Params:
    """Scenes and covariances of a split, in files of five scenes; the parameters stay in the directory."""
    params = read_params(write_params(directory, {**SMALL, **changes}))
    for kind in ("scenes", "covariances"):
        (directory / "data" / kind / split).mkdir(parents=True, exist_ok=True)
    n_scenes = params.simulate.split(split).n_scenes
    for number, first in enumerate(range(0, n_scenes, SCENES_PER_FILE)):
        name = f"{split}/shard-{number:04d}.h5"
        scenes = simulate(params, split, range(first, min(first + SCENES_PER_FILE, n_scenes)))
        write_scenes(directory / "data/scenes" / name, scenes)
        write_covariances(directory / "data/covariances" / name, normalize(scenes.observation, params))
    return params


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `train` has run; tests change copies of it."""
    root = tmp_path_factory.mktemp("trained")
    for split in (*TRAINING_SPLITS, *VALIDATION_SPLITS):
        make_split(root, split)
    call_verb(root, verb.main)
    return root


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A folder of the test's own, in which `train` has run."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def results(folder: Path) -> dict[str, bytes]:
    """Everything in data/models."""
    return {path.name: path.read_bytes() for path in (folder / "data/models").iterdir()}


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    """The line with which the verb ends, with exit code 2 and the earlier results as they were."""
    write_params(folder, {**SMALL, **changes})
    before = results(folder)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        call_verb(folder, lambda: run(verb.main, TrainingDiverged))
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert [line for line in said if not line.startswith("train: ")] == said[-1:]
    assert results(folder) == before
    assert not list((folder / "data").glob("models.*"))
    return said[-1]


def test_results_of_a_training(trained: Path) -> None:
    params = read_params(trained / "params.yaml")
    assert set(results(trained)) == {"covariance.pt", "health.json", "history.csv", "metrics.json"}
    history = pd.read_csv(trained / "data/models/history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["step"].tolist() == [4, 8, 12]
    assert history["lr"].iloc[-1] == 0.0
    assert np.isfinite(history.to_numpy()).all()
    network = read_network(trained / "data/models/covariance.pt", params.of_model())
    assert sum(weights.numel() for weights in network.network.parameters()) > 0
    (path,) = (trained / "state/times/train").iterdir()
    digest = hashlib.md5((trained / "data/models/covariance.pt").read_bytes(), usedforsecurity=False)
    assert path.stem == digest.hexdigest()
    timing = pd.read_csv(path)
    assert timing[["device", "epochs"]].to_numpy().tolist() == [["cpu", 3]]
    assert 0.0 <= timing["data_wait_share"].item() <= 1.0
    assert [path.suffix for path in (trained / "state/train").iterdir()] == [".lock"]


def test_metrics_are_those_of_the_epoch_whose_weights_are_used(trained: Path) -> None:
    metrics = json.loads((trained / "data/models/metrics.json").read_text("utf-8"))
    history = pd.read_csv(trained / "data/models/history.csv")
    best = history.loc[history["validation_loss"].idxmin()]
    names = ("validation_loss", "validation_detection")
    assert metrics == {"best_epoch": best["epoch"], **{name: best[name] for name in names}}


def test_health_of_a_training(trained: Path) -> None:
    health = json.loads((trained / "data/models/health.json").read_text("utf-8"))
    assert health["warnings"] == {}
    assert set(health["gates"].values()) == {True}
    assert {"norm_law", "trace_law", "gradients_finite", "no_warnings"} <= health["gates"].keys()
    assert [epoch["epoch"] for epoch in health["epochs"]] == [1, 2, 3]
    history = pd.read_csv(trained / "data/models/history.csv")
    recorded = [epoch["loss"]["train"] for epoch in health["epochs"]]
    np.testing.assert_allclose(recorded, history["train_loss"], rtol=1e-5)
    n = read_params(trained / "params.yaml").array.n_elements
    assert n**0.5 <= health["training_split"]["r_samp_norm_independent"]["mean"] <= n
    assert health["incident"]["r_blend_norm"]["measured"] == 3.46e12


def test_warnings_of_the_training_are_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that steps before its optimizer: torch warns, the gate says so."""
    step = torch.optim.lr_scheduler.LambdaLR.__init__

    def too_early(scheduler: torch.optim.lr_scheduler.LambdaLR, *arguments: Any, **named: Any) -> None:
        step(scheduler, *arguments, **named)
        scheduler.step()

    monkeypatch.setattr(torch.optim.lr_scheduler.LambdaLR, "__init__", too_early)
    call_verb(folder, verb.main)
    health = json.loads((folder / "data/models/health.json").read_text("utf-8"))
    assert any("lr_scheduler.step()" in text for text in health["warnings"])
    assert health["gates"]["no_warnings"] is False


@pytest.mark.slow
def test_a_second_training_writes_the_same_bytes_in_another_process(folder: Path) -> None:
    before = results(folder)
    shutil.rmtree(folder / "data/models")
    ended = run_verb(folder, "train")
    assert ended.returncode == 0, ended.stderr
    assert results(folder) == before


def test_batches_without_a_source_are_trained_on(folder: Path) -> None:
    """A scene of noise alone has no covariance to learn; a batch may hold nothing else."""
    strata = {"only": {"n_sources": [0, 1], "snr_db": [0.0, 20.0], "n_scenes": 8}}
    shutil.rmtree(folder / "data")
    splits = (*VALIDATION_SPLITS, *TRAINING_SPLITS)
    changes = {f"simulate.{split}.strata": strata for split in splits} | {"train.batch_size": 1}
    params = [make_split(folder, split, **changes) for split in splits][-1]
    counts = [int(simulate(params, "train", range(i, i + 1)).n_sources[0]) for i in range(8)]
    assert set(counts) == {0, 1}
    call_verb(folder, verb.main)
    history = pd.read_csv(folder / "data/models/history.csv")
    assert np.isfinite(history.to_numpy()).all()
    health = json.loads((folder / "data/models/health.json").read_text("utf-8"))
    # What no batch measured lowers no mean: the least reading is that of a batch with a source.
    assert all(epoch["covariance"]["min"] > 0.0 for epoch in health["epochs"])


EVERY_PART: dict[str, Any] = {
    "network.head": "factor",
    "network.loops": 1,
    "train.subspace_weight": 0.2,
    "train.likelihood_weight": 0.5,
    "train.blend_beta_jitter": 0.1,
}


def test_every_part_of_the_loss_is_trained_on_what_the_files_hold(folder: Path) -> None:
    """With the likelihood also the snapshots of training and validation scenes."""
    write_params(folder, {**SMALL, **EVERY_PART})
    call_verb(folder, verb.main)
    history = pd.read_csv(folder / "data/models/history.csv")
    for part in PARTS:
        assert np.isfinite(history[[f"train_{part}", f"validation_{part}"]].to_numpy()).all()
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    trained = read_network(
        folder / "data/models/covariance.pt", read_params(folder / "params.yaml").of_model()
    )
    assert trained.network.layout.head == "factor"


def test_a_likelihood_without_noise_power_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(folder / "data/scenes/validation/shard-0000.h5", "r+") as file:
        del file["noise_power"]
    line = refusal(folder, capsys, **EVERY_PART)
    assert line.startswith("error: data/scenes/validation/shard-0000.h5: noise_power: missing")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_sources_is_refused(
    folder: Path, split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = {"only": {"n_sources": [0, 0], "snr_db": [0.0, 0.0], "n_scenes": 5}}
    make_split(folder, "test_independent", **{"simulate.test_independent.strata": silence})
    for kind in ("scenes", "covariances"):
        shutil.rmtree(folder / "data" / kind / split)
        shutil.copytree(folder / "data" / kind / "test_independent", folder / "data" / kind / split)
    line = refusal(folder, capsys)
    assert re.match(shows(f"error: data/scenes/{split}: ... sources ... 5 scenes"), line)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_missing_covariances(folder: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "data/covariances" / split)
    law = f"error: data/covariances/{split}: ... shard-*.h5; ... `normalize --split {split}`"
    assert re.match(shows(law), refusal(folder, capsys))


def test_missing_scenes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "data/scenes/validation")
    line = refusal(folder, capsys)
    assert re.match(
        shows("error: data/scenes/validation: ... shard-*.h5; ... `simulate --split validation`"), line
    )


def test_covariances_of_another_number_of_scenes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data/covariances/train/shard-0001.h5").unlink()
    line = refusal(folder, capsys)
    law = "error: data/covariances/train: ... data/scenes/train ... 10 scenes, got 5 ... `normalize`"
    assert re.match(shows(law), line)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"grid.n_u": 9}, "grid (n_w, n_v, n_u) (3, 5, 9); got (3, 5, 7)"),
        ({"normalize.map_iterations": [0, 2]}, "normalize.map_iterations (0, 2); got (0,)"),
        # As many maps as before, but of other iterations: no shape shows it.
        ({"normalize.map_iterations": [2]}, "normalize.map_iterations (2,); got (0,)"),
        ({"array.n_horizontal": 6}, "18 elements, got ... 15"),
    ],
)
def test_covariances_made_with_other_parameters(
    folder: Path, changes: dict[str, Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(folder, capsys, **changes)
    assert re.match(shows(f"error: data/covariances/train: ... {named}"), line)


def spoil(path: Path, field: str, change: Callable[[np.ndarray], object]) -> None:
    """Change a data set of an HDF5 file in place."""
    with h5py.File(path, "r+") as file:
        values = file[field][()]
        change(values)
        file[field][...] = values


def test_a_covariance_of_another_trace_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def silence(factor: np.ndarray) -> None:
        factor[2] = 0.0

    spoil(folder / "data/covariances/train/shard-0000.h5", "factor", silence)
    law = "error: data/covariances/train/shard-0000.h5: factor: ... N = 15 ... got 0 ... scene 2"
    assert re.match(shows(law), refusal(folder, capsys))


def test_a_source_without_power_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def silence(power: np.ndarray) -> None:
        power[1, 0] = 0.0

    spoil(folder / "data/scenes/train/shard-0000.h5", "truth/power", silence)
    line = refusal(folder, capsys)
    assert re.search(shows("shard-0000.h5: truth/power: positive ... got [0.0 ... scene 1"), line)


@pytest.mark.parametrize("kind", ["scenes", "covariances"])
def test_a_truncated_file(folder: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "data" / kind / "train/shard-0001.h5"
    path.write_bytes(path.read_bytes()[:3000])
    assert refusal(folder, capsys).startswith(f"error: data/{kind}/train/shard-0001.h5: truncated")


def test_maps_that_are_no_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(folder / "data/covariances/train/shard-0001.h5", "r+") as file:
        file["maps"][3, 0, 17] = np.nan
    line = refusal(folder, capsys)
    assert re.match(shows("error: data/covariances/train/shard-0001.h5: maps: ... (3, 0, "), line)


def test_a_gpu_that_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = refusal(folder, capsys, **{"train.device": "cuda"})
    assert re.match(shows("error: params.yaml: train.device: cuda ... GPU ... none"), line)


def test_a_diverging_training_ends_with_one_line_and_no_model(folder: Path) -> None:
    """From the command line: epoch, batch and scenes are named, the model of the earlier run stays."""
    write_params(folder, {**SMALL, "train.lr": 1e30})
    before = results(folder)
    ended = run_verb(folder, "train")
    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("train: ")]
    assert len(lines) == 1
    assert re.match(shows("error: logits ... epoch 1, batch 1: ... scenes ["), lines[0])
    named = json.loads(lines[0].rpartition("scenes ")[2])
    assert 1 <= len(set(named)) == len(named) <= 4
    assert set(named) <= set(range(16))
    assert ended.stdout == ""
    assert results(folder) == before


class Stopped(BaseException):
    """In the place of a kill."""


def stop_in_second_epoch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stop a training after five of its twelve batches; the state file that it leaves."""
    batches: list[int] = []

    def advance(progress: Progress, items: int = 1, note: str = "") -> None:
        batches.append(items)
        if len(batches) == 5:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", advance)
        with pytest.raises(Stopped):
            call_verb(folder, verb.main)
    (path,) = (folder / "state/train").glob("*/state.pt")
    return path


def state_parameters(path: Path) -> dict[str, Any]:
    """The parameters that a state file was made with."""
    document = torch.load(path, weights_only=True)
    assert document["content"]["epoch"] == 1
    parameters: dict[str, Any] = json.loads(document["parameters"])
    return parameters


def test_a_stopped_training_goes_on_to_the_same_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = results(folder)
    path = stop_in_second_epoch(folder, monkeypatch)
    assert results(folder) == whole
    shutil.rmtree(folder / "data/models")
    capsys.readouterr()
    call_verb(folder, verb.main)
    assert "train: 4 of 12 batches found" in capsys.readouterr().err
    assert results(folder) == whole
    assert not path.parent.exists()


def test_a_budget_or_an_evaluation_parameter_finds_the_same_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key of the work holds what its result depends on, and nothing else."""
    stop_in_second_epoch(folder, monkeypatch)
    write_params(
        folder, {**SMALL, "simulate.workers": 3, "evaluate.workers": 3, "evaluate.found_tolerance_deg": 1.0}
    )
    capsys.readouterr()
    call_verb(folder, verb.main)
    assert "found finished" in capsys.readouterr().err


def test_a_damaged_state_file_is_named_and_once_removed_costs_the_epoch_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = results(folder)
    path = stop_in_second_epoch(folder, monkeypatch)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    line = refusal(folder, capsys)
    assert re.match(shows(f"error: {path.relative_to(folder)}: ... damaged ... remove"), line)
    path.unlink()
    call_verb(folder, verb.main)
    assert results(folder) == whole


ODD_STATES: dict[str, Callable[[Any], Any]] = {
    "epoch": lambda held: "1",
    "network": lambda held: {name: weight.double() for name, weight in held.items()},
    "average": lambda held: {name: weight[:1] if weight.ndim else weight for name, weight in held.items()},
    "best": lambda held: {**held, "network": {}},
    "optimizer": lambda held: {**held, "state": {**held["state"], 0: {"step": torch.ones(10**3)}}},
    "scheduler": lambda held: {**held, "base_lrs": ["fast"]},
    "history": lambda held: [*held, *held],
    "readings": lambda held: [{"epoch": 1, "loss": {"mean": 1.0}}],
    "warnings": lambda held: 3,
    "seconds": lambda held: None,
    "more": lambda held: torch.zeros(10),
}


def test_a_state_that_no_training_left_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stop_in_second_epoch(folder, monkeypatch)
    parameters = state_parameters(path)
    state = load_checkpoint(path, parameters, anything)
    for part, change in ODD_STATES.items():
        save_checkpoint(path, {**state, part: change(state.get(part))}, parameters)
        assert f"state.pt: {part if part != 'best' else 'network'}: " in refusal(folder, capsys)
        save_checkpoint(path, {name: held for name, held in state.items() if name != part}, parameters)
        assert part == "more" or f"state.pt: {part}: missing" in refusal(folder, capsys)
    save_checkpoint(path, state, parameters)
    call_verb(folder, verb.main)
    assert not path.exists()


def test_the_last_good_state_outlives_a_divergence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that are no numbers, put in the state of epoch 1, stop the first batch of epoch 2."""
    path = stop_in_second_epoch(folder, monkeypatch)
    parameters = state_parameters(path)
    state = load_checkpoint(path, parameters, anything)
    next(iter(state["network"].values())).fill_(torch.nan)
    save_checkpoint(path, state, parameters)
    kept = path.read_bytes()
    line = refusal(folder, capsys)
    assert re.match(shows("error: logits ... epoch 2, batch 0: ... scenes ["), line)
    assert path.read_bytes() == kept


def test_an_output_that_cannot_be_written_keeps_the_finished_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file lies where the lock of the result would be: the training itself is not lost."""
    whole = results(folder)
    obstacle = folder / "state/publish"
    shutil.rmtree(obstacle)
    obstacle.write_text("in the way", "utf-8")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        call_verb(folder, lambda: run(verb.main, TrainingDiverged))
    assert ended.value.code == 2
    assert "error: data/models: " in capsys.readouterr().err
    assert results(folder) == whole
    obstacle.unlink()
    shutil.rmtree(folder / "data/models")
    call_verb(folder, verb.main)
    assert "train: 12 of 12 batches found" in capsys.readouterr().err
    assert results(folder) == whole
