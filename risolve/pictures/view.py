"""One scene as it is drawn: what was seen, where sources were looked for, found, and are."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.field import Searched
from risolve.files.located_sources import VALUES
from risolve.inference.assessment import likelihood_at
from risolve.inference.detection import CHUNK_VALUES, detectors, explained, gains
from risolve.inference.grid import Grid
from risolve.inference.rivals import AS_LIKELY
from risolve.metrics.assignment import pair
from risolve.physics.geometry import aperture, fraunhofer_distance, turned
from risolve.physics.observation import Observation

MOST_SCENES = 12
"""Scenes of one figure."""

_LEAST = 1e-6
"""Share of the energy received that is drawn as none: -60 dB."""

_BEYOND, _FOCI = 2.0, 8.0
"""How far to nearer ranges a picture reaches, in 1/r: times the nearest source, and over the Fraunhofer
distance at least, or with a common delay times the farthest that may be.
"""


class Shot(NamedTuple):
    """Which scene it is: the name of its file, "" for none, its number there, and the estimator."""

    file: str
    scene: int
    estimator: str


@dataclass(frozen=True, eq=False)
class View:
    """A scene with the sources located in it.

    observation: of this scene alone, with what is stated of places. searched: where sources were looked for.
    sources: (azimuth (rad), elevation (rad), inverse range (1/m)), azimuths of all places within half a turn
    of the middle of what was searched. covariance: of the errors of each, NaN
    where it is not known, 0 of a coordinate that is. rivals: another place of each that answers nearly alike,
    NaN where there is none. truth: row k the true place of source k, NaN where it
    has none, then those of no source; None where no truth is known.
    """

    shot: Shot
    observation: Observation
    searched: Searched
    sources: Float[Tensor, "source 3"]
    covariance: Float[Tensor, "source 3 3"]
    power_db: Float[Tensor, " source"]
    rivals: Float[Tensor, "source 3"]
    truth: Float[Tensor, "truth 3"] | None

    @property
    def n_sources(self) -> int:
        return self.sources.shape[0]

    @property
    def deviations(self) -> Float[Tensor, "source 3"]:
        """Standard deviations of the coordinates."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()

    @property
    def true(self) -> Float[Tensor, "place 3"]:
        """True places, those of no source last; none where no truth is known."""
        return self.sources[:0] if self.truth is None else self.truth[self.truth.isfinite().all(-1)]

    @property
    def places(self) -> Float[Tensor, "place 3"]:
        """Located places, their rivals and true places together."""
        return torch.cat((self.sources, self.rivals[self.rivals.isfinite().all(-1)], self.true))

    @property
    def free(self) -> list[bool]:
        """Which of azimuth, elevation and range are unknown."""
        unknown: list[bool] = self.observation.limits.is_free.tolist()
        return unknown

    @property
    def focus(self) -> Float[Tensor, " 3"]:
        """The strongest source; without one the middle of what was searched, as far away as that reaches."""
        if self.n_sources:
            return self.sources[self.power_db.nan_to_num(nan=-math.inf).argmax()]
        ends = self.window
        return torch.tensor([sum(ends[0]) / 2.0, sum(ends[1]) / 2.0, ends[2][0]], dtype=torch.float64)

    @property
    def window(self) -> list[tuple[float, float]]:
        """Ends of each coordinate: what was searched, and every place beside it."""
        limits, array = self.observation.limits, self.observation.array
        away = fraunhofer_distance(aperture(array.elements), array.wavelength)
        least = float(limits.low[2])
        # a delay is as sharp far away as near, and would be lost between points of a wide window
        wide = _FOCI / away if math.isinf(array.unambiguous_range) else _BEYOND * least
        near = max(_BEYOND * float(self.places[:, 2].amax()) if len(self.places) else 0.0, wide)
        ends = [
            *(np.deg2rad(angles).tolist() for angles in self.searched[:2]),
            [least, max(least, min(1.0 / self.searched.range_m[0], near))],
        ]
        return [
            (min([low, *own]), max([high, *own]))
            for (low, high), own in zip(ends, self.places.mT.tolist(), strict=True)
        ]

    def explained_db(
        self, places: Float[Tensor, "place 3"], beside: Float[Tensor, "other 3"]
    ) -> Float[Tensor, " place"]:
        """Share of the energy received that one source at each place explains beside others, in dB.

            10 log10( (J(others) - J(others, x)) / sum_l |y_l|^2 ),   J = sum_l |P_{G_l}^perp y_l|^2

        Without others and without a surface it is the spectrum of the conventional beamformer; along the
        coordinates of a source, beside the others, the concentrated likelihood in which it is the maximum. Of
        equal gains it is the share that all of them explain, without J(others).
        """
        observation = self.observation
        n_numbers = observation.n_snapshots * observation.n_antennas
        parts = []
        for part in places.split(max(1, CHUNK_VALUES // max(n_numbers, observation.n_elements))):
            inside = torch.ones(len(part), dtype=torch.bool)
            grid = Grid((len(part), 1, 1), part, part, inside, around=True)
            ((_, detector),) = detectors(observation, grid)
            parts.append(gains(detector, explained(detector, beside[None, None]))[0, 0])
        # on unit scale sum_l |y_l|^2 = L M
        return 10.0 * torch.log10((torch.cat(parts).double() / n_numbers).clamp_min(_LEAST))


def view_of(
    shot: Shot,
    observation: Observation,
    row: int,
    searched: Searched,
    values: Float[np.ndarray, "source value"],
) -> View:
    """The view of a row of an observation from its rows of located sources, without a truth."""
    sources, rivals = (
        torch.from_numpy(values[:, [VALUES.index(name) for name in names]])
        for names in (
            ("azimuth_deg", "elevation_deg", "inverse_range_per_m"),
            ("rival_azimuth_deg", "rival_elevation_deg", "rival_range_m"),
        )
    )
    rivals = torch.cat((torch.deg2rad(rivals[:, :2]), 1.0 / rivals[:, 2:]), -1)
    below = values[:, VALUES.index("log_likelihood")] - values[:, VALUES.index("rival_log_likelihood")]
    rivals = rivals.masked_fill(torch.from_numpy(~(below < AS_LIKELY))[:, None], torch.nan)
    sources = torch.cat((torch.deg2rad(sources[:, :2]), sources[:, 2:]), -1)
    sources, rivals = (turned(places, searched.middle) for places in (sources, rivals))
    own = observation.select(slice(row, row + 1))
    return View(
        shot,
        own,
        searched,
        sources,
        _covariance(own, sources, values),
        torch.from_numpy(values[:, VALUES.index("power_db")]),
        rivals,
        None,
    )


def _covariance(
    own: Observation, sources: Float[Tensor, "source 3"], values: Float[np.ndarray, "source value"]
) -> Float[Tensor, "source 3 3"]:
    """Of the errors of each source: the stated deviations, with the correlations of the likelihood."""
    covariance = likelihood_at(own, sources[None]).covariance[0]
    names = ("azimuth_std_deg", "elevation_std_deg", "inverse_range_std_per_m")
    stated = torch.from_numpy(values[:, [VALUES.index(name) for name in names]])
    stated = torch.cat((torch.deg2rad(stated[:, :2]), stated[:, 2:]), -1)
    of_likelihood = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    # 0 of a coordinate that is known
    factor = torch.where(of_likelihood == 0.0, 1.0, stated / of_likelihood)
    return covariance * factor[:, :, None] * factor[:, None, :]


def beside_truth(view: View, truth: Float[np.ndarray, "truth 3"], tolerance: float) -> View:
    """The same scene with its true places, paired with the located ones as `pair` has it."""
    pairs = pair(truth, view.sources.numpy(), tolerance)
    beside = np.full((view.n_sources, 3), np.nan)
    beside[pairs.estimate] = truth[pairs.truth]
    true = torch.from_numpy(np.concatenate((beside, truth[pairs.missed])))
    return replace(view, truth=turned(true, view.searched.middle))
