"""Scenes of which some numbers did not arrive, as the snapshots and the antennas that are whole make them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from risolve.errors import ChangedFileError, MeasurementError
from risolve.files.contents import Contents, MadeField, StoredField
from risolve.files.measurement_laws import AXES
from risolve.files.measurement_stream import CHUNK_VALUES, MeasurementStream
from risolve.files.source import Chunk, Source

_AXES = {
    **AXES,
    "noise_power": ("scene", "antenna"),
    "noise_covariance": ("scene or 1", "antenna", "antenna"),
}


class Gap(NamedTuple):
    """Snapshots and antennas of a scene that are left out, because they hold numbers that are not finite."""

    snapshots: tuple[int, ...]
    antennas: tuple[int, ...]

    def __str__(self) -> str:
        lost = {"snapshots": self.snapshots, "antennas": self.antennas}
        return " and ".join(f"{len(own)} {name}, the first {own[0]}" for name, own in lost.items() if own)


class Piece(NamedTuple):
    """Scenes of one size. stream: measurements of this size; gaps: what each scene lacks, nothing of scenes
    that are whole.
    """

    stream: Source
    gaps: dict[int, Gap]
    chunk: Chunk


def pieces(stream: Source, scenes: range) -> list[Piece]:
    """Scenes that follow one another: those that are whole, then those with gaps, by what they lack.

    Scenes that can be located no more without their gaps are left out of the piece that has them; those of
    several wavelengths with gaps always are.

    Raises:
        ChangedFileError: what was opened is no longer there.
    """
    whole = stream.read(scenes)
    if not isinstance(stream, MeasurementStream):
        return [Piece(stream, {}, whole)]
    gaps = {scene: gap for scene in whole.left_out if (gap := gap_in(stream, scene)) is not None}
    others = {scene: reason for scene, reason in whole.left_out.items() if scene not in gaps}
    found, cut = [Piece(stream, {}, replace(whole, left_out=others))], dict[Gap, MeasurementStream]()
    _, L, M, N = stream.sizes
    # each may keep codes of its own
    most = max(1, CHUNK_VALUES // (L * (M + N) + M * N))
    alike: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for scene, gap in gaps.items():
        alike.setdefault((len(gap.snapshots), gap.antennas), []).append(scene)
    for same in alike.values():
        for first in range(0, len(same), most):
            own = {scene: gaps[scene] for scene in same[first : first + most]}
            left = [_left(stream, scene, gap, cut) for scene, gap in own.items()]
            known = next((known for known, one in left if one.observation is not None), stream)
            found.append(Piece(known, own, reduce(Chunk.beside, (one for _, one in left))))
    return found


def gap_in(stream: MeasurementStream, scene: int) -> Gap | None:
    """What a scene lacks; None where it lacks nothing, or all, or cannot be read.

    Raises:
        ChangedFileError: what was opened is no longer there.
    """
    try:
        finite = np.isfinite(_row(stream, "snapshots", scene))
    except ChangedFileError:
        raise
    except MeasurementError:
        return None
    return None if finite.all() else gap_of(finite)


def gap_of(finite: Bool[np.ndarray, "snapshot antenna"]) -> Gap | None:
    """Snapshots alone, antennas alone, or both in turn, those that lack most first: what loses the fewest
    numbers; None where nothing is left.
    """
    missing = ~finite
    none = np.zeros_like(missing)
    rows, columns = none[:, 0].copy(), none[0].copy()
    while (left := missing & ~rows[:, None] & ~columns).any():
        of_rows, of_columns = left.sum(1), left.sum(0)
        if of_rows.max() >= of_columns.max():
            rows |= of_rows == of_rows.max()
        else:
            columns |= of_columns == of_columns.max()
    ways = ((missing.any(1), none[0]), (none[:, 0], missing.any(0)), (rows, columns))
    snapshots, antennas = max(ways, key=lambda way: int((~way[0]).sum()) * int((~way[1]).sum()))
    if snapshots.all() or antennas.all():
        return None
    return Gap(tuple(np.flatnonzero(snapshots).tolist()), tuple(np.flatnonzero(antennas).tolist()))


def _left(
    stream: MeasurementStream, scene: int, gap: Gap, cut: dict[Gap, MeasurementStream]
) -> tuple[MeasurementStream, Chunk]:
    """What is left of a scene, and the measurements of this size; cut: those that were made before."""
    try:
        _require_apart(stream, scene, gap)
        if gap not in cut:
            cut[gap] = _without(stream, gap)
    except ChangedFileError:
        raise
    except MeasurementError as error:
        return stream, Chunk((), (), None, {scene: str(error).removeprefix(f"{stream.path}: ")})
    return cut[gap], cut[gap].read(range(scene, scene + 1))


def _require_apart(stream: MeasurementStream, scene: int, gap: Gap) -> None:
    """Refuse to leave out antennas that are elements which others receive, too.

    Raises:
        MeasurementError: such a channel, or one that cannot be read.
    """
    if gap.antennas and stream.sizes.antennas == stream.sizes.elements:
        others = np.delete(_row(stream, "channel", scene), gap.antennas, axis=0)
        if others[:, gap.antennas].any():
            law = "diagonal where antennas that are the elements are left out, got one that couples them"
            raise stream.reader.fault("channel", law)


def _row(stream: MeasurementStream, name: str, scene: int) -> NDArray[Any]:
    """What a data set holds for a scene."""
    field = stream.reader.dataset(name, "")
    first = scene if field.shape[0] > 1 else 0
    row: NDArray[Any] = stream.reader.rows(name, field, slice(first, first + 1))[0]
    return row


def _without(stream: MeasurementStream, gap: Gap) -> MeasurementStream:
    """All scenes without some snapshots and antennas; antennas that are the elements take these with them.

    Raises:
        MeasurementError: what is left breaks the format.
    """
    reader, sizes = stream.reader, stream.sizes
    elements = gap.antennas if sizes.antennas == sizes.elements else ()
    lost = {"snapshot": gap.snapshots, "antenna": gap.antennas, "element": elements}
    attributes, objects = reader.contents()
    fields = {name: reader.dataset(name, "") for name in _AXES if reader.has(name)}
    cut = {name: _cut(field, [lost.get(axis, ()) for axis in _AXES[name]]) for name, field in fields.items()}
    left = reader.with_contents(Contents(attributes, objects | cut, reader.is_foreign))
    return MeasurementStream(left, stream.origin)


def _cut(field: StoredField, lost: Sequence[tuple[int, ...]]) -> MadeField:
    """A data set without some indices of each axis."""
    kept = [np.delete(np.arange(size), gone) for size, gone in zip(field.shape, lost, strict=False)]

    def make(rows: slice | tuple[()]) -> NDArray[Any]:
        values = field.read(()) if lost[0] else field.read(rows)
        for axis, own in enumerate(kept):
            if lost[axis]:
                values = values.take(own, axis)
        return values[rows] if lost[0] else values

    return MadeField(field.dtype, tuple(map(len, kept)), None, make)
