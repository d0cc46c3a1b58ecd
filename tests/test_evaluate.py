"""The verb: every estimator on the same scenes, resumable, the same for any number of workers."""

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from risolve.covariance import LoadedBlend, sample_covariance
from risolve.errors import CheckpointError, MeasurementError
from risolve.estimators.comparison import Method
from risolve.estimators.contract import Settings
from risolve.estimators.refined import refined
from risolve.files import model_grid
from risolve.files.bounds import write_bounds
from risolve.files.covariances import Covariances, write_covariances
from risolve.files.measurements import write_scenes
from risolve.files.model import new_network, read_network, write_network
from risolve.inference.likelihood import concentrated_residual
from risolve.inference.maps import MapValues
from risolve.networks.objective import batch_loss, outputs_of
from risolve.networks.trained import uncalibrated
from stages import evaluate, train
from stages.bound import bound
from stages.evaluate import plan
from stages.normalize import normalize
from stages.page import run_files
from stages.page.times_page import EVALUATION_TIMES
from stages.params import estimators as estimator_setup
from stages.params.file import read_params
from stages.params.model import Params
from stages.simulate import simulate
from stages.training.setup import fit_settings
from stages.training.split_files import open_split
from tests.checkpoints import write_untrained
from tests.messages import shows
from tests.tiny_run import ROOT, run_verb, write_params

TINY = {
    "evaluate.batch_size": 3,
    "evaluate.workers": 1,
    "evaluate.genie_starts": 3,
    "evaluate.bootstrap_samples": 50,
}

BRIEF = {
    **TINY,
    "evaluate.estimators": ["music", "learned"],
    "evaluate.blind": [],
    "evaluate.genie_starts": 0,
}
"""Of few methods, for tests that run it again."""

TABLES = ("sources", "scenes", "strata", "range_strata", "found_rate", "rmse_over_bound")


def make_inputs(directory: Path, **changes: object) -> Params:
    """Everything that `evaluate` reads, of a tiny run with a network that was not trained."""
    params = read_params(write_params(directory, {**TINY, **changes}))
    for split in evaluate.TEST_SPLITS:
        scenes = simulate(params, split, range(params.simulate.split(split).n_scenes))
        for kind in ("scenes", "covariances", "bounds"):
            (directory / "data" / kind / split).mkdir(parents=True)
        write_scenes(directory / "data/scenes" / split / "shard-0000.h5", scenes)
        covariances = normalize(scenes.observation, params)
        write_covariances(directory / "data/covariances" / split / "shard-0000.h5", covariances)
        write_bounds(directory / f"data/bounds/{split}.h5", bound(scenes))
    (directory / "data/calibration").mkdir()
    write_untrained(directory / "data/calibration/learned.pt", uncalibrated(0.3), params)
    return params


