"""Located sources as a file: CSV (one row a source), JSON (one object a scene) or HDF5, "risolve-sources" 2.

HDF5 attributes     format, version, estimator, files (paths, one a line)
sources/COLUMN      [row]              the columns of the CSV, float64; scene, source and file int64
scenes/scene, scenes/file, scenes/n_sources     int64 [located scene]
scenes/count_confidence     float64 [located scene]     stated probability that n_sources is right
left_out/scene, left_out/file          int64 [scene]
left_out/reason                        bytes, UTF-8 [scene]

file is the number of a line of the attribute files. The confidence of a count stands in every row of the CSV
and in every scene of the JSON; it is not known where the number was told, or the estimator states none. What
is not known is NaN in HDF5, an empty cell in CSV and null in JSON, which has no infinity either.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from risolve.errors import MeasurementError
from risolve.files import hdf5
from risolve.files.atomic import write_text
from risolve.files.contents import Look
from risolve.files.first_look import looked_at
from risolve.files.reader import Reader, opened, reading

FORMAT = "risolve-sources"
VERSION = 2
VALUES = (
    *("azimuth_deg", "elevation_deg", "range_m", "x_m", "y_m", "z_m", "power_db"),
    *("azimuth_std_deg", "elevation_std_deg", "range_std_m"),
    *("inverse_range_per_m", "inverse_range_std_per_m", "log_likelihood", "misfit", "at_limit"),
    *("rival_azimuth_deg", "rival_elevation_deg", "rival_range_m", "rival_log_likelihood"),
)
"""Columns beside file, scene and source.

Standard deviations are NaN of coordinates that were stated as numbers. misfit: J of the scene over its mean
at a true model, sigma^2 (L M - (a + c/2) K) with a = L (`independent`) or 1 (`constant`) amplitudes and c
unknown coordinates a source; NaN where the noise power is not given. at_limit: 1 where a coordinate of the
source is at a limit, stated or of what the array sees; 0 elsewhere. rival: another place of the source that
answers nearly alike, and the log-likelihood of the scene with the source there; NaN where there is none.
"""

CONFIDENCE = "count_confidence"

_REASON = "left_out/reason"

_NEWER = frozenset(VALUES[VALUES.index("at_limit") :])
"""Columns that earlier files lack."""

_HEAD = 200
"""Bytes of a JSON file within which it says what it is."""


@dataclass(frozen=True, repr=False, eq=False)
class LocatedSources:
    """Sources of scenes of one or several files, row by row; `values` has the columns `VALUES`.

    scenes: (file, scene, n_sources) of every scene that was located. count_confidence: stated probability
    that n_sources is right, NaN where it was told or nothing is stated. left_out: (file, scene, reason) of
    every other one. file is a number into `files`.
    """

    estimator: str
    files: tuple[str, ...]
    file: Int[np.ndarray, " row"]
    scene: Int[np.ndarray, " row"]
    source: Int[np.ndarray, " row"]
    values: Float[np.ndarray, "row value"]
    scenes: Int[np.ndarray, "located 3"]
    count_confidence: Float[np.ndarray, " located"]
    left_out: tuple[tuple[int, int, str], ...]

    def __getitem__(self, column: str) -> Shaped[np.ndarray, " row"]:
        """A column, one number a source, as `to_pandas` has it.

        Raises:
            KeyError: there is no such column.
        """
        names = header(len(self.files) > 1)
        if column not in names:
            raise KeyError(f"{column!r} is no column; there are {', '.join(names)}")
        if column in VALUES:
            return self.values[:, VALUES.index(column)]
        held: Shaped[np.ndarray, " row"] = self.to_pandas()[column].to_numpy()
        return held

    __iter__ = None

    def __contains__(self, column: object) -> bool:
        return column in header(len(self.files) > 1)

    def __len__(self) -> int:
        """Sources of all scenes."""
        return int(self.scene.size)

    def to_pandas(self) -> pd.DataFrame:
        """A row a source: the columns of a result file."""
        return pd.DataFrame(list(self.rows()), columns=list(header(len(self.files) > 1)))

    def __repr__(self) -> str:
        """The first sources, their number and the estimator."""
        shown = self.to_pandas()[["scene", "source", *VALUES[:3], "power_db"]].round(4)
        head = f"{len(shown)} sources in {len(self.scenes)} scenes, by {self.estimator}"
        return f"{head}\n{shown.to_string(index=False, max_rows=12)}" if len(shown) else head

    def of_scenes(self) -> Iterator[tuple[int, Float[np.ndarray, "source value"]]]:
        """(scene, its rows of `values`) of every located scene, in order."""
        ends = self.scenes[:, 2].cumsum()
        for (_, scene, _), own in zip(
            self.scenes.tolist(), np.split(self.values, ends[:-1]) if ends.size else [], strict=True
        ):
            yield scene, own

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row a source; the file is named where there are several."""
        confidence = np.repeat(self.count_confidence, self.scenes[:, 2]).tolist()
        for number in range(self.file.size):
            named = {"file": self.files[int(self.file[number])]} if len(self.files) > 1 else {}
            place = {"scene": int(self.scene[number]), "source": int(self.source[number])}
            values = dict(zip(VALUES, self.values[number].tolist(), strict=True))
            yield {**named, **place, **values, CONFIDENCE: confidence[number]}


