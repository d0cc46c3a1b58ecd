"""What the report is drawn from: tables, readings and example spectra, read and checked.

Every file is written by one stage of the pipeline; a file that is absent or breaks its schema raises
`ReportError`, which names the file, the law, the numbers and the stage that writes it. An empty cell is NaN:
nothing was measured.
"""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from risolve.errors import StageError
from risolve.networks.objective import PARTS

REPORT = Path("data/report/report.html")
PICTURE = Path("data/report/found_rate.svg")
STRATA = Path("data/evaluation/strata.csv")
RANGE_STRATA = Path("data/evaluation/range_strata.csv")
COUNTS = Path("data/evaluation/counts.csv")
CONFIDENCE = Path("data/evaluation/count_confidence.csv")
CALIBRATION = Path("data/evaluation/calibration.csv")
METRICS = Path("data/evaluation/metrics.json")
EXAMPLES = Path("data/evaluation/examples.npz")
THRESHOLD = Path("data/bounds/threshold.csv")
HISTORY = Path("data/models/history.csv")
HEALTH = Path("data/models/health.json")

_WRITTEN_BY = {
    "bounds": "threshold",
    "evaluation": "evaluate",
    "models": "train",
    "report": "report",
    # of state/times
    "evaluate": "--force --single-item evaluate",
    "train": "--force --single-item train",
}
"""Folder -> what `dvc repro` needs to write it."""


class ReportError(StageError):
    """An input of the report is absent or malformed, or there is no report."""


@dataclass(frozen=True)
class Column:
    """Law of a numeric column: lowest <= value <= highest; whether cells may be empty (NaN) or infinite, and
    whether the table may lack the column.
    """

    lowest: float = -math.inf
    highest: float = math.inf
    whole: bool = False
    empty: bool = False
    infinite: bool = False
    optional: bool = False


_RATE = Column(0.0, 1.0, empty=True)
_SIZE = Column(0.0, empty=True)
_RANGE_ERROR = Column(0.0, empty=True, infinite=True)  # an estimate at infinity
_COUNT = Column(0.0, whole=True)
_CASES = Column(1.0, whole=True)
_LENGTH = Column(0.0)
_NUMBER = Column()
LOSSES = ("loss", *PARTS)
"""The loss of a training and its parts; a part without weight is not in the history."""

_PARAMETERS = ("azimuth", "elevation", "inverse_range", "pooled")

Schema: TypeAlias = tuple[tuple[str, ...], dict[str, Column], tuple[str, ...]]
"""Text columns, numeric columns, columns that name a row."""

SCHEMAS: dict[Path, Schema] = {
    STRATA: (
        ("split", "count", "method"),
        {
            "n_sources": _COUNT,
            "snr_db": _NUMBER,
            "n_scenes": _CASES,
            "n_true": _COUNT,
            **dict.fromkeys(("found_rate", "found_low", "found_high"), _RATE),
            **dict.fromkeys(("median_azimuth_deg", "median_elevation_deg"), _SIZE),
            **dict.fromkeys(("median_range_m", "median_position_m"), _RANGE_ERROR),
            "median_bound_position_m": _SIZE,
            **{f"rmse_over_bound_{p}{end}": _SIZE for p in _PARAMETERS for end in ("", "_low", "_high")},
            **dict.fromkeys(("gospa_m", "gospa_location_m", "gospa_missed_m", "gospa_false_m"), _SIZE),
            "false_alarms": Column(0.0, whole=True, empty=True),
            "count_accuracy": _RATE,
            **dict.fromkeys(("rmse_azimuth_deg", "rmse_elevation_deg", "rmse_inverse_range_per_m"), _SIZE),
            "rmse_range_m": _RANGE_ERROR,
        },
        ("split", "n_sources", "snr_db", "count", "method"),
    ),
    RANGE_STRATA: (
        ("split", "method"),
        {
            "n_sources": _COUNT,
            "snr_db": _NUMBER,
            "range_from_m": _LENGTH,
            "range_to_m": _LENGTH,
            "n_true": _COUNT,
            "found_rate": _RATE,
            "median_relative_range_error": _RANGE_ERROR,
            **{f"rmse_over_bound_{p}": _SIZE for p in _PARAMETERS[:3]},
        },
        ("split", "n_sources", "snr_db", "range_from_m", "range_to_m", "method"),
    ),
    COUNTS: (
        ("split", "method"),
        {"n_sources": _COUNT, "snr_db": _NUMBER, "n_estimated": _COUNT, "n_scenes": _CASES},
        ("split", "method", "n_sources", "snr_db", "n_estimated"),
    ),
    CONFIDENCE: (
        ("split", "method"),
        {
            **dict.fromkeys(
                ("confidence_from", "confidence_to", "mean_confidence", "share_right"), Column(0.0, 1.0)
            ),
            "gap": Column(-1.0, 1.0),
            "n_scenes": _CASES,
        },
        ("split", "method", "confidence_from", "confidence_to"),
    ),
    CALIBRATION: (
        ("split", "count", "method", "parameter"),
        {
            "n_sources": _COUNT,
            "snr_db": _NUMBER,
            "n_sources_found": _CASES,
            **dict.fromkeys(("within_1_std", "within_2_std"), Column(0.0, 1.0)),
        },
        ("split", "count", "method", "n_sources", "snr_db", "parameter"),
    ),
    THRESHOLD: (
        ("component",),
        {"snr_db": _NUMBER, **dict.fromkeys(("ziv_zakai", "bound", "prior"), _LENGTH)},
        ("component", "snr_db"),
    ),
    HISTORY: (
        (),
        {
            "epoch": _COUNT,
            "step": _COUNT,
            "lr": _LENGTH,
            **{
                f"{scenes}_{part}": Column(
                    optional=part not in ("loss", "detection"),
                    empty=scenes == "train" and part in ("offset", "covariance", "subspace"),
                )
                for part in LOSSES
                for scenes in ("train", "validation")
            },
            "gradient_norm": _LENGTH,
        },
        ("epoch",),
    ),
}
"""Files of a run."""

