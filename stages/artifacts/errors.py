"""Errors that a person can put right: each names file, field, law and numbers, and what to do."""


class StageError(Exception):
    """A verb cannot go on for a reason outside the code; its message is complete without a traceback."""


class ParameterError(StageError):
    """params.yaml is missing, unreadable or breaks a law."""


class MeasurementError(StageError):
    """A file of measurements, scenes, covariances or bounds is missing, damaged or breaks its format."""


class CheckpointError(StageError):
    """A checkpoint is missing, damaged or belongs to other parameters."""


class StateError(StageError):
    """A state directory or an output cannot be written, or another process works in it."""
