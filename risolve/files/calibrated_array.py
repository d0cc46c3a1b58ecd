"""An array as a calibration left it, in the units of a person."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Complex, Float

from risolve.calibration.array_calibration import ArrayCalibration
from risolve.files.located_sources import VALUES
from risolve.physics.array import Array
from risolve.physics.observation import Observation


@dataclass(frozen=True, repr=False, eq=False)
class CalibratedArray:
    """An array as its snapshots showed it.

    array: with the places found; element_gains, antenna_gains: complex, 1 where they were not unknown;
    heading_deg: of the array, or beside a surface the change of the sine of the azimuth at which it sees the
    base station, in degrees; coupling: complex, of elements nearest to each other; None where they were not
    unknown. truth: what was wrong of the truth, `azimuth_deg` and `elevation_deg`, which it lacks, `range_m`,
    which it lacks beside `range_scale` times what it states. deviations: standard deviations (`gain_db`,
    `gain_phase_deg`, `antenna_phase_deg`, `antenna_gain_db`, `position_m`, `heading_deg`, `coupling`, of its
    real and imaginary part, `truth_azimuth_deg`, ...), NaN of what is not told. not_told: what no snapshot
    tells, in words, and how it was fixed. outlying: (observation, scene) that leave much more than the others
    and weigh little. log_likelihood: of the nominal array and of this one, beside the same constant.
    left_out: a row a true source that was located with and without a calibration in which its place took no
    part; held_out: where no place was known, a row a scene, as likely as the nominal array makes it and a
    calibration in which it took no part; None where nothing was left out. is_better: whether that calibration
    was better, where not this is the nominal array. excess: (azimuth (rad), elevation (rad), inverse range
    (1/m)) root mean square of these errors beside their stated deviations, 0 where they are as stated; where
    no place was known, typical standard deviation by the deviations of the array; NaN where it is not known:
    `locate` adds it.
    """

    array: Array
    element_gains: Complex[np.ndarray, " element"]
    antenna_gains: Complex[np.ndarray, " antenna"]
    heading_deg: float | None
    coupling: complex | None
    truth: dict[str, float]
    deviations: dict[str, Float[np.ndarray, "..."]]
    not_told: tuple[str, ...]
    outlying: tuple[tuple[int, int], ...]
    log_likelihood: tuple[float, float]
    left_out: pd.DataFrame | None
    held_out: pd.DataFrame | None
    is_better: bool
    excess: Float[np.ndarray, "3"]
    calibration: ArrayCalibration

    def apply(self, observation: Observation) -> Observation:
        """The observation with its array, channel and gains as they are: what `locate` takes.

        Raises:
            TypeError: what is no observation.
            ValueError: one of another array.
        """
        if not isinstance(observation, Observation):
            raise TypeError(f"apply takes a risolve.Observation, got {type(observation).__name__}")
        return self.calibration.apply(observation)

    def widened(self, values: Float[np.ndarray, "row value"]) -> Float[np.ndarray, "row value"]:
        """Columns `VALUES` of sources located with this array: variances more by the squared excess."""
        more = np.nan_to_num(self.excess, nan=0.0)
        scale = {"azimuth_std_deg": np.rad2deg(more[0]), "elevation_std_deg": np.rad2deg(more[1])}
        columns = {name: values[:, VALUES.index(name)] for name in VALUES}
        squared = columns["range_m"] ** 2
        infinite = np.isinf(squared)
        by_range = np.where(infinite, 0.0, more[2] * np.where(infinite, 0.0, squared))
        held = values.copy()
        for name, beside in (
            *scale.items(),
            ("inverse_range_std_per_m", more[2]),
            ("range_std_m", by_range),
        ):
            held[:, VALUES.index(name)] = np.hypot(columns[name], beside)
        return held

    @property
    def single(self) -> tuple[str, ...]:
        """What was found in one number each, in words."""
        found = {"heading_deg": self.heading_deg, "coupling": self.coupling}
        found |= {f"truth_{name}": value for name, value in self.truth.items()}
        return tuple(f"{name} {value:.4g}" for name, value in found.items() if value is not None)

    def to_pandas(self) -> pd.DataFrame:
        """A row an element: its place, and its gain, with deviations where these were unknown."""
        places, gains = self.array.elements.numpy(), self.element_gains
        columns = dict(zip(("x_m", "y_m", "z_m"), places.T, strict=True))
        columns |= {"gain_db": 20.0 * np.log10(np.abs(gains)), "gain_phase_deg": np.rad2deg(np.angle(gains))}
        for name, stated in self.deviations.items():
            if name.startswith("gain"):
                columns[name.replace("gain", "gain_std", 1)] = stated
            elif name == "position_m":
                columns |= dict(zip(("x_std_m", "y_std_m", "z_std_m"), stated.T, strict=True))
        return pd.DataFrame({"element": np.arange(len(gains)), **columns})

    def __repr__(self) -> str:
        """What was found, in sizes, and what is not told."""
        spread = [
            f"{name} to {float(np.nanmedian(stated)):.3g}"
            for name, stated in self.deviations.items()
            if not np.isnan(stated).all()
        ]
        before, after = self.log_likelihood
        head = f"{len(self.element_gains)} elements: {', '.join(spread)}"
        found = [", ".join(self.single)] if self.single else []
        return "\n".join((head, *found, f"log-likelihood {before:.1f} to {after:.1f}", *self.not_told))
