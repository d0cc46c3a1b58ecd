"""What a file is, in words: any file that the project writes or reads."""

import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from risolve.errors import MeasurementError
from risolve.files import bounds as bound_file
from risolve.files import calibrated_arrays as array_file
from risolve.files import covariances as covariance_file
from risolve.files import estimates as estimates_file
from risolve.files import source as measurements_file
from risolve.files import sources as sources_file
from risolve.files.banded_stream import BandedStream
from risolve.files.checkpoint import declared_checkpoint
from risolve.files.contents import Refused, Unread
from risolve.files.first_look import looked_at
from risolve.files.foreign import as_measurements
from risolve.files.hdf5 import shard_paths
from risolve.files.measurement_stream import MeasurementStream, is_banded
from risolve.files.model import Tuning, calibration_of, tunings_of, weights_of
from risolve.files.naming import PLAIN, Naming
from risolve.files.reader import Reader, opened
from risolve.files.registry import format_of
from risolve.networks.counting import OF_NETWORK, CountRule
from risolve.networks.trained import Calibration
from risolve.words.inspection_measurements import banded_lines, measurement_lines

_KINDS = {
    measurements_file.FORMAT: "measurements: coded snapshots with the system behind them",
    covariance_file.FORMAT: "normalized covariance factors, and the maps that the network reads",
    bound_file.FORMAT: "Cramér-Rao bounds of every source: least standard deviations",
    estimates_file.FORMAT: "what several estimators found in one batch of scenes",
    sources_file.FORMAT: "located sources of `risolve localize`",
    array_file.FORMAT: "an array as `risolve.calibrate` found it",
}


_LONGEST = 200
"""Characters of a list."""

More: TypeAlias = Callable[[MeasurementStream], list[str]]
"""Further lines about measurements."""


def nothing_more(stream: MeasurementStream) -> list[str]:
    """No further lines."""
    return []


def inspect_lines(
    path: Path, naming: Naming = PLAIN, more: More = nothing_more
) -> tuple[list[str], str | None]:
    """Lines that explain a file or a directory of shards, and what is wrong with it, if anything; naming:
    what its user says of it.

    Raises:
        MeasurementError, CheckpointError: missing, damaged, or of no kind that the project knows.
    """
    if path.is_dir():
        shards = shard_paths(path, "a directory of shards is explained, or a single file")
        lines, fault = inspect_lines(shards[0], naming, more)
        return [f"{path}: {len(shards)} shards; the first of them:", *lines], fault
    if path.is_file() and _is_checkpoint(path):
        return _checkpoint_lines(path), None
    made_by = "measurements, covariances, bounds, estimates, sources, arrays and models are explained"
    with opened(path, made_by, looked_at([path])[path]) as reader:
        return explained(reader, naming, more)


def explained(
    reader: Reader, naming: Naming = PLAIN, more: More = nothing_more
) -> tuple[list[str], str | None]:
    """Lines that explain an open file, and what is wrong with it, if anything.

    Raises:
        MeasurementError: its format and version cannot be read.
    """
    own, fault = reader, None
    is_of_bands = is_banded(reader) or bool(naming.bands_hz)
    try:
        own = reader if is_of_bands else as_measurements(reader, naming)
    except MeasurementError as error:
        fault = str(error)
    form, version = (
        str(own.attribute(name)) if own.has_attribute(name) else "" for name in ("format", "version")
    )
    what = _KINDS.get(form)
    kind = f"{form} {version}".strip()
    known = f"{kind}: {what}" if what else f"{reader.kind}, of no format known here ({form or None})"
    lines = [f"{reader.path}: {known}"]
    try:
        if is_of_bands:
            lines += banded_lines(BandedStream(reader, naming))
        elif fault is None:
            lines += _details(own, form, more)
    except MeasurementError as error:
        fault = str(error)
    return [*lines, "", *_contents(reader)], fault


def _is_checkpoint(path: Path) -> bool:
    """Whether a file begins as a zip archive does, damaged or not, and as none of arrays."""
    try:
        format_of(path)
    except Refused:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    return False


def _details(reader: Reader, form: str, more: More) -> list[str]:
    for file, explain in (
        (measurements_file, partial(_measurement_lines, more)),
        (covariance_file, _covariance_lines),
        (bound_file, _bound_lines),
        (estimates_file, _estimate_lines),
        (sources_file, _source_lines),
        (array_file, _array_lines),
    ):
        if form == file.FORMAT:
            reader.choice("version", (file.VERSION,))
            return explain(reader)
    return []


def _array_lines(reader: Reader) -> list[str]:
    found = array_file.array_in(reader)
    words = "" if found.is_better else "; other places were not located better, it is the nominal one"
    return [*repr(found).splitlines(), f"of {len(found.antenna_gains)} antennas{words}"]


def _measurement_lines(more: More, reader: Reader) -> list[str]:
    stream = MeasurementStream(reader)
    return measurement_lines(stream) + more(stream)


def _covariance_lines(reader: Reader) -> list[str]:
    found = covariance_file.covariances_in(reader)
    n_scenes, rank, n_elements = found.factor.shape
    lines = [
        f"{n_scenes} scenes of {found.source_model} sources, {n_elements} elements; R_samp = X^T conj(X) of "
        f"rank {rank} at most, tr R_samp = N"
    ]
    n_w, n_v, n_u = found.maps.grid_shape
    snr = 10.0 * np.log10(np.maximum(found.maps.estimated_snr.numpy(), 1e-3))
    return [
        *lines,
        f"maps after {', '.join(map(str, found.maps.iterations))} iterations on {n_u} x {n_v} directions "
        f"(u, v) and {n_w} planes of 1/r",
        f"estimated SNR: median {np.median(snr):.1f} dB, {snr.min():.1f} to {snr.max():.1f} dB",
    ]


