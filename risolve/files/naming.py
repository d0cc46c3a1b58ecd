"""What a user says of a file that another program wrote: names, units, signs, and what it does not hold."""

from collections.abc import Sequence
from dataclasses import dataclass

from risolve.errors import MeasurementError

LIGHT = 299_792_458.0
"""m/s"""

STATED = ("source_model", "amplitude", "background", "noise", "gains", "delay")
"""Attributes that say of what model the snapshots are."""

NUMBERS = ("wavelength_m", "frequency_hz", "sample_rate_hz", "n_snapshots", *STATED)
"""Attributes that a name may stand for."""

ARRAYS = (
    *("snapshots", "samples", "covariance", "channel", "codes", "element_positions_m"),
    *("noise_power", "noise_covariance"),
    *("truth", "truth/n_sources", "truth/azimuth_deg", "truth/elevation_deg", "truth/range_m"),
)
_SHORT = {"positions": "element_positions_m", "wavelength_hz": "frequency_hz"}


@dataclass(frozen=True)
class Naming:
    """What is called or counted otherwise, or is not in the file.

    names: names of the format, and what the file has for them. frequency_hz: in place of the wavelength;
    bands_hz: several, of recorded sound, in its place.
    speed: of the waves (m/s). positions: of the elements (m). in_wavelengths: positions are multiples of the
    wavelength. is_conjugate: phases have the other sign. n_snapshots: taken of a recording; of a covariance,
    those that it is the mean of. first: sample of a recording to begin with. window: samples of a snapshot of
    sound. attributes: of the format, in place of those of the file.
    """

    names: tuple[tuple[str, str], ...] = ()
    frequency_hz: float | None = None
    bands_hz: tuple[float, ...] = ()
    speed: float = LIGHT
    positions: tuple[tuple[float, ...], ...] | None = None
    in_wavelengths: bool = False
    is_conjugate: bool = False
    noise_power: float | None = None
    n_snapshots: int | None = None
    first: int = 0
    window: int = 1024
    attributes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--frequency-hz", self.frequency_hz, 0.0),
            *(("--frequency-hz", frequency, 0.0) for frequency in self.bands_hz),
            ("--speed", self.speed, 0.0),
            ("--noise-power", self.noise_power, 0.0),
        ):
            if value is not None and not least < value < float("inf"):
                raise MeasurementError(f"{option}: a positive, finite number, got {value:g}")
        for option, count, fewest in (
            ("--snapshots", self.n_snapshots, 1),
            ("--from", self.first, 0),
            ("--window", self.window, 2),
        ):
            if count is not None and count < fewest:
                raise MeasurementError(f"{option}: {fewest} or more, got {count}")


PLAIN = Naming()
"""Names, units and signs of the format."""


def names_in(pairs: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names of the format with those of a file, of texts as snapshots=X,positions=P.

    Raises:
        MeasurementError: another name, a name twice, or no pair.
    """
    found: dict[str, str] = {}
    for pair in (pair for text in pairs for pair in text.split(",")):
        name, _, theirs = (part.strip() for part in pair.partition("="))
        own = _SHORT.get(name, name)
        if not theirs or own not in (*NUMBERS, *ARRAYS):
            known = ", ".join((*ARRAYS, *NUMBERS))
            raise MeasurementError(f"--map: NAME=THEIRS,... with NAME one of {known}; got {pair!r}")
        if own in found:
            raise MeasurementError(f"--map: {own} once, got {found[own]} and {theirs}")
        found[own] = theirs
    return tuple(found.items())