_MAY_BE_EMPTY = (COUNTS, CONFIDENCE, CALIBRATION)
"""Without rows where no method counts, says how sure it is, or finds a source."""

NORMS = ("r_samp_norm", "r_pred_norm", "r_blend_norm")
"""Frobenius norms that health.json reads in every epoch with sources, each with its min, median and max."""


@dataclass(frozen=True)
class ExampleSpectra:
    """Spectra of a few scenes on the grid of direction cosines, the largest over the range planes."""

    labels: tuple[str, ...]
    truth: NDArray[np.floating[Any]]
    """(u, v, w) of each source [scene, source, 3]; NaN where a slot is empty."""
    spectra: dict[str, NDArray[np.floating[Any]]]
    """Name -> nonnegative spectrum [scene, v, u] on the points of the search grid."""


@dataclass(frozen=True)
class ReportInputs:
    """Everything that the report shows of a run, apart from its parameters."""

    strata: pd.DataFrame
    range_strata: pd.DataFrame
    counts: pd.DataFrame
    confidence: pd.DataFrame
    calibration: pd.DataFrame
    threshold: pd.DataFrame
    history: pd.DataFrame
    metrics: dict[str, Any]
    health: dict[str, Any]
    examples: ExampleSpectra


def read_inputs(root: Path) -> ReportInputs:
    """All inputs of the report below a working copy.

    Raises:
        ReportError: a file is absent, unreadable, or breaks its schema.
    """
    metrics = _read_json(root, METRICS)
    if not metrics:
        raise _malformed(METRICS, "it holds no metric")
    return ReportInputs(
        strata=read_table(root, STRATA),
        range_strata=read_table(root, RANGE_STRATA),
        counts=read_table(root, COUNTS),
        confidence=read_table(root, CONFIDENCE),
        calibration=read_table(root, CALIBRATION),
        threshold=read_table(root, THRESHOLD),
        history=read_table(root, HISTORY),
        metrics=metrics,
        health=_read_health(root),
        examples=_read_examples(root),
    )


def read_table(root: Path, path: Path) -> pd.DataFrame:
    """One table of `SCHEMAS`; see `checked_table`."""
    return checked_table(root, path, SCHEMAS[path])


