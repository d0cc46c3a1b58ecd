"""Options that say what a file of another program has otherwise, or does not hold."""

import argparse
import io
from pathlib import Path

import numpy as np

from risolve.errors import MeasurementError
from risolve.files.naming import LIGHT, Naming, names_in
from risolve.files.regular import IrregularFileError, content

_MOST_BYTES = 10**7
"""Of a table of positions."""

_MODELS = {
    "source_model": {
        "independent": "amplitudes are free in every snapshot",
        "constant": "the same in all",
        "coherent": "of one waveform",
    },
    "amplitude": {"plane": "equal at all elements", "spherical": "falling with distance"},
    "background": {"none": "sources alone", "static": "and what is the same in all snapshots"},
    "noise": {"equal": "of one power at all antennas", "antennas": "of an unknown power at each"},
    "gains": {"free": "an amplitude a source", "equal": "one of all, constant or coherent, sources"},
    "delay": {"free": "phases between bands say nothing", "common": "bands of one clock tell range"},
}
"""Attributes of the format that say of what model the snapshots are, their values, and these in words."""

_LINE = "x y z of an element in every line (m)"


def add_naming(parser: argparse.ArgumentParser) -> None:
    """The options, all of them optional."""
    group = parser.add_argument_group("files of other programs (docs/files.md)")
    group.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME=THEIRS,...",
        help="names of the format, and what the file calls them: snapshots=X,positions=P,frequency_hz=f",
    )
    group.add_argument(
        "--frequency-hz",
        type=_frequencies,
        default=(),
        metavar="F[,F...]",
        help="in place of the wavelength; several of recorded sound",
    )
    group.add_argument(
        "--speed", type=float, default=LIGHT, metavar="M/S", help="of the waves; default that of light"
    )
    group.add_argument("--positions", type=Path, metavar="FILE", help=_LINE)
    group.add_argument(
        "--positions-in", choices=("m", "wavelengths"), default="m", help="unit of positions; default m"
    )
    group.add_argument("--conjugate", action="store_true", help="the phases have the other sign: e^{-j w t}")
    group.add_argument(
        "--snapshots", type=int, metavar="L", help="taken of a recording; of a covariance, those behind it"
    )
    group.add_argument(
        "--from", type=int, default=0, dest="first", metavar="SAMPLE", help="where to begin; default 0"
    )
    group.add_argument(
        "--window", type=int, default=1024, metavar="W", help="samples of a snapshot of sound; default 1024"
    )
    for name, choices in _MODELS.items():
        meant = "; ".join(f"{choice}: {words}" for choice, words in choices.items())
        group.add_argument(f"--{name.replace('_', '-')}", choices=tuple(choices), help=meant)
    group.add_argument("--noise-power", type=float, metavar="P", help="of all scenes, in |snapshots|^2")


def naming_of(arguments: argparse.Namespace) -> Naming:
    """What the options say.

    Raises:
        MeasurementError: a name that the format does not have, a number that is none, or no table.
    """
    return Naming(
        names=names_in(arguments.map),
        frequency_hz=arguments.frequency_hz[0] if len(arguments.frequency_hz) == 1 else None,
        bands_hz=arguments.frequency_hz if len(arguments.frequency_hz) > 1 else (),
        speed=arguments.speed,
        positions=None if arguments.positions is None else _positions(arguments.positions),
        in_wavelengths=arguments.positions_in == "wavelengths",
        is_conjugate=arguments.conjugate,
        noise_power=arguments.noise_power,
        n_snapshots=arguments.snapshots,
        first=arguments.first,
        window=arguments.window,
        attributes=tuple(
            (name, value) for name in _MODELS if (value := getattr(arguments, name)) is not None
        ),
    )


def _frequencies(text: str) -> tuple[float, ...]:
    """Numbers with commas between.

    Raises:
        ArgumentTypeError: none.
    """
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"F or F,F,..., frequencies in Hz; got {text!r}") from None


def _positions(path: Path) -> tuple[tuple[float, ...], ...]:
    """x, y and z in every line, with commas or spaces between."""
    try:
        text = content(path, _MOST_BYTES).decode("utf-8").replace(",", " ")
        table = np.loadtxt(io.StringIO(text), ndmin=2) if text.strip() else np.empty((0, 3))
    except (IrregularFileError, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise MeasurementError(
            f"--positions {path}: x y z of an element in every line (m); {said}"
        ) from error
    if table.shape[1:] != (3,) or not len(table):
        raise MeasurementError(
            f"--positions {path}: x y z of an element in every line (m), got {table.shape}"
        )
    return tuple(map(tuple, table.tolist()))