def no_sources(estimator: str, files: tuple[str, ...]) -> LocatedSources:
    """The result of no scene."""
    none = np.zeros(0, dtype=np.int64)
    return LocatedSources(
        estimator=estimator,
        files=files,
        file=none,
        scene=none,
        source=none,
        values=np.zeros((0, len(VALUES))),
        scenes=np.zeros((0, 3), dtype=np.int64),
        count_confidence=np.zeros(0),
        left_out=(),
    )


def joined(parts: Sequence[LocatedSources]) -> LocatedSources:
    """Parts of one result, in order."""

    def together(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return LocatedSources(
        estimator=parts[0].estimator,
        files=parts[0].files,
        file=together("file"),
        scene=together("scene"),
        source=together("source"),
        values=together("values"),
        scenes=together("scenes"),
        count_confidence=together("count_confidence"),
        left_out=tuple(scene for part in parts for scene in part.left_out),
    )


def read_sources(path: Path, look: Look | None) -> LocatedSources:
    """Read a file that `write_sources` wrote, with the ending .h5; `look`: what a first look said of it.

    Raises:
        MeasurementError: a missing, foreign or damaged file, or one that breaks the format.
    """
    with reading(path, FORMAT, VERSION, "risolve localize writes located sources", look) as reader:
        return sources_in(reader)


def sources_in(reader: Reader) -> LocatedSources:
    """Located sources of an open file.

    Raises:
        MeasurementError: a field that is damaged or breaks the format, rows that are not those of the scenes.
    """
    files = tuple(str(reader.attribute("files")).split("\n"))
    left_out = [reader.array(f"left_out/{name}", np.int64, "left") for name in ("file", "scene")]
    rows = {name: reader.array(f"sources/{name}", np.int64, "row") for name in ("file", "scene", "source")}
    # a file of before the limits, or the rivals, does not say them
    asked = [name for name in VALUES if name not in _NEWER or reader.has(f"sources/{name}")]
    held = {name: reader.array(f"sources/{name}", np.float64, "row", finite=False) for name in asked}
    values = [held.get(name, np.full(len(rows["file"]), np.nan)) for name in VALUES]
    scenes = np.stack(
        [reader.array(f"scenes/{name}", np.int64, "located") for name in ("file", "scene", "n_sources")],
        axis=-1,
    )
    confidence = reader.array(f"scenes/{CONFIDENCE}", np.float64, "located", finite=False)
    for name, numbers in (("scenes/file", scenes[:, 0]), ("left_out/file", left_out[0])):
        if not ((numbers >= 0) & (numbers < len(files))).all():
            law = f"0 to {len(files) - 1}, lines of the attribute files"
            raise reader.fault(name, f"{law}, got {numbers.min()} to {numbers.max()}")
    counts = scenes[:, 2]
    # none is below 0 or beyond the rows, so that the sum does not overflow
    fits = ((counts >= 0) & (counts <= len(rows["file"]))).all() and counts.sum() == len(rows["file"])
    if not fits or any(
        not np.array_equal(rows[name], np.repeat(scenes[:, column], counts))
        for column, name in enumerate(("file", "scene"))
    ):
        law = "one row for each of the scenes/n_sources sources of each scene, in order"
        raise reader.fault("sources/scene", f"{law}, got {len(rows['file'])} rows")
    return LocatedSources(
        estimator=str(reader.attribute("estimator")),
        files=files,
        **rows,
        values=np.stack(values, axis=-1),
        scenes=scenes,
        count_confidence=confidence,
        left_out=tuple(zip(*(numbers.tolist() for numbers in left_out), _reasons(reader), strict=True)),
    )


def _reasons(reader: Reader) -> list[str]:
    """Why scenes were left out; the data set is missing where none was."""
    n_left_out = reader.sizes["left"]
    if n_left_out == 0:
        return []
    field = reader.dataset(_REASON, "UTF-8 [scene]")
    if field.dtype.kind != "S" or field.shape != (n_left_out,):
        raise reader.fault(
            _REASON, f"UTF-8 [scene] with scene = {n_left_out}, got {field.dtype} {field.shape}"
        )
    return [text.decode("utf-8", "backslashreplace") for text in reader.rows(_REASON, field, ())]


def write_sources(path: Path, sources: LocatedSources) -> None:
    """Write one file in the format of its ending, whole or not at all.

    Raises:
        StateError: the file cannot be written.
        KeyError: an ending that is none of `KINDS`.
    """
    write = {".csv": _write_csv, ".json": _write_json, ".h5": _write_hdf5}[path.suffix]
    write(path, sources)


def header(several: bool) -> Sequence[str]:
    """Columns of the rows of one file, or of several."""
    return (*(("file",) if several else ()), "scene", "source", *VALUES, CONFIDENCE)


def _is_csv(path: Path) -> bool:
    known = {",".join(header(several)).encode() + b"\n" for several in (False, True)}
    with path.open("rb") as file:
        return file.readline(max(map(len, known))) in known


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_HEAD)
    return re.match(rb'\s*{\s*"format"\s*:\s*"%b"' % FORMAT.encode(), start) is not None