def checked_table(root: Path, path: Path, schema: Schema) -> pd.DataFrame:
    """A table whose laws are checked row by row.

    Raises:
        ReportError: the table is absent, is no CSV, lacks columns or rows, breaks a law or names a row twice.
    """
    text_columns, number_columns, key = schema
    try:
        table = pd.read_csv(_existing(root, path), dtype=dict.fromkeys(text_columns, "string"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise _malformed(path, f"it is no CSV table ({error})") from error
    number_columns = {name: law for name, law in number_columns.items() if name in table or not law.optional}
    missing = [name for name in (*text_columns, *number_columns) if name not in table]
    if missing:
        have = ", ".join(map(str, table.columns))
        raise _malformed(path, f"it has no column {', '.join(missing)}; its columns are {have}")
    if table.empty and path not in _MAY_BE_EMPTY:
        raise _malformed(path, "it has no rows")
    for name in text_columns:
        for row in np.flatnonzero(table[name].isna()):
            raise _malformed(path, f"{name} is empty", row)
    for name, law in number_columns.items():
        table[name] = _checked_numbers(path, name, table[name], law)
    for row in np.flatnonzero(table.duplicated(list(key))):
        raise _malformed(path, f"a second row of the same {', '.join(key)}", row)
    return table


def _checked_numbers(path: Path, name: str, raw: "pd.Series[Any]", law: Column) -> "pd.Series[float]":
    values = pd.to_numeric(raw, errors="coerce").astype(float)
    for row in np.flatnonzero(values.isna()):
        if not pd.isna(raw.iloc[row]):
            raise _malformed(path, f"{name} is a number, got {raw.iloc[row]!r}", row)
        if not law.empty:
            raise _malformed(path, f"{name} is empty", row)
    array = values.to_numpy()
    broken = (array < law.lowest) | (array > law.highest) | (np.isinf(array) & (not law.infinite))
    if law.whole:
        broken |= np.abs(array - np.round(array)) > 0.0
    for row in np.flatnonzero(broken):
        kind = "a whole number" if law.whole else "a finite number"
        law_text = f"{name} is {kind} in [{law.lowest:g}, {law.highest:g}]"
        raise _malformed(path, f"{law_text}, got {array[row]:g}", row)
    return values


def _read_json(root: Path, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_existing(root, path).read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise _malformed(path, f"it is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise _malformed(path, f"it holds a JSON object, got {type(value).__name__}")
    return value


def _read_health(root: Path) -> dict[str, Any]:
    health = _read_json(root, HEALTH)
    kinds = {"incident": dict, "training_split": dict, "epochs": list, "gates": dict, "warnings": dict}
    for name, kind in kinds.items():
        if not isinstance(health.get(name), kind):
            word = "object" if kind is dict else "array"
            raise _malformed(HEALTH, f"{name} is a JSON {word}, got {health.get(name)!r}")
    if not health["epochs"]:
        raise _malformed(HEALTH, "epochs is empty: no epoch was measured")
    for number, epoch in enumerate(health["epochs"]):
        if not isinstance(epoch, dict) or not _is_number(epoch.get("epoch")):
            raise _malformed(HEALTH, f"epochs[{number}] is an object with a number `epoch`, got {epoch!r}")
        for name in (name for name in NORMS if name in epoch):
            norm, keys = epoch[name], ("min", "median", "max")
            if not isinstance(norm, dict) or not all(_is_number(norm.get(key)) for key in keys):
                what = f"epochs[{number}].{name} has numbers {', '.join(keys)}, got {norm!r}"
                raise _malformed(HEALTH, what)
    return health


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_examples(root: Path) -> ExampleSpectra:
    try:
        with _existing(root, EXAMPLES).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays: dict[str, NDArray[Any]] = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise _malformed(EXAMPLES, f"it is no archive of plain arrays ({error})") from error
    names = ("first_map", "power_map", "music_spectrum")
    missing = [name for name in ("label", "truth", *names) if name not in arrays]
    if missing:
        raise _malformed(
            EXAMPLES, f"it has no array {', '.join(missing)}; it has {', '.join(sorted(arrays))}"
        )
    labels, truth = tuple(str(label) for label in arrays["label"].reshape(-1)), arrays["truth"]
    if truth.ndim != 3 or truth.shape[0] != len(labels) or truth.shape[2] != 3:
        raise _malformed(EXAMPLES, f"truth is [{len(labels)} scenes, source, 3], got {list(truth.shape)}")
    shape = (len(labels), *arrays[names[0]].shape[1:])
    for name in names:
        got = arrays[name].shape
        if len(got) != 3 or got != shape:
            raise _malformed(
                EXAMPLES, f"{name} is [scene, v, u] as the others, {list(shape)}; got {list(got)}"
            )
        if not np.isfinite(arrays[name]).all() or (arrays[name] < 0.0).any():
            raise _malformed(EXAMPLES, f"{name} is a finite, nonnegative spectrum")
    return ExampleSpectra(labels, truth, {name: arrays[name] for name in names})


def _existing(root: Path, path: Path) -> Path:
    if not (root / path).is_file():
        raise ReportError(f"{path} does not exist; {_remedy(path)}")
    return root / path


def _malformed(path: Path, what: str, row: "int | np.integer[Any] | None" = None) -> ReportError:
    line = "" if row is None else f":{int(row) + 2}"
    return ReportError(f"{path}{line}: {what}; {_remedy(path)}")


def _remedy(path: Path) -> str:
    return f"`dvc repro {_WRITTEN_BY[path.parent.name]}` writes it"
