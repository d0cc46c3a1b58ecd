import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from risolve import seeds
from risolve.estimators.comparison import Method
from stages.evaluation import counts, strata
from stages.evaluation import tables as evaluation_tables
from stages.evaluation.estimates import MethodEstimates
from stages.evaluation.tables import Scoring
from stages.evaluation.truth import BOUNDS, SplitTruth
from stages.page import blocks, run_files
from stages.page.run_files import (
    CALIBRATION,
    CONFIDENCE,
    COUNTS,
    EXAMPLES,
    HEALTH,
    HISTORY,
    METRICS,
    NORMS,
    RANGE_STRATA,
    STRATA,
    THRESHOLD,
    ReportError,
    read_inputs,
    read_table,
)
from stages.page.training_figures import loss_curves, norm_curves
from tests.messages import shows
from tests.page.finished_run import FEW, write_run

FILES = {
    STRATA: "evaluate",
    RANGE_STRATA: "evaluate",
    COUNTS: "evaluate",
    CALIBRATION: "evaluate",
    THRESHOLD: "threshold",
    METRICS: "evaluate",
    EXAMPLES: "evaluate",
    HISTORY: "train",
    HEALTH: "train",
}

OFFSETS = {"train_offset": 0.2, "validation_offset": 0.1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), FEW)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_finished_run_is_read(run: Path) -> None:
    inputs = read_inputs(run)
    assert set(inputs.strata["split"]) == set(FEW)
    assert inputs.strata.query("n_sources == 0")["found_rate"].isna().all()
    assert len(inputs.examples.labels) == len(inputs.examples.truth) == 2


@pytest.mark.parametrize("path", FILES)
def test_an_absent_file_is_named_with_its_stage(run: Path, path: Path) -> None:
    (run / path).unlink()
    with pytest.raises(ReportError, match=shows(f"{path} ... exist; `dvc repro {FILES[path]}`")):
        read_inputs(run)


@pytest.mark.parametrize("path", FILES)
def test_an_empty_file_is_refused(run: Path, path: Path) -> None:
    (run / path).write_bytes(b"")
    with pytest.raises(ReportError, match=shows(f"{path}: ... `dvc repro {FILES[path]}`")):
        read_inputs(run)


@pytest.mark.parametrize("path", FILES)
def test_a_truncated_or_foreign_file_is_refused(run: Path, path: Path) -> None:
    (run / path).write_bytes((run / path).read_bytes()[:40] + b"\xff\x00 foreign")
    with pytest.raises(ReportError, match=shows(f"{path}: ... `dvc repro {FILES[path]}`")):
        read_inputs(run)