def evaluated_in(root: Path, **changes: object) -> Path:
    """A working copy in which `evaluate` has run; tests change copies of it."""
    make_inputs(root, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        evaluate.main()
    return root


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated_in(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="module")
def briefly_evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated_in(tmp_path_factory.mktemp("brief"), **BRIEF)


def copied(evaluated: Path, own: Path, patch: pytest.MonkeyPatch) -> Path:
    """data/evaluation of a working copy of the test's own, in which `evaluate` has run."""
    shutil.copytree(evaluated, own, dirs_exist_ok=True)
    patch.chdir(own)
    patch.delenv("DVC_ROOT", raising=False)
    return own / "data/evaluation"


@pytest.fixture
def finished(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(evaluated, tmp_path, monkeypatch)


@pytest.fixture
def brief(briefly_evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(briefly_evaluated, tmp_path, monkeypatch)


def test_batches_hold_every_scene_once() -> None:
    params = read_params(ROOT / "params.yaml")
    counts = np.array([0, 1, 2, 2, 1, 1, 0, 2, 5] * 40)
    batches = plan(params, {"test_independent": counts, "test_constant": counts[:7]})
    for split, own in (("test_independent", counts), ("test_constant", counts[:7])):
        scenes = sorted(scene for batch in batches if batch.cell.split == split for scene in batch.scenes)
        assert scenes == list(range(len(own)))
    for batch in batches:
        assert 1 <= len(batch.scenes) <= params.evaluate.batch_size
        own = counts if batch.cell.split == "test_independent" else counts[:7]
        assert set(own[list(batch.scenes)]) == {batch.cell.n_sources}


def test_tables_are_those_that_the_report_reads(finished: Path) -> None:
    root = finished.parents[1]
    strata = run_files.read_table(root, run_files.STRATA)
    ranges = run_files.read_table(root, run_files.RANGE_STRATA)
    (kept,) = (root / "state/times/evaluate").iterdir()
    timing = run_files.checked_table(root, kept, EVALUATION_TIMES)
    compared = read_params(root / "params.yaml").evaluate.estimators
    searching = {"learned", "nomp", "sbl", "ml", "ml_unconditional"}
    methods = {f"{name}{end}" for name in set(compared) - searching for end in ("", "+ml")} | searching
    methods |= {"genie", "genie_unconditional"}
    assert set(timing["method"]) == set(strata["method"]) == set(ranges["method"]) == methods
    metrics = json.loads((finished / "metrics.json").read_text("utf-8"))
    assert metrics.pop("n_scenes") == 15
    # No cell of the headline numbers is in this run, one source at 10 dB counts for the ratios.
    assert all(name.startswith("rmse_over_bound") for name in metrics.get("learned", {}))
    assert set(metrics) <= {"learned"}
    with np.load(finished / "examples.npz") as examples:
        assert examples["label"].tolist() == [f"scene {s}, K = 2, 0 dB" for s in (6, 7, 8)]
        assert examples["power_map"].shape == (3, 5, 7)
        assert np.isfinite(examples["truth"]).all(-1).sum(-1).tolist() == [2, 2, 2]


def test_every_method_has_rows_of_constant_splits(finished: Path) -> None:
    """The network reads maps of either source model."""
    strata = pd.read_csv(finished / "strata.csv")
    constant = strata[strata["split"] == "test_constant"]
    known, counted = constant[constant["count"] == "known"], constant[constant["count"] == "estimated"]
    names = ("beamformer", "music", "mvdr", "modified_music", "music_blend", "mvdr_blend", "learned_peaks")
    spectra = {f"{name}{end}" for name in names for end in ("", "+ml")}
    searching = {"learned", "nomp", "sbl", "ml", "ml_unconditional", "genie", "genie_unconditional"}
    assert set(known["method"]) == spectra | searching
    assert set(counted["method"]) == {"learned", "ml"}


def test_every_scene_of_a_method_is_in_the_tables(finished: Path) -> None:
    sources, scenes = pd.read_csv(finished / "sources.csv"), pd.read_csv(finished / "scenes.csv")
    strata = pd.read_csv(finished / "strata.csv")
    own = scenes[(scenes["method"] == "mvdr") & (scenes["split"] == "test_independent")]
    counted = scenes[(scenes["method"] == "ml") & (scenes["count"] == "estimated")]
    assert counted[counted["split"] == "test_independent"]["n_estimated"].notna().sum() == 9
    assert own["n_sources"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    true = sources[(sources["method"] == "mvdr") & (sources["split"] == "test_independent")]
    assert true["scene"].tolist() == [3, 4, 5, 6, 6, 7, 7, 8, 8]
    assert true["bound_azimuth_deg"].notna().all()
    silent = strata[(strata["n_sources"] == 0) & (strata["count"] == "known")]
    assert silent["n_true"].eq(0).all()
    assert (
        silent[["found_rate", "gospa_m", "rmse_over_bound_azimuth", "median_range_m"]].isna().all(axis=None)
    )
    unresolved = scenes[(scenes["split"] == "test_constant") & (scenes["n_sources"] == 2)]
    assert not unresolved[unresolved["method"] == "music"]["resolved"].astype(bool).any()


def stored_maps(covariances: Covariances) -> MapValues:
    """Maps of the files, which are made with the noise power."""
    return MapValues(covariances.maps.values, covariances.maps.estimated_snr)


def blind_counts(bench: evaluate.EvaluationBench, bends: float) -> dict[Method, list[float]]:
    """Counts of blind methods on three scenes whose stated noise power and stored maps are changed."""
    scenes = torch.tensor([6, 7, 8])
    split = bench.splits["test_independent"].select(scenes)
    observation, own = split.observation, split.covariances
    assert observation.noise_power is not None
    maps = replace(own.maps, values=bends * own.maps.values, estimated_snr=bends * own.maps.estimated_snr)
    estimators = tuple(one for one in bench.comparison.estimators if one.name in bench.comparison.blind)
    found = evaluate.evaluate(
        replace(observation, noise_power=bends * observation.noise_power),
        replace(own, maps=maps),
        split.truth.sources[:, :2],
        bench.network,
        replace(bench.comparison, genie_starts=0, estimators=estimators),
        torch.Generator(),
    )
    return {
        method: [*timed.estimate.n_sources.tolist(), *timed.estimate.likelihood.log_likelihood.tolist()]
        for method, timed in found.items()
    }


def test_what_is_blind_knows_nothing_of_the_noise_power(finished: Path) -> None:
    """Neither the stated noise power nor maps that were made with it change a blind estimate."""
    root = finished.parents[1]
    bench = evaluate.read_bench(read_params(root / "params.yaml"))
    plain, bent = blind_counts(bench, 1.0), blind_counts(bench, 3.0)
    blind = {method for method in plain if method.count == "estimated"}
    assert {method.name for method in blind} == {"learned", "ml"}
    assert all(plain[method] == bent[method] for method in blind)
    assert plain[Method("known", "learned")] != bent[Method("known", "learned")]


def test_one_scene_through_training_and_evaluation_gives_the_same_bits(finished: Path) -> None:
    """R_blend of a scene, from its files through the functions of `train` and through those of `evaluate`."""
    root, split, scene = finished.parents[1], "test_independent", torch.tensor([7])
    params = read_params(root / "params.yaml")
    trained = read_network(root / "data/calibration/learned.pt", params.of_model())
    losses, dictionary = (
        fit_settings(params, torch.device("cpu")).loss,
        train.network_dictionary(params.of_model()),
    )
    examples = open_split(params, split, False).examples().select(scene)
    trained.network.train()
    outputs = outputs_of(trained.network, examples, dictionary, mixed_precision=False)
    beta = trained.calibration.blend_beta
    in_training = batch_loss(outputs, examples, dictionary, losses, beta).blend
    bench = evaluate.read_bench(params)
    own = bench.splits[split].select(scene)
    told = torch.ones(1, dtype=torch.int64)
    made = evaluate.make_covariances(
        own.observation,
        sample_covariance(own.covariances.factor),
        stored_maps(own.covariances),
        told,
        bench.network,
        bench.comparison,
    )
    in_evaluation = made["blend"].covariance
    assert isinstance(in_evaluation, LoadedBlend)
    assert in_evaluation.beta == beta
    assert torch.equal(in_training.dense(), in_evaluation.dense())


def test_refinement_lowers_the_residual(finished: Path) -> None:
    root = finished.parents[1]
    params = read_params(root / "params.yaml")
    bench = evaluate.read_bench(params)
    scenes = torch.tensor([6, 7, 8])
    split = bench.splits["test_independent"].select(scenes)
    observation, covariances = split.observation, split.covariances
    sample, told = sample_covariance(covariances.factor), torch.full((3,), 2)
    made = evaluate.make_covariances(
        observation, sample, stored_maps(covariances), told, bench.network, bench.comparison
    )
    for one in bench.comparison.estimators:
        if one.covariance_kind is None:
            continue
        start = one.estimate(observation, made[one.covariance_kind].covariance, torch.full((3,), 2))
        n_iterations = params.estimators.refine_iterations
        best = refined(observation, start, model_grid.grid(params.of_model()), n_iterations).likelihood
        before = concentrated_residual(observation, start.sources.nan_to_num(), start.present)
        assert (best.residual <= before * (1.0 + 1e-9)).all()
        assert (best.residual < 0.999 * before).any()


def contents(directory: Path) -> dict[str, bytes]:
    files = [*(f"{name}.csv" for name in TABLES), "metrics.json", "examples.npz"]
    return {name: (directory / name).read_bytes() for name in files}


def test_a_stopped_run_goes_on_where_it_was(
    brief: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The third batch is interrupted; the next run makes that one and those after it, same result."""
    whole = contents(brief)
    real, calls = evaluate.evaluate, []

    def counted(stop_at: int) -> Callable[..., object]:
        @functools.wraps(real)
        def call(*arguments: object) -> object:
            calls.append(arguments)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return real(*arguments)  # type: ignore[arg-type]

        return call

    monkeypatch.setattr(evaluate, "evaluate", counted(3))
    with pytest.raises(KeyboardInterrupt):
        evaluate.main()
    assert contents(brief) == whole
    monkeypatch.setattr(evaluate, "evaluate", counted(0))
    calls.clear()
    evaluate.main()
    assert len(calls) == 4 - 2
    assert contents(brief) == whole
    assert not list((tmp_path / "state/evaluate").glob("*/shard-*"))


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(finished: Path, tmp_path: Path) -> None:
    alone = contents(finished)
    write_params(tmp_path, {**TINY, "evaluate.workers": 2})
    result = run_verb(tmp_path, "evaluate")
    assert result.returncode == 0, result.stderr
    assert "evaluate: 6 of 6 batches" in result.stderr
    assert contents(finished) == alone


def test_found_tolerance_is_a_matter_of_the_tables_alone(brief: Path, tmp_path: Path) -> None:
    before = pd.read_csv(brief / "sources.csv")
    write_params(tmp_path, {**BRIEF, "evaluate.found_tolerance_deg": 170.0})
    evaluate.main()
    after = pd.read_csv(brief / "sources.csv")
    scene = ["split", "scene", "count", "method"]
    for side in ("", "estimated_"):
        places = [*scene, f"{side}azimuth_deg", f"{side}elevation_deg", f"{side}range_m"]
        one, other = (table[places].sort_values(places, ignore_index=True) for table in (before, after))
        pd.testing.assert_frame_equal(one, other)
    n_found = [table.groupby(scene)["found"].sum() for table in (before, after)]
    assert (n_found[1] >= n_found[0]).all()
    assert after[after["outcome"] == "matched"]["found"].all()
    assert not before["found"].all()


def test_scenes_of_other_parameters_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    strata = {"only": {"n_sources": [1, 1], "snr_db": [0.0, 0.0], "n_scenes": 7}}
    write_params(tmp_path, {"simulate.test_independent.strata": strata})
    with pytest.raises(MeasurementError, match=shows("simulate.test_independent ... 7 scenes, got 9")):
        evaluate.main()


def test_a_network_of_another_grid_is_refused_and_the_tables_stand(finished: Path, tmp_path: Path) -> None:
    whole = contents(finished)
    write_params(tmp_path, {"grid.n_u": 9})
    with pytest.raises(CheckpointError, match=shows("grid.n_u ... 7 ... 9")):
        evaluate.main()
    assert contents(finished) == whole


def test_bounds_of_other_scenes_are_refused(finished: Path, tmp_path: Path) -> None:
    whole = contents(finished)
    path = tmp_path / "data/bounds/test_independent.h5"
    with h5py.File(path, "r+") as file:
        for name in file["conditional"]:
            file[f"conditional/{name}"][...] = np.roll(file[f"conditional/{name}"][()], 1, axis=0)
    with pytest.raises(
        MeasurementError,
        match=shows("test_independent.h5: bound_azimuth_deg: ... scene 0, slot 0: ... `bound`"),
    ):
        evaluate.main()
    assert contents(finished) == whole


@pytest.mark.parametrize("fault", ["missing", "shape", "nan", "no network"])
def test_a_damaged_network_is_refused(finished: Path, tmp_path: Path, fault: str) -> None:
    whole = contents(finished)
    params = read_params(tmp_path / "params.yaml")
    weights = new_network(params.of_model(), params.train.seed).state_dict()
    name = "stem.weight"
    if fault == "missing":
        del weights[name]
    elif fault == "shape":
        weights[name] = weights[name][:-1]
    elif fault == "nan":
        weights[name][0] = torch.nan
    path = tmp_path / "data/calibration/learned.pt"
    write_network(path, {} if fault == "no network" else weights, uncalibrated(0.3), params.of_model())
    wrong = "count.0.bias" if fault == "no network" else name
    with pytest.raises(CheckpointError, match=shows(f"learned.pt: network: ... {wrong}")):
        evaluate.main()
    assert contents(finished) == whole


def test_a_law_that_scenes_break_is_an_error_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_inputs(tmp_path)
    real = estimator_setup.settings

    def unloaded(params: Params) -> Settings:
        return replace(real(params), diagonal_loading=0.0)

    monkeypatch.setattr(estimator_setup, "settings", unloaded)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        MeasurementError, match=shows("test_independent: ... scenes [3, 4, 5] ... eps ... got 0.0")
    ):
        evaluate.main()
