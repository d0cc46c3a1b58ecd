"""Located sources as a file: CSV (one row a source), JSON (one object a scene) or HDF5, "risolve-sources" 2.

HDF5 attributes     format, version, estimator, files (paths, one a line)
sources/COLUMN      [row]              the columns of the CSV, float64; scene, source, file and track int64
scenes/scene, scenes/file, scenes/n_sources     int64 [located scene]
scenes/count_confidence, explained, fits, beyond_training  float64 [located scene]      `SCENE_VALUES`
left_out/scene, left_out/file          int64 [scene]
left_out/reason                        bytes, UTF-8 [scene]

file is the number of a line of the attribute files. What is of a scene stands in every row of the CSV and in
every scene of the JSON. What is not known is NaN in HDF5, an empty cell in CSV and null in JSON, which has no
infinity either.
"""

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from risolve.errors import MeasurementError
from risolve.files import hdf5
from risolve.files.atomic import write_text
from risolve.files.contents import Look
from risolve.files.first_look import looked_at
from risolve.files.located_sources import SCENE_VALUES, TRACK, VALUES, LocatedSources, header
from risolve.files.reader import Reader, opened, reading

FORMAT = "risolve-sources"
VERSION = 2
_REASON = "left_out/reason"
_TRACK = f"sources/{TRACK}"

_NEWER = frozenset((*VALUES[VALUES.index("at_limit") :], *SCENE_VALUES[1:]))
"""Columns that earlier files lack."""

_HEAD = 200
"""Bytes of a JSON file within which it says what it is."""


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
    values = _columns(reader, "sources", VALUES, "row", len(rows["file"]))
    scenes = np.stack(
        [reader.array(f"scenes/{name}", np.int64, "located") for name in ("file", "scene", "n_sources")],
        axis=-1,
    )
    of_scenes = _columns(reader, "scenes", SCENE_VALUES, "located", len(scenes))
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
        values=values,
        scenes=scenes,
        scene_values=of_scenes,
        left_out=tuple(zip(*(numbers.tolist() for numbers in left_out), _reasons(reader), strict=True)),
        track=reader.array(_TRACK, np.int64, "row") if reader.has(_TRACK) else None,
    )


def _columns(
    reader: Reader, group: str, names: Sequence[str], axis: str, n_rows: int
) -> Float[np.ndarray, "row value"]:
    """Columns of a group; NaN of those that a file of before them does not hold."""
    asked = [name for name in names if name not in _NEWER or reader.has(f"{group}/{name}")]
    held = {name: reader.array(f"{group}/{name}", np.float64, axis, finite=False) for name in asked}
    return np.stack([held.get(name, np.full(n_rows, np.nan)) for name in names], axis=-1)


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


def _is_csv(path: Path) -> bool:
    kinds = itertools.product((False, True), repeat=2)
    known = {",".join(header(several, tracked)).encode() + b"\n" for several, tracked in kinds}
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
    writer = csv.DictWriter(text, sources.columns, lineterminator="\n")
    writer.writeheader()
    for row in sources.rows():
        cells = {name: "" if _is_nan(value) else value for name, value in row.items()}
        writer.writerow(cells | {"file": _no_formula(row["file"])} if "file" in row else cells)
    write_text(path, text.getvalue())


def _no_formula(name: str) -> str:
    """The same file by a name that no spreadsheet computes, as it does what begins with = + - or @."""
    return name if name[:1].isalnum() or name[:1] in "._/~" else f"./{name}"


def _write_json(path: Path, sources: LocatedSources) -> None:
    write_text(path, json_text(document(sources)) + "\n")


def json_text(content: dict[str, Any]) -> str:
    """A document as text; it holds no number that is not finite."""
    return json.dumps(content, indent=1, allow_nan=False)


def document(sources: LocatedSources) -> dict[str, Any]:
    """Located sources as JSON has them."""
    by_scene: dict[tuple[int, int], list[dict[str, Any]]] = {
        (int(file), int(scene)): [] for file, scene, _ in sources.scenes
    }
    for file, scene, row in zip(sources.file.tolist(), sources.scene.tolist(), sources.rows(), strict=True):
        known = {name: value if _is_finite(value) else None for name, value in row.items()}
        of_source = {k: v for k, v in known.items() if k not in {"file", "scene", *SCENE_VALUES}}
        by_scene[file, scene].append(of_source)
    of_scenes = [
        {name: value if _is_finite(value) else None for name, value in zip(SCENE_VALUES, row, strict=True)}
        for row in sources.scene_values.tolist()
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "estimator": sources.estimator,
        "scenes": [
            {"file": sources.files[file], "scene": scene, **values, "sources": found}
            for ((file, scene), found), values in zip(by_scene.items(), of_scenes, strict=True)
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
        **{f"scenes/{name}": sources.scene_values[:, i] for i, name in enumerate(SCENE_VALUES)},
        "left_out/file": np.array([file for file, _, _ in sources.left_out], dtype=np.int64),
        "left_out/scene": np.array([scene for _, scene, _ in sources.left_out], dtype=np.int64),
    }
    if sources.track is not None:
        datasets[_TRACK] = sources.track.astype(np.int64)
    if sources.left_out:
        datasets[_REASON] = np.array([reason.encode() for _, _, reason in sources.left_out])
    attributes: dict[str, str | int] = {
        "format": FORMAT,
        "version": VERSION,
        "estimator": sources.estimator,
        "files": "\n".join(sources.files),
    }
    hdf5.write(path, attributes, datasets)
