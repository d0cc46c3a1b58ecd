"""The verb: the network with the rules by which it counts and the weight of its blend; resumable, the same
for any number of workers.
"""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from risolve.covariance import sample_covariance
from risolve.errors import CheckpointError, MeasurementError
from risolve.files.checkpoint import load_checkpoint, save_checkpoint
from risolve.files.covariances import read_covariances, write_covariances
from risolve.files.evidence import Known, read_evidence, write_evidence
from risolve.files.measurements import read_scenes, write_scenes
from risolve.files.model import read_model, read_network
from risolve.networks.counting import Evidence
from risolve.networks.trained import uncalibrated
from stages import calibrate
from stages.normalize import normalize
from stages.params.file import read_params
from stages.params.model import VALIDATION_SPLITS, Params
from stages.simulate import simulate
from tests.checkpoints import anything, write_untrained
from tests.messages import shows
from tests.tiny_run import call_verb, run_verb, write_params

MODEL, RESULT = Path("data/models/covariance.pt"), Path("data/calibration/learned.pt")
BLEND = Path("data/calibration/blend.csv")
UNTRAINED = uncalibrated(0.3)
FEW = {"evaluate.batch_size": 2, "evaluate.workers": 1}


def make_inputs(directory: Path) -> Params:
    """Everything that `calibrate` reads, of a tiny run with a network that was not trained."""
    params = read_params(write_params(directory, FEW))
    for split in VALIDATION_SPLITS:
        scenes = simulate(params, split, range(params.simulate.split(split).n_scenes))
        for kind in ("scenes", "covariances"):
            (directory / "data" / kind / split).mkdir(parents=True)
        write_scenes(directory / "data/scenes" / split / "shard-0000.h5", scenes)
        covariances = normalize(scenes.observation, params)
        write_covariances(directory / "data/covariances" / split / "shard-0000.h5", covariances)
    (directory / "data/models").mkdir()
    write_untrained(directory / MODEL, UNTRAINED, params)
    return params


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy in which `calibrate` has run; tests change copies of it."""
    root = tmp_path_factory.mktemp("calibrated")
    make_inputs(root)
    call_verb(root, calibrate.main)
    return root


@pytest.fixture
def copy(calibrated: Path, tmp_path: Path) -> Path:
    """A working copy of the test's own, in which `calibrate` has run."""
    shutil.copytree(calibrated, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_the_result_is_the_network_with_another_calibration(calibrated: Path) -> None:
    params = read_params(calibrated / "params.yaml")
    before, after = (
        read_network(calibrated / MODEL, params.of_model()),
        read_network(calibrated / RESULT, params.of_model()),
    )
    assert before.calibration == UNTRAINED
    rules = {UNTRAINED.noise_known, after.calibration.noise_known, after.calibration.noise_unknown}
    assert len(rules) == 3
    held, weights = after.network.state_dict(), before.network.state_dict()
    assert held.keys() == weights.keys()
    assert all(torch.equal(held[name], weights[name]) for name in weights)
    assert not list((calibrated / "state/calibrate").glob("*/"))


def test_the_result_is_a_model_without_its_params_file(calibrated: Path) -> None:
    params = read_params(calibrated / "params.yaml")
    model = read_model(calibrated / RESULT)
    assert model.params.sources.max_sources == params.sources.max_sources
    assert model.trained.calibration == read_network(calibrated / RESULT, params.of_model()).calibration


def test_the_blend_is_the_best_of_the_validation_scenes(calibrated: Path) -> None:
    """||R_blend - R_true - eps I||^2 / ||R_true + eps I||^2 of dense matrices, scene by scene."""
    params = read_params(calibrated / "params.yaml")
    network = read_network(calibrated / RESULT, params.of_model())
    loading = params.covariance.diagonal_loading * torch.eye(params.array.n_elements)
    errors: dict[str, list[list[float]]] = {"independent": [], "constant": []}
    for split in VALIDATION_SPLITS:
        scenes = read_scenes(calibrated / "data/scenes" / split, False)
        covariances = read_covariances(calibrated / "data/covariances" / split)
        maps = covariances.maps
        predicted = network.predict(maps.values, maps.estimated_snr, scenes.observation).covariance
        sample = sample_covariance(covariances.factor).dense()
        for i in torch.nonzero(scenes.n_sources).flatten().tolist():
            K = int(scenes.n_sources[i])
            waves = network.dictionary.array.steering(scenes.sources[i, :K])
            true = (waves.mT * scenes.power[i, :K]) @ waves.conj()
            true = true * len(loading) / true.trace() + loading
            errors[covariances.source_model].append([])
            for beta in np.arange(21) / 20:
                blended = (1.0 - beta) * predicted.dense()[i] + beta * sample[i] + loading
                error = (blended - true).abs().square().sum() / true.abs().square().sum()
                errors[covariances.source_model][-1].append(float(error))
    table = pd.read_csv(calibrated / BLEND)
    np.testing.assert_allclose(table["blend_beta"], np.arange(21) / 20)
    errors["all"] = errors["independent"] + errors["constant"]
    for name, own in errors.items():
        np.testing.assert_allclose(table[f"error_{name}"], np.mean(own, axis=0), rtol=1e-3)
    best = table["blend_beta"][table["error_all"].argmin()]
    assert network.calibration.blend_beta == pytest.approx(best, abs=0.0)


def test_batches_hold_every_validation_scene_once(calibrated: Path) -> None:
    params = read_params(calibrated / "params.yaml")
    batches = calibrate.plan(params)
    for split in VALIDATION_SPLITS:
        own = [batch.scenes for batch in batches if batch.cell == split]
        n_scenes = params.simulate.split(split).n_scenes
        assert [scene for part in own for scene in part] == list(range(n_scenes))
        assert all(1 <= len(part) <= params.evaluate.batch_size for part in own)


def test_a_stopped_run_goes_on_where_it_was(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third batch is interrupted; the next run makes that one and those after it, same bytes."""
    whole = (copy / RESULT).read_bytes()
    real, calls = calibrate.calibrate, []

    def counted(stop_at: int) -> Callable[..., object]:
        @functools.wraps(real)
        def call(*arguments: object) -> object:
            calls.append(arguments)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return real(*arguments)  # type: ignore[arg-type]

        return call

    monkeypatch.setattr(calibrate, "calibrate", counted(3))
    with pytest.raises(KeyboardInterrupt):
        call_verb(copy, calibrate.main)
    assert (copy / RESULT).read_bytes() == whole
    monkeypatch.setattr(calibrate, "calibrate", counted(0))
    calls.clear()
    call_verb(copy, calibrate.main)
    assert len(calls) == len(calibrate.plan(read_params(copy / "params.yaml"))) - 2
    assert (copy / RESULT).read_bytes() == whole


@pytest.mark.slow
def test_workers_change_no_byte(copy: Path) -> None:
    alone = (copy / RESULT).read_bytes()
    (copy / RESULT).unlink()
    write_params(copy, {**FEW, "evaluate.workers": 2})
    ended = run_verb(copy, "calibrate")
    assert ended.returncode == 0, ended.stderr
    assert "calibrate: 5 of 5 batches" in ended.stderr
    assert (copy / RESULT).read_bytes() == alone


def test_a_missing_network_is_named_and_the_result_stands(copy: Path) -> None:
    whole = (copy / RESULT).read_bytes()
    (copy / MODEL).unlink()
    with pytest.raises(CheckpointError, match=shows("covariance.pt: ... `train`")):
        call_verb(copy, calibrate.main)
    assert (copy / RESULT).read_bytes() == whole


def test_a_network_of_another_grid_is_refused(copy: Path) -> None:
    write_params(copy, {**FEW, "grid.n_u": 9})
    with pytest.raises(CheckpointError, match=shows("grid.n_u ... 7 ... 9")):
        call_verb(copy, calibrate.main)


def test_missing_scenes_are_named(copy: Path) -> None:
    shutil.rmtree(copy / "data/scenes/validation_constant")
    with pytest.raises(
        MeasurementError,
        match=shows("validation_constant: ... `simulate --split validation_constant`"),
    ):
        call_verb(copy, calibrate.main)


@pytest.mark.parametrize("n_scenes", [4, 9])
def test_scenes_of_other_parameters_are_refused(copy: Path, n_scenes: int) -> None:
    strata = {"only": {"n_sources": [0, 3], "snr_db": [-5.0, 20.0], "n_scenes": n_scenes}}
    write_params(copy, {**FEW, "simulate.validation.strata": strata})
    law = f"data/scenes/validation: simulate.validation ... {n_scenes} scenes, got 5; ... `simulate --split"
    with pytest.raises(MeasurementError, match=shows(law)):
        call_verb(copy, calibrate.main)


def test_covariances_of_another_grid_are_refused(copy: Path) -> None:
    params = read_params(write_params(copy, {**FEW, "grid.n_u": 9}))
    write_untrained(copy / MODEL, UNTRAINED, params)
    with pytest.raises(MeasurementError, match=r"data/covariances/validation.*\(3, 5, 9\); got \(3, 5, 7\)"):
        call_verb(copy, calibrate.main)


def test_validation_scenes_without_sources_choose_no_blend() -> None:
    cost = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    evidence = Evidence(torch.zeros(2, 2), cost, torch.ones(2), torch.tensor([True, False]))
    errors = torch.full((2, len(calibrate.BETAS)), torch.nan)
    known = Known(evidence, evidence, torch.tensor([0, 0], dtype=torch.int32), errors)
    with pytest.raises(ValueError, match=shows("blend ... none")):
        calibrate.fitted_calibration(known)
    errors[1] = (torch.tensor(calibrate.BETAS) - 0.35).square()
    assert calibrate.fitted_calibration(known).blend_beta == 0.35


# files


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        ("noise_known", {"network": "much"}, "noise_known.network"),
        ("noise_known", {"network": float("nan")}, "noise_known.network"),
        ("noise_unknown", {"constant": (1.0, float("inf"), 1.0, 1.0, 1.0)}, "noise_unknown.constant.1"),
        ("noise_unknown", {"independent": (1.0, 1.0, 1.0, 1.0)}, "noise_unknown.independent.4"),
        ("noise_known", {"prior": 1.0}, "noise_known.prior"),
        ("noise_unknown", {"missed": 1.0}, "noise_unknown.missed"),
        ("noise_known", {"missed": -0.01}, "noise_known.missed"),
        (None, {"blend_beta": 1.01}, "blend_beta"),
        (None, {"blend_beta": -0.01}, "blend_beta"),
        (None, {"noise_unknown": None}, "noise_unknown"),
    ],
)
def test_a_calibration_that_is_none_is_refused(
    copy: Path, part: str | None, change: dict[str, object], fault: str
) -> None:
    params = read_params(copy / "params.yaml")
    model = read_model(copy / RESULT).params.model_dump(mode="json")
    content = load_checkpoint(copy / RESULT, model, anything)
    held = content["calibration"] if part is None else content["calibration"][part]
    held |= change
    save_checkpoint(copy / RESULT, content, model)
    for read in (lambda: read_network(copy / RESULT, params.of_model()), lambda: read_model(copy / RESULT)):
        with pytest.raises(CheckpointError, match=shows(f"calibration: ... {fault}")):
            read()
    del content["calibration"]
    save_checkpoint(copy / RESULT, content, model)
    with pytest.raises(CheckpointError, match="calibration: missing"):
        read_network(copy / RESULT, params.of_model())


def test_evidence_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A count without a fit has an infinite cost, a scene without sources no error."""
    cost = torch.tensor([[1.0, 2.0, torch.inf], [3.0, 0.5, 0.25]], dtype=torch.float64)
    told, unknown = (
        Evidence(torch.randn(2, 3), cost + shift, torch.rand(2), torch.tensor([True, False]))
        for shift in (0.0, 1.0)
    )
    error = torch.tensor([[0.5, 0.25], [torch.nan, torch.nan]])
    known = Known(told, unknown, torch.tensor([1, 2], dtype=torch.int32), error)
    for name in ("a.h5", "b.h5"):
        write_evidence(tmp_path / name, known)
    again = read_evidence([tmp_path / "a.h5", tmp_path / "b.h5"])
    assert again.n_sources.tolist() == [1, 2, 1, 2]
    assert torch.equal(again.blend_error.nan_to_num(), torch.cat((error, error)).nan_to_num())
    for name in ("log_probabilities", "cost", "estimated_snr", "shared"):
        for one, read in ((told, again.noise_known), (unknown, again.noise_unknown)):
            own = getattr(one, name)
            assert torch.equal(getattr(read, name), torch.cat((own, own)))
