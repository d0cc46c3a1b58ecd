"""Errors that a person can put right: each names file, field, law and numbers, and what to do."""

import errno
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StageError(Exception):
    """A verb cannot go on for a reason outside the code; its message is complete without a traceback."""


class ParameterError(StageError):
    """params.yaml is missing, unreadable or breaks a law."""


class MeasurementError(StageError):
    """A file of measurements, scenes, covariances or bounds is missing, damaged or breaks its format."""


class ChangedFileError(MeasurementError):
    """A file is no longer the one that was opened: what was read of it, and what is read now, do not belong
    together.
    """


class CheckpointError(StageError):
    """A checkpoint is missing, damaged or belongs to other parameters."""


class StateError(StageError):
    """A state directory or an output cannot be written, or another process works in it."""


def unwritable(path: Path | str, error: OSError) -> StateError:
    """The error of a file or folder that the system does not let us write."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        law, remedy = f"no space left on the disk ({reason})", "free some"
    else:
        law, remedy = f"cannot be written ({reason})", "allow writing there"
    return StateError(f"{path}: {law}; {remedy} and run again: what is finished is kept")


def of_system(error: OSError) -> StageError | None:
    """What the system says of a file or a disk as an error of a verb; None where it says it of neither."""
    if error.errno in _FULL:
        return unwritable(error.filename or "files of this run", error)
    if error.filename is None and error.errno != errno.EIO:
        return None
    names = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return StateError(f"{names or 'a disk'}: {error.strerror or error}")
