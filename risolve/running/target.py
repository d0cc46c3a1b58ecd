"""A result whose place the user names: what it may replace, and where its finished parts wait."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from risolve.errors import MeasurementError, StateError, unwritable
from risolve.files.atomic import remove_partial
from risolve.running.work import held

Kinds: TypeAlias = Mapping[str, Callable[[Path], bool]]
"""Ending of a result -> whether an existing file is a result of this kind."""


def check_target(path: Path, inputs: Sequence[Path], kinds: Kinds) -> None:
    """Refuse, before any work, a result that could not be written, or would replace what is none.

    Raises:
        MeasurementError: an ending that is none of `kinds`, no directory to write in, the name of an input or
            of a file among its shards, or of anything but an earlier result of the same kind.
    """
    if path.suffix not in kinds:
        ending = path.suffix or "no ending"
        raise MeasurementError(f"{path}: results end in {', '.join(kinds)}, got {ending}")
    if not path.parent.is_dir():
        raise MeasurementError(
            f"{path}: cannot be written, {path.parent} is no directory to write in; make it"
        )
    if not os.access(path.parent, os.W_OK):
        raise MeasurementError(
            f"{path}: cannot be written, {path.parent} is a directory of others, or locked; take another"
        )
    own, measured = os.path.realpath(path), {os.path.realpath(file) for file in inputs}
    if own in measured or os.path.dirname(own) in measured:
        raise MeasurementError(
            f"{path}: holds the measurements or stands among them; a result must not replace or join them, "
            "take another place"
        )
    if os.path.lexists(path) and not (stat.S_ISREG(path.lstat().st_mode) and kinds[path.suffix](path)):
        raise MeasurementError(
            f"{path}: is there, and is no earlier result of this command ({_what(path)}), which alone is "
            "replaced; move it away, or take another name"
        )


def _what(path: Path) -> str:
    mode = path.lstat().st_mode
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a directory", stat.S_ISREG: "a file of another kind"}
    return next((name for is_kind, name in kinds.items() if is_kind(mode)), "a device, a pipe or a socket")


def parts_directory(path: Path) -> Path:
    """Where parts of a result wait until it is whole: `.NAME.parts` beside it."""
    return path.with_name(f".{path.name}.parts")


@contextlib.contextmanager
def parts(result: Path, key: str, made: str) -> Iterator[Path]:
    """The directory `.NAME.parts/KEY` of the finished parts of a result, held by this process alone until the
    block ends; one process at a time works on a result.

    Without an error the parts go, files of the pattern `made`, and directories that are empty then. All else
    is left: parts of other work with the same name of the result, and what the user keeps there.

    Raises:
        StateError: another process works on the result, or the directory cannot be written, or another user
            made it.
    """
    kept = parts_directory(result)
    work = kept / key
    _make(kept)
    try:
        with held(kept / "lock", result):
            try:
                _make(work)
                remove_partial(work)
                yield work
                for path in work.glob(made):
                    path.unlink(missing_ok=True)
            finally:
                _remove_empty(work)
                (kept / "lock").unlink(missing_ok=True)
    except KeyboardInterrupt as stop:
        _remove_empty(kept)
        is_kept = kept.exists()
        raise KeyboardInterrupt(
            f"run again to resume; {kept} holds the rest" if is_kept else "nothing was finished yet"
        ) from stop
    finally:
        _remove_empty(kept)


def _make(directory: Path) -> None:
    """A directory of this user's alone; an earlier one is taken if it is no link and nobody else made it."""
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise StateError(
                f"{directory}: parts of a result wait in a directory that its user made; this is a link, a "
                f"file, or made by user {found.st_uid}: move it away, or take another name for the result"
            ) from None
    except OSError as error:
        raise unwritable(directory, error) from error


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
