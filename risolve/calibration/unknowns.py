"""What may be unknown of an array, as one vector theta, and how snapshots depend on it.

    y_l = diag(h) H diag(g) (I + c T) diag(c_l) A(e, x) s_l + n_l

    gains           g_n = exp(alpha_n + j phi_n) of every element                theta: alpha, phi
    antenna_phases  h_m = exp(j psi_m) of every antenna behind the channel       theta: psi
    antenna_gains   |h_m| = exp(beta_m)                                          theta: beta
    positions       e_n = T (e0_n + d_n)                                         theta: k d, x then y then z
    heading         of an array: T, a turn about y by eta to the right           theta: rho k eta
                    beside a surface: g_n exp(j k x_n eta), eta the change of the sine of the azimuth at which
                    the surface sees the base station
    coupling        c of elements that are nearest to each other                 theta: Re c, Im c
    truth_azimuth, truth_elevation, truth_range, truth_scale: what is stated of sources at known places is
                    wrong by the same: azimuth and elevation + delta, range e^kappa r + d
                                                                            theta: r_0 k delta, k d, kappa

All of theta is in radians of phase and nepers at an element, rho the root mean square distance of the
elements from the axis of the turn (beside a surface, of their x), r_0 that from the centre: numbers of about
one size.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from risolve.calibration.array_calibration import ArrayCalibration, neighbours
from risolve.physics.array import Array
from risolve.physics.observation import Observation, sensing

OF_TRUTH = ("truth_azimuth", "truth_elevation", "truth_range", "truth_scale")

NAMES = ("gains", "antenna_phases", "antenna_gains", "positions", "heading", "coupling", *OF_TRUTH)

_LEAST_REACH = 0.01
"""Of a wavelength."""


class Priors(NamedTuple):
    """Standard deviations from the nominal array, None where none is stated: of log |g_n| (nepers) and of arg
    g_n (rad) of `gains`, of each coordinate of `positions` (m).
    """

    log_gain: float | None
    phase: float | None
    position: float | None

    @property
    def stated(self) -> tuple[tuple[str, str, float | None], ...]:
        """Name, the unknowns that it is of, and value of each."""
        return (
            ("gain_deviation", "gains", self.log_gain),
            ("phase_deviation", "gains", self.phase),
            ("position_deviation", "positions", self.position),
        )


@dataclass(frozen=True, eq=False)
class Unknowns:
    """The unknown parts of theta, in the order of `NAMES`, and what is known of them before: `Priors`."""

    names: tuple[str, ...]
    array: Array
    n_antennas: int
    priors: Priors

    def __post_init__(self) -> None:
        wrong = [name for name in self.names if name not in NAMES]
        if wrong or not self.names or self.names != tuple(name for name in NAMES if name in self.names):
            raise ValueError(f"unknown are some of {', '.join(NAMES)}, each once; got {list(self.names)}")
        if self.is_array and (behind := [name for name in self.names if name.startswith("antenna")]):
            raise ValueError(
                f"{' and '.join(behind)} are those behind a channel; of {self.n_antennas} antennas that are "
                "the elements of the array, take gains"
            )
        for name, needed, tau in self.priors.stated:
            if tau is not None and needed not in self.names:
                raise ValueError(f"{name} is of {needed}, which are not unknown here; got {list(self.names)}")
            if tau is not None and not (math.isfinite(tau) and tau > 0.0):
                raise ValueError(
                    f"{name} is a standard deviation, positive and finite, or not stated; got {tau:g}"
                )
        if "positions" in self.names and self.priors.position is None:
            raise ValueError(
                "positions are unknown by a standard deviation (m), position_deviation; got none"
            )
        if "heading" in self.names and not self.lever > 0.0:
            raise ValueError(
                "heading is a turn about y, which moves no element of a line along y; leave it out"
            )

        if "coupling" in self.names and self.array.n_elements < 2:
            raise ValueError("coupling is between two elements or more; got an array of 1: leave it out")

    @property
    def is_array(self) -> bool:
        """Whether the antennas are the elements, and there is no surface."""
        return self.n_antennas == self.array.n_elements

    @property
    def wavenumber(self) -> float:
        """k (rad/m)."""
        return 2.0 * math.pi / self.array.wavelength

    @property
    def lever(self) -> float:
        """rho (m)."""
        x, _, z = self.array.elements.unbind(-1)
        return float((x.square() + (z.square() if self.is_array else 0.0)).mean().sqrt())

    @property
    def reach(self) -> float:
        """r_0 (m)."""
        own = float(self.array.elements.square().sum(-1).mean().sqrt())
        return max(own, _LEAST_REACH * self.array.wavelength)

    @property
    def parts(self) -> dict[str, slice]:
        """Where in theta each unknown stands."""
        N, M = self.array.n_elements, self.n_antennas
        sizes = {"gains": 2 * N, "antenna_phases": M, "antenna_gains": M, "positions": 3 * N}
        sizes |= {"heading": 1, "coupling": 2} | dict.fromkeys(OF_TRUTH, 1)
        parts, first = {}, 0
        for name in self.names:
            parts[name] = slice(first, first + sizes[name])
            first += sizes[name]
        return parts

    @property
    def size(self) -> int:
        """P, numbers of theta."""
        return max(int(part.stop) for part in self.parts.values())

    @property
    def prior(self) -> Float[Tensor, " unknown"]:
        """1 / (2 tau^2) of every number of theta, 0 where nothing is known."""
        deviation = torch.full((self.size,), torch.inf, dtype=torch.float64)
        N, priors = self.array.n_elements, self.priors
        if priors.log_gain is not None:
            deviation[self.parts["gains"]][:N] = priors.log_gain
        if priors.phase is not None:
            deviation[self.parts["gains"]][N:] = priors.phase
        if priors.position is not None:
            deviation[self.parts["positions"]] = self.wavenumber * priors.position
        return 0.5 / deviation.square()

    def nothing(self) -> Float[Tensor, " unknown"]:
        """theta of the nominal array."""
        return torch.zeros(self.size, dtype=torch.float64)

    def calibration(self, theta: Float[Tensor, " unknown"]) -> ArrayCalibration:
        """The array that theta makes of the nominal one."""
        held = {name: theta[part] for name, part in self.parts.items()}
        n_elements, k = self.array.n_elements, self.wavenumber
        elements = self.array.elements
        log_gain = torch.zeros(n_elements, dtype=torch.complex128)
        log_antenna = torch.zeros(self.n_antennas, dtype=torch.complex128)
        if "gains" in held:
            log_gain = torch.complex(*held["gains"].chunk(2))
        if "antenna_phases" in held:
            log_antenna = log_antenna + 1j * held["antenna_phases"]
        if "antenna_gains" in held:
            log_antenna = log_antenna + held["antenna_gains"]
        if "positions" in held:
            elements = elements + held["positions"].reshape(3, n_elements).mT / k
        heading = None
        if "heading" in held:
            heading = float(held["heading"]) / (self.lever * k)
            if self.is_array:
                elements = elements @ _turn(heading).mT
            else:
                log_gain = log_gain + 1j * k * heading * self.array.elements[:, 0]
        return ArrayCalibration(
            nominal=self.array,
            array=replace(self.array, elements=elements),
            element_gains=log_gain.exp(),
            antenna_gains=log_antenna.exp(),
            heading=heading,
            coupling=complex(*held["coupling"].tolist()) if "coupling" in held else None,
        )

    def truth(self, theta: Float[Tensor, " unknown"]) -> dict[str, float]:
        """delta (rad), d (m) and e^kappa of what is unknown of the truth, by their names."""
        unit = {"truth_azimuth": self.reach, "truth_elevation": self.reach, "truth_range": 1.0}
        found = {}
        for name in self.names:
            if name in OF_TRUTH:
                value = float(theta[self.parts[name]])
                is_scale = name == "truth_scale"
                found[name] = math.exp(value) if is_scale else value / (unit[name] * self.wavenumber)
        return found

    def true_places(
        self,
        theta: Float[Tensor, " unknown"],
        stated: Float[Tensor, "scene source 3"],
        is_stated: Bool[Tensor, "scene source 3"],
    ) -> tuple[Float[Tensor, "scene source 3"], Float[Tensor, "scene source 3 unknown"]]:
        """Places that a truth means, w = w_0 / (e^kappa + d w_0) for an inverse range, and dx/d theta; NaN
        where the range is not positive.
        """
        off = dict.fromkeys(OF_TRUTH, 0.0) | {"truth_scale": 1.0} | self.truth(theta)
        azimuth, elevation, by_range = stated.unbind(-1)
        larger = off["truth_scale"] + off["truth_range"] * by_range
        larger = torch.where(larger > 0.0, larger, torch.nan)
        w = by_range / larger
        moved = torch.stack((azimuth + off["truth_azimuth"], elevation + off["truth_elevation"], w), -1)
        slopes = torch.zeros((*stated.shape, self.size), dtype=torch.float64)
        for name in self.truth(theta):
            slope, column = slopes[..., self.parts[name].start], OF_TRUTH.index(name)
            if column < 2:
                slope[..., column] = 1.0 / (self.reach * self.wavenumber)
            elif name == "truth_range":
                slope[..., 2] = -w.square() / self.wavenumber
            else:
                slope[..., 2] = -w * off["truth_scale"] / larger
        return torch.where(is_stated, moved, stated), slopes * is_stated[..., None]

    def slopes(
        self,
        theta: Float[Tensor, " unknown"],
        observation: Observation,
        sources: Float[Tensor, "scene source 3"],
        amplitudes: Complex[Tensor, "scene #snapshot source"],
        fitted: Complex[Tensor, "scene snapshot antenna"],
    ) -> Complex[Tensor, "scene snapshot antenna unknown"]:
        """d(G_l s_l)/d theta at places that stay; fitted: G_l s_l."""
        calibration = self.calibration(theta)
        seen = calibration.of(observation)
        gained = replace(calibration, coupling=None).of(observation).channel[:, None]
        through = sensing(seen)
        coded = observation.codes * (amplitudes @ seen.array.steering(sources))
        mixed = coded if calibration.mixing is None else coded @ calibration.mixing
        columns = []
        for name in self.names:
            if name == "gains":
                by_gain = gained * mixed[:, :, None]
                columns.append(torch.cat((by_gain, 1j * by_gain), -1))
            elif name == "coupling":
                near = neighbours(self.array.elements).to(coded.dtype)
                by_real = gained @ (coded @ near)[..., None]
                columns.append(torch.cat((by_real, 1j * by_real), -1))
            elif name in OF_TRUTH:
                columns.append(torch.zeros_like(fitted)[..., None])
            elif name in ("antenna_phases", "antenna_gains"):
                columns.append((1j if name == "antenna_phases" else 1.0) * torch.diag_embed(fitted))
            elif name == "heading" and not self.is_array:
                bent = 1j * self.array.elements[:, 0] / self.lever * mixed
                columns.append(gained @ bent[..., None])
            else:
                by_place = torch.einsum(
                    "slk,skin->slin", amplitudes, seen.array.steering_by_elements(sources)
                )
                columns.append(self._by_places(name, theta, through, by_place))
        whole: Tensor = torch.cat(columns, -1)
        return whole

    def _by_places(
        self,
        name: str,
        theta: Float[Tensor, " unknown"],
        through: Complex[Tensor, "#scene snapshot antenna element"],
        by_place: Complex[Tensor, "scene #snapshot 3 element"],
    ) -> Complex[Tensor, "scene snapshot antenna column"]:
        """Columns of the positions, or of the heading of an array: T and its derivative before e0 + d."""
        calibration = self.calibration(theta)
        k = self.wavenumber
        if name == "positions":
            if self.is_array and calibration.heading is not None:
                turn = _turn(calibration.heading).to(by_place.dtype)
                by_place = torch.einsum("ji,sljn->slin", turn, by_place)
            return (through[..., None, :] * by_place[:, :, None]).flatten(-2) / k
        # T(eta + d) = T(d) T(eta)
        x, _, z = calibration.array.elements.unbind(-1)
        moved = (z * by_place[:, :, 0] - x * by_place[:, :, 2]) / (k * self.lever)
        return through @ moved[..., None]


def _turn(angle: float) -> Float[Tensor, "3 3"]:
    """T: a turn about y, which takes the boresight z to the azimuth `angle`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]], dtype=torch.float64)