def _is_hdf5(path: Path) -> bool:
    try:
        with opened(path, "", looked_at([path])[path]) as reader:
            return reader.has_attribute("format") and reader.attribute("format") == FORMAT
    except MeasurementError:
        return False


KINDS: Mapping[str, Callable[[Path], bool]] = {".csv": _is_csv, ".json": _is_json, ".h5": _is_hdf5}


def _write_csv(path: Path, sources: LocatedSources) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, header(len(sources.files) > 1), lineterminator="\n")
    writer.writeheader()
    for row in sources.rows():
        cells = {name: "" if _is_nan(value) else value for name, value in row.items()}
        writer.writerow(cells | {"file": _no_formula(row["file"])} if "file" in row else cells)
    write_text(path, text.getvalue())


def _no_formula(name: str) -> str:
    """The same file by a name that no spreadsheet computes, as it does what begins with = + - or @."""
    return name if name[:1].isalnum() or name[:1] in "._/~" else f"./{name}"


def _write_json(path: Path, sources: LocatedSources) -> None:
    write_text(path, json.dumps(_document(sources), indent=1, allow_nan=False) + "\n")


def _document(sources: LocatedSources) -> dict[str, Any]:
    by_scene: dict[tuple[int, int], list[dict[str, Any]]] = {
        (int(file), int(scene)): [] for file, scene, _ in sources.scenes
    }
    for file, scene, row in zip(sources.file.tolist(), sources.scene.tolist(), sources.rows(), strict=True):
        known = {name: value if _is_finite(value) else None for name, value in row.items()}
        of_source = {k: v for k, v in known.items() if k not in {"file", "scene", CONFIDENCE}}
        by_scene[file, scene].append(of_source)
    confidence = [value if _is_finite(value) else None for value in sources.count_confidence.tolist()]
    return {
        "format": FORMAT,
        "version": VERSION,
        "estimator": sources.estimator,
        "scenes": [
            {"file": sources.files[file], "scene": scene, CONFIDENCE: sure, "sources": found}
            for ((file, scene), found), sure in zip(by_scene.items(), confidence, strict=True)
        ],
        "left_out": [
            {"file": sources.files[file], "scene": scene, "reason": reason}
            for file, scene, reason in sources.left_out
        ],
    }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _write_hdf5(path: Path, sources: LocatedSources) -> None:
    datasets = {
        "sources/file": sources.file.astype(np.int64),
        "sources/scene": sources.scene.astype(np.int64),
        "sources/source": sources.source.astype(np.int64),
        **{f"sources/{name}": sources.values[:, i].astype(np.float64) for i, name in enumerate(VALUES)},
        **{
            f"scenes/{name}": sources.scenes[:, i].astype(np.int64)
            for i, name in enumerate(("file", "scene", "n_sources"))
        },
        f"scenes/{CONFIDENCE}": sources.count_confidence.astype(np.float64),
        "left_out/file": np.array([file for file, _, _ in sources.left_out], dtype=np.int64),
        "left_out/scene": np.array([scene for _, scene, _ in sources.left_out], dtype=np.int64),
    }
    if sources.left_out:
        datasets[_REASON] = np.array([reason.encode() for _, _, reason in sources.left_out])
    attributes: dict[str, str | int] = {
        "format": FORMAT,
        "version": VERSION,
        "estimator": sources.estimator,
        "files": "\n".join(sources.files),
    }
    hdf5.write(path, attributes, datasets)