def _with(column: str, value: object, row: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.loc[row, column] = value
        return table

    return change


TABLES: list[tuple[Path, Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (
        STRATA,
        lambda table: table.drop(columns=["found_low", "gospa_m"]),
        ": ... column found_low, gospa_m",
    ),
    (STRATA, lambda table: table.iloc[:0], ": ... rows"),
    (STRATA, _with("found_rate", 1.7, 12), ":14: found_rate ... [0, 1], got 1.7"),
    (STRATA, _with("n_scenes", 3.5, 0), ":2: n_scenes ... whole ... [1, inf], got 3.5"),
    (STRATA, _with("gospa_m", math.inf, 12), ":14: gospa_m ... [0, inf], got inf"),
    (STRATA, _with("snr_db", "loud", 12), ":14: snr_db ... got 'loud'"),
    (STRATA, _with("n_sources", None, 12), ":14: n_sources ... empty"),
    (STRATA, _with("method", None, 12), ":14: method ... empty"),
    (STRATA, lambda table: pd.concat([table, table.iloc[[0]]]), ":110: ... split, n_sources"),
    (RANGE_STRATA, _with("found_rate", -0.1, 3), ":5: found_rate ... [0, 1], got -0.1"),
    (COUNTS, _with("n_scenes", 0, 2), ":4: n_scenes ... whole ... [1, inf], got 0"),
    (COUNTS, _with("n_estimated", -1, 2), ":4: n_estimated ... whole ... [0, inf], got -1"),
    (CALIBRATION, _with("within_1_std", None, 2), ":4: within_1_std ... empty"),
    (CALIBRATION, _with("within_2_std", 1.2, 2), ":4: within_2_std ... [0, 1], got 1.2"),
    (THRESHOLD, _with("ziv_zakai", -0.1, 2), ":4: ziv_zakai ... got -0.1"),
    (THRESHOLD, lambda table: table.assign(snr_db=0.0), ": ... component, snr_db"),
    (THRESHOLD, lambda table: table.iloc[:0], ": ... rows"),
    (HISTORY, _with("train_loss", "nan", 4), ":6: train_loss ... empty"),
    (HISTORY, _with("validation_loss", math.inf, 4), ":6: validation_loss ... got inf"),
    (HISTORY, lambda table: table.drop(columns="train_loss"), ": ... column train_loss"),
    (HISTORY, _with("validation_covariance", "nan", 4), ":6: validation_covariance ... empty"),
]


@pytest.mark.parametrize(("path", "change", "law"), TABLES)
def test_a_broken_table_names_line_law_and_number(
    run: Path, path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], law: str
) -> None:
    change(pd.read_csv(run / path)).to_csv(run / path, index=False)
    with pytest.raises(ReportError, match=shows(f"{path}{law}")):
        read_inputs(run)


def test_an_infinite_median_range_error_is_a_reading(run: Path) -> None:
    """An estimate at infinity has an infinite range error; its median is one where most estimates are."""
    _with("median_range_m", math.inf, 12)(pd.read_csv(run / STRATA)).to_csv(run / STRATA, index=False)
    assert math.isinf(read_inputs(run).strata["median_range_m"].iloc[12])


def test_a_part_of_the_loss_that_a_history_lacks_has_no_panel(run: Path) -> None:
    table = pd.read_csv(run / HISTORY).drop(columns=["train_covariance", "validation_covariance"])
    table.to_csv(run / HISTORY, index=False)
    figure = blocks.training_figure(read_inputs(run).history)
    assert len(figure.panels) == len(blocks.training_figure(table.assign(**OFFSETS)).panels) - 1 == 4


@pytest.mark.parametrize("path", [COUNTS, CALIBRATION])
def test_nothing_counted_and_nothing_found_are_tables_without_rows(run: Path, path: Path) -> None:
    pd.read_csv(run / path).iloc[:0].to_csv(run / path, index=False)
    assert read_table(run, path).empty


def test_epochs_without_sources_leave_their_norms_and_parts_out(run: Path) -> None:
    health = json.loads((run / HEALTH).read_text("utf-8"))
    for name in NORMS:
        del health["epochs"][1][name]
    (run / HEALTH).write_text(json.dumps(health), "utf-8")
    table = pd.read_csv(run / HISTORY)
    table.loc[1, "train_covariance"] = math.nan
    table.to_csv(run / HISTORY, index=False)
    inputs = read_inputs(run)
    assert len(norm_curves(inputs.health, 144)) == len(NORMS)
    assert loss_curves(inputs.history, "covariance", "covariance")
    nowhere = {**health, "epochs": [{"epoch": 1}]}
    assert norm_curves(nowhere, 144) == {}


RECORDS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("incident",), [], "incident ... object, got []"),
    (("epochs",), {}, "epochs ... array, got {}"),
    (("epochs",), [], "epochs ... empty"),
    (("epochs", 0), 3, "epochs[0] ... `epoch`, got 3"),
    (("epochs", 1, "r_samp_norm"), 46.0, "epochs[1].r_samp_norm ... min, median, max, got 46.0"),
    (("epochs", 2, "r_pred_norm", "max"), "65", "epochs[2].r_pred_norm ... min, median, max, got {"),
]


@pytest.mark.parametrize(("place", "value", "law"), RECORDS)
def test_a_broken_health_record_names_place_and_value(
    run: Path, place: tuple[str | int, ...], value: object, law: str
) -> None:
    health = json.loads((run / HEALTH).read_text("utf-8"))
    holder = health
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    (run / HEALTH).write_text(json.dumps(health), "utf-8")
    with pytest.raises(ReportError, match=shows(law)):
        read_inputs(run)


