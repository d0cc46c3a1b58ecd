"""Scenes of a file that were located and cannot be right, and sources beyond what was searched, in words."""

import math
from pathlib import Path

import numpy as np

from risolve.files.source import Chunk
from risolve.files.sources import VALUES, LocatedSources
from risolve.locating import Localizer
from risolve.physics.observation import estimated_snr
from risolve.physics.reception import static_share

_SIGMAS = 5.0
"""Standard errors 1 / sqrt(L M) by which the power received may fall below the noise power by chance."""


_AS_LIKELY = 7.0
"""Log-likelihood below which a rival is not ruled out: odds of a thousand."""

_STATIC = 0.5
"""Share of the power received that is the same under all codes, above that of the codes, and is no source."""

_ROUNDING = 1e-9
"""Of a place at a limit, degrees, or relative to a range."""


class Doubts:
    """Scenes whose noise power, count or fit cannot be right, and sources beyond what was searched."""

    def __init__(self, path: Path, localizer: Localizer, n_sources: int | None) -> None:
        self._path, self._searched, self._taken = path, localizer.searched, localizer.taken
        self._most = localizer.settings.counting.most if n_sources is None else None
        self._fits = localizer.refines or localizer.estimator.covariance_kind is None
        self._noisy: list[int] = []
        self._left: list[int] = []
        self._full: list[int] = []
        self._outside: list[int] = []
        self._at_limit: list[int] = []
        self._rivalled: list[int] = []
        self._static: list[int] = []

    def look(self, first_scene: int, chunk: Chunk, part: LocatedSources) -> None:
        """Count those of a chunk."""
        located = part.scenes[:, 1] - first_scene
        if chunk.observation is not None and chunk.observation.noise_power is not None:
            snr = estimated_snr(chunk.observation).numpy()
            n_numbers = chunk.observation.n_snapshots * chunk.observation.n_antennas
            noisy = np.array(chunk.scenes)[snr < -_SIGMAS / math.sqrt(n_numbers)]
            self._noisy += noisy[np.isin(noisy, located)].tolist()
        if chunk.observation is not None and chunk.observation.source_model == "constant":
            share = static_share(chunk.observation.snapshots, chunk.observation.codes).numpy()
            same = np.array(chunk.scenes)[share > _STATIC]
            self._static += same[np.isin(same, located)].tolist()
        self._full += located[part.scenes[:, 2] == self._most].tolist()
        first = part.source == 0
        if chunk.observation is not None and self._fits:
            n_numbers = chunk.observation.n_snapshots * chunk.observation.n_antennas
            poor = part.values[first, VALUES.index("misfit")] > 1.0 + _SIGMAS / math.sqrt(n_numbers / 2)
            self._left += (part.scene[first][poor] - first_scene).tolist()
        degrees = part.values[:, [VALUES.index("azimuth_deg"), VALUES.index("elevation_deg")]]
        limits = np.array([self._searched.azimuth_deg, self._searched.elevation_deg])
        beyond = ((degrees < limits[:, 0] - _ROUNDING) | (degrees > limits[:, 1] + _ROUNDING)).any(-1)
        nearer = part.values[:, VALUES.index("range_m")] < self._searched.range_m[0] * (1.0 - _ROUNDING)
        self._outside += (part.scene[beyond | nearer] - first_scene).tolist()
        at_limit = part.values[:, VALUES.index("at_limit")] == 1.0
        self._at_limit += (part.scene[at_limit] - first_scene).tolist()
        below = part.values[:, VALUES.index("log_likelihood")]
        below = below - part.values[:, VALUES.index("rival_log_likelihood")]
        self._rivalled += (part.scene[below < _AS_LIKELY] - first_scene).tolist()

    def lines(self) -> list[str]:
        """What was found, in words."""
        lines = []
        if self._taken is not None:
            lines.append(
                f"{self._path}: elements are on a line: {self._taken}, which is not stated, is taken as 0, "
                "and the place stands for the cone about the line"
            )
        if self._noisy:
            lines.append(
                f"{self._path}: noise_power: sigma^2 is more than the power received, mean |y|^2, in "
                f"{len(self._noisy)} scenes, the first {self._noisy[0]}: is it in the unit of |y|^2?"
            )
        if self._left:
            lines.append(
                f"{self._path}: noise_power: the sources leave more than sigma^2, misfit above 1, in "
                f"{len(self._left)} scenes, the first {self._left[0]}: is it in the unit of |y|^2, and are "
                "channel, codes and positions those of the measurement?"
            )
        if self._static:
            lines.append(
                f"{self._path}: most of what is received is the same under all codes in {len(self._static)} "
                f"scenes, the first {self._static[0]}, as a direct path beside the surface is: state "
                "background = static"
            )
        if self._full:
            lines.append(
                f"{self._path}: counting stopped at {self._most} sources, the most looked for, in "
                f"{len(self._full)} scenes, the first {self._full[0]}: some may stand for what "
                "the model lacks"
            )
        if self._outside:
            lines.append(
                f"{self._path}: {len(self._outside)} sources lie beside the field searched, or nearer, the "
                f"first in scene {self._outside[0]}: a wider field of view includes them"
            )
        if self._at_limit:
            lines.append(
                f"{self._path}: {len(self._at_limit)} sources are at a limit of the field of view, the first "
                f"in scene {self._at_limit[0]}: they may lie beyond, or be none"
            )
        if self._rivalled:
            lines.append(
                f"{self._path}: {len(self._rivalled)} sources are ambiguous, the first in scene "
                f"{self._rivalled[0]}: another place, rival_azimuth_deg and so on, is as likely, within "
                f"{_AS_LIKELY:g} of log-likelihood; narrower limits choose"
            )
        return lines