def _bound_lines(reader: Reader) -> list[str]:
    bounds = bound_file.bounds_in(reader)
    lines = [f"{bounds.conditional.azimuth.shape[0]} scenes of {bounds.source_model} sources"]
    for name, kind in (("conditional", bounds.conditional), ("unconditional", bounds.unconditional)):
        if kind is not None and not bool(kind.azimuth.isnan().all()):
            azimuth, elevation = (float(torch.rad2deg(v).nanmedian()) for v in (kind.azimuth, kind.elevation))
            lines.append(
                f"{name}, median: azimuth {azimuth:.3g} deg, elevation {elevation:.3g} deg, range "
                f"{float(kind.range.nanmedian()):.3g} m, position {float(kind.position.nanmedian()):.3g} m"
            )
    return lines


def _estimate_lines(reader: Reader) -> list[str]:
    return [
        f"{method.label}: {len(found.sources)} scenes, up to {found.sources.shape[1]} sources, "
        f"{int(found.resolved.sum())} scenes resolved, {found.cpu_seconds:.3g} s"
        for method, found in estimates_file.estimates_in(reader).items()
    ]


def _source_lines(reader: Reader) -> list[str]:
    found = sources_file.sources_in(reader)
    return [
        f"{len(found.scene)} sources in {len(found.scenes)} scenes by {found.estimator}, "
        f"{len(found.left_out)} scenes left out; from {', '.join(found.files)}"
    ]


def _checkpoint_lines(path: Path) -> list[str]:
    checkpoint = declared_checkpoint(path)
    if "calibration" not in checkpoint.content:
        return [
            f"{path}: risolve-checkpoint: the state of an interrupted stage, with "
            f"{', '.join(map(str, checkpoint.content))}",
            *_values(checkpoint.parameters),
        ]
    weights = weights_of(path, checkpoint.content, "network")
    n_weights = sum(value.numel() for value in weights.values())
    lines = [f"{path}: risolve-checkpoint: a trained network of {n_weights} weights, valid for"]
    lines += _values(checkpoint.parameters)
    lines += _calibration_lines(calibration_of(path, checkpoint.content))
    lines += map(_tuning_line, tunings_of(path, checkpoint.content))
    rows = [
        (name, str(value.dtype).removeprefix("torch."), tuple(value.shape)) for name, value in weights.items()
    ]
    return [*lines, "", *_table(rows)]


def _calibration_lines(calibration: Calibration) -> list[str]:
    lines = [f"blends R_pred with R_samp by (1 - beta) R_pred + beta R_samp, beta {calibration.blend_beta:g}"]
    rules = {"known": calibration.noise_known, "not known": calibration.noise_unknown}
    if set(rules.values()) == {OF_NETWORK}:
        return [*lines, "counts sources by the network alone; `calibrate` adds the likelihood"]
    return [
        *lines,
        "counts sources by P(K) = (1 - q) softmax_K S_K + q P_net(K), S_K = a log P_net(K) + "
        "sum_{j<K} [b h(D_j) + c / (1 + exp(-(D_j - 10) / 3)) - d - e s] - f log(1 + K), "
        "D_j = V_j - V_{j+1}, s = log(1 + SNR)",
        *(f"  noise power {name}: {_weights(rule)}" for name, rule in rules.items()),
    ]


def _weights(rule: CountRule) -> str:
    parts = [
        f"{name} " + ", ".join(f"{letter} {value:.4g}" for letter, value in zip("bcdef", own, strict=True))
        for name, own in (("independent", rule.independent), ("constant", rule.constant))
    ]
    return f"q {rule.missed:.4g}, a {rule.network:.4g}; {'; '.join(parts)}"


def _tuning_line(tuning: Tuning) -> str:
    scenes = f"{tuning.n_scenes} scenes of {', '.join(tuning.files)}, {tuning.n_held_back} of them held back"
    return (
        f"R_pred tuned on {scenes} (seed {tuning.seed}): learning rate {tuning.lr:g}, epoch "
        f"{tuning.best_epoch} of {tuning.epochs}, likelihood loss held back {tuning.loss_before:.5f}, then "
        f"{tuning.loss_after:.5f}"
    )


def _values(values: dict[str, Any], prefix: str = "  ") -> list[str]:
    return [
        f"{prefix}{section}: " + ", ".join(f"{k} {_told(v)}" for k, v in content.items())
        if isinstance(content, dict)
        else f"{prefix}{section}: {content}"
        for section, content in values.items()
    ]


def _told(value: Any) -> str:
    """A value, of a long list its beginning, as of the places of many elements."""
    return textwrap.shorten(str(value), _LONGEST) if isinstance(value, list) else str(value)


def _contents(reader: Reader) -> list[str]:
    attributes, objects = reader.contents()
    unread = {
        f"attribute {name}": value
        for name, value in attributes.items()
        if isinstance(value, Unread) and name not in objects
    }
    unread |= {name: held for name, held in objects.items() if isinstance(held, Unread)}
    return [
        *(
            f"attribute {name} = {' '.join(str(value).split())}"
            for name, value in attributes.items()
            if not isinstance(value, Unread)
        ),
        *_table([(name, str(held.dtype), held.shape) for name, held in reader.fields()]),
        *(f"{name} is not read: {held.law}" for name, held in unread.items()),
    ]


def _table(rows: list[tuple[str, str, tuple[int, ...]]]) -> list[str]:
    wide = max((len(name) for name, _, _ in rows), default=0)
    return [f"{name.ljust(wide)}  {kind:10s} {shape}" for name, kind, shape in rows]