@pytest.mark.parametrize(
    ("name", "change", "law"),
    [
        ("truth", lambda a: a[:, :, :2], "truth ... [2 scenes, source, 3], got [2, 5, 2]"),
        ("power_map", lambda a: a[:, 0], "power_map ... [scene, v, u] ... [2, 13, 22]; got [2, 22]"),
        ("power_map", lambda a: a[:, 1:], "power_map ... [scene, v, u] ... [2, 13, 22]; got [2, 12, 22]"),
        ("first_map", lambda a: -a, "first_map ... finite, nonnegative"),
        ("first_map", lambda a: a * math.nan, "first_map ... finite, nonnegative"),
    ],
)
def test_broken_examples_name_the_array(
    run: Path, name: str, change: Callable[[np.ndarray], np.ndarray], law: str
) -> None:
    with np.load(run / EXAMPLES) as archive:
        arrays = dict(archive)
    np.savez(run / EXAMPLES, **{**arrays, name: change(arrays[name])})
    with pytest.raises(ReportError, match=shows(law)):
        read_inputs(run)


def test_an_example_archive_without_an_array_is_refused(run: Path) -> None:
    with np.load(run / EXAMPLES) as archive:
        arrays = dict(archive)
    del arrays["music_spectrum"]
    np.savez(run / EXAMPLES, **arrays)
    with pytest.raises(ReportError, match=shows("music_spectrum; ... first_map, label, power_map, truth")):
        read_inputs(run)


def test_what_the_evaluation_writes_is_what_the_report_reads(tmp_path: Path) -> None:
    """Tables of `evaluate` are accepted: a scene without sources, scenes of matched, missed, false ones."""
    draw = seeds.generator(5, "bootstrap")
    truth = np.full((5, 2, 3), np.nan)
    truth[1:, 0] = np.stack(
        [draw.uniform(-0.5, 0.5, 4), draw.uniform(-0.3, 0.3, 4), draw.uniform(0.2, 1.0, 4)], 1
    )
    truth[3:, 1] = [0.9, 0.2, 0.4]
    bounds = {name: np.where(np.isnan(truth[..., 0]), np.nan, 0.1) for name in BOUNDS}
    snr_db = np.array([0.0, 0.0, 0.0, 5.0, 5.0])
    estimate = truth + 1e-3
    estimate[3, 1] = [-0.9, -0.2, 0.0]
    split = SplitTruth("test_independent", truth, snr_db, bounds)
    deviations, asked = np.full((5, 2, 3), 2e-3), np.arange(5) > 0
    unsaid, sure = np.full(5, np.nan), np.linspace(0.2, 1.0, 5)
    methods = [
        MethodEstimates(Method("known", "music"), estimate, deviations, np.zeros(5), unsaid, asked, asked),
        MethodEstimates(
            Method("estimated", "music"), estimate, deviations, np.zeros(5), sure, asked, asked | True
        ),
    ]
    scored = [evaluation_tables.score(split, one, Scoring(math.radians(5.0), 3.0)) for one in methods]
    sources = evaluation_tables.with_errors(pd.concat([rows for rows, _ in scored], ignore_index=True))
    scenes = pd.concat([rows for _, rows in scored], ignore_index=True)
    bootstrap = strata.Bootstrap(1, 50)
    tables = {
        STRATA: strata.strata_table(sources, scenes, bootstrap),
        RANGE_STRATA: strata.range_table(sources, (0.5, 10.0)),
        COUNTS: counts.count_table(scenes),
        CONFIDENCE: counts.confidence_table(scenes, (-5.0, 20.0)),
        CALIBRATION: counts.calibration_table(sources),
    }
    for path, table in tables.items():
        evaluation_tables.write_csv(tmp_path / path, table)
        assert len(read_table(tmp_path, path)) == len(table)
    assert set(run_files.SCHEMAS) == {*tables, HISTORY, THRESHOLD}
