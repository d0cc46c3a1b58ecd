"""Located sources as a table: one record of the sources of scenes, row by row, and its columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from risolve.inference.tracking import Scene, follow, learned_motion, require_tracking

VALUES = (
    *("azimuth_deg", "elevation_deg", "range_m", "x_m", "y_m", "z_m", "power_db"),
    *("azimuth_std_deg", "elevation_std_deg", "range_std_m"),
    *("inverse_range_per_m", "inverse_range_std_per_m", "log_likelihood", "misfit", "at_limit"),
    *("rival_azimuth_deg", "rival_elevation_deg", "rival_range_m", "rival_log_likelihood"),
)
"""Columns beside file, scene and source.

Standard deviations are NaN of coordinates that were stated as numbers. misfit: J of the scene over its mean
at a true model, sigma^2 (L M - (a + c/2) K) with a = L (`independent`) or 1 (`constant`) amplitudes and c
unknown coordinates a source; NaN where the noise power is not given. at_limit: 1 where a coordinate of the
source is at a limit, stated or of what the array sees, or its peak at an end of the ranges searched; 0
elsewhere. rival: another place of the source that
answers nearly alike, and the log-likelihood of the scene with the source there; NaN where there is none.
"""

CONFIDENCE = "count_confidence"

SCENE_VALUES = (CONFIDENCE, "explained", "fits", "beyond_training", "resolved", "robust")
"""Columns of scenes, also of those without a source.

count_confidence: stated probability that n_sources is right, NaN where the number was told, or the estimator
states none. explained: share of the energy received that the sources explain, 0 without one. fits:
probability that what is left of a true model looks as little like white noise (`inference.goodness`); NaN
where nothing is left. beyond_training: probability that the scene is beyond what the network was trained on
(`networks.beyond`); NaN of estimators without one, and of peaks. resolved: 1 where the estimator tells
all sources of the scene apart, 0 where not. robust: 1 where the model does not fit and deviations
are those of such a one (`inference.robust`), else 0; NaN of peaks.
"""

TRACK = "track"
"""Column of what was tracked."""

ORDERS = ("power", "azimuth", "elevation", "range", TRACK)
"""What sources of a scene may be ordered by."""

GAP, GATE = 3, 0.001
"""Scenes without its source that a track survives, and the probability that a source of a track is shut out,
where nothing is said.
"""

Result = TypeVar("Result", bound="LocatedSources")


@dataclass(frozen=True, repr=False, eq=False)
class LocatedSources:
    """Sources of scenes of one or several files, row by row; `values` has the columns `VALUES`.

    scenes: (file, scene, n_sources) of every scene that was located, scene_values: its columns
    `SCENE_VALUES`. left_out: (file, scene, reason) of every other one. file is a number into `files`. track:
    which source of the scenes of its file it is, from 0; None of what was not tracked.
    """

    estimator: str
    files: tuple[str, ...]
    file: Int[np.ndarray, " row"]
    scene: Int[np.ndarray, " row"]
    source: Int[np.ndarray, " row"]
    values: Float[np.ndarray, "row value"]
    scenes: Int[np.ndarray, "located 3"]
    scene_values: Float[np.ndarray, "located column"]
    left_out: tuple[tuple[int, int, str], ...]
    track: Int[np.ndarray, " row"] | None = None

    @property
    def count_confidence(self) -> Float[np.ndarray, " located"]:
        """Stated probability that the number of sources is right, of every located scene."""
        return self.scene_values[:, SCENE_VALUES.index(CONFIDENCE)]

    @property
    def explained(self) -> Float[np.ndarray, " located"]:
        """Share of the energy received that the sources explain, of every located scene."""
        return self.scene_values[:, SCENE_VALUES.index("explained")]

    @property
    def fits(self) -> Float[np.ndarray, " located"]:
        """Probability that a true model leaves as little like white noise, of every located scene."""
        return self.scene_values[:, SCENE_VALUES.index("fits")]

    @property
    def beyond_training(self) -> Float[np.ndarray, " located"]:
        """Probability that a scene is beyond what the network was trained on, of every located scene."""
        return self.scene_values[:, SCENE_VALUES.index("beyond_training")]

    @property
    def resolved(self) -> Float[np.ndarray, " located"]:
        """1 where the estimator tells all sources of a scene apart, else 0, of every located scene."""
        return self.scene_values[:, SCENE_VALUES.index("resolved")]

    @property
    def robust(self) -> Float[np.ndarray, " located"]:
        """1 where deviations are those of a model that does not fit, else 0; NaN of peaks."""
        return self.scene_values[:, SCENE_VALUES.index("robust")]

    def __getitem__(self, column: str) -> Shaped[np.ndarray, " row"]:
        """A column, one number a source, as `to_pandas` has it.

        Raises:
            KeyError: there is no such column.
        """
        names = self.columns
        if column not in names:
            raise KeyError(f"{column!r} is no column; there are {', '.join(names)}")
        if column in VALUES:
            return self.values[:, VALUES.index(column)]
        held: Shaped[np.ndarray, " row"] = self.to_pandas()[column].to_numpy()
        return held

    __iter__ = None

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""
        return header(len(self.files) > 1, self.track is not None)

    def __len__(self) -> int:
        """Sources of all scenes."""
        return int(self.scene.size)

    def to_pandas(self) -> pd.DataFrame:
        """A row a source: the columns of a result file."""
        return pd.DataFrame(list(self.rows()), columns=list(self.columns))

    def __repr__(self) -> str:
        """The first sources, their number and the estimator."""
        named = ("scene", "source", *((TRACK,) if TRACK in self else ()), *VALUES[:3])
        shown = self.to_pandas()[[*named, "power_db", "explained", "fits"]].round(4)
        head = f"{len(shown)} sources in {len(self.scenes)} scenes, by {self.estimator}"
        return f"{head}\n{shown.to_string(index=False, max_rows=12)}" if len(shown) else head

    def of_scenes(self) -> Iterator[tuple[int, Float[np.ndarray, "source value"]]]:
        """(scene, its rows of `values`) of every located scene, in order."""
        ends = self.scenes[:, 2].cumsum()
        for (_, scene, _), own in zip(
            self.scenes.tolist(), np.split(self.values, ends[:-1]) if ends.size else [], strict=True
        ):
            yield scene, own

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row a source; the file is named where there are several."""
        of_scene = np.repeat(self.scene_values, self.scenes[:, 2], axis=0).tolist()
        for number in range(self.file.size):
            named = {"file": self.files[int(self.file[number])]} if len(self.files) > 1 else {}
            place = {"scene": int(self.scene[number]), "source": int(self.source[number])}
            if self.track is not None:
                place[TRACK] = int(self.track[number])
            values = dict(zip(VALUES, self.values[number].tolist(), strict=True))
            yield {**named, **place, **values, **dict(zip(SCENE_VALUES, of_scene[number], strict=True))}

    def ordered(self: Result, by: str) -> Result:
        """The sources of every scene in another order: by power the strongest first, by azimuth, elevation,
        range and track the least first. What has equal values, or none, which stands last, stays as it is.

        Raises:
            ValueError: an order that is none of these, or by tracks of what was not tracked.
        """
        if by not in ORDERS:
            raise ValueError(f"sources are ordered by {', '.join(ORDERS)}; got {by!r}")
        if by == TRACK:
            if self.track is None:
                raise ValueError("sources are ordered by track where they have one: track them before")
            key = self.track
        else:
            names = {"power": "power_db", "range": "range_m"}
            column = self.values[:, VALUES.index(names.get(by, f"{by}_deg"))]
            key = -column if by == "power" else column
        rows = np.lexsort((key, np.repeat(np.arange(len(self.scenes)), self.scenes[:, 2])))
        return replace(self, values=self.values[rows], track=None if self.track is None else self.track[rows])

    def tracked(self: Result, gap: int = GAP, gate: float = GATE) -> Result:
        """With the tracks of sources over the scenes of each file, which move as its first scenes tell.

        gap: scenes without its source, in a row, that a track survives, those that were left out among them.
        gate: probability that a source of a track is shut out because it is too far from where it was
        expected. Method: `inference.tracking`.

        Raises:
            ValueError: a gap below 0, or a probability that is none.
        """
        require_tracking(gap, gate)
        track = np.full(len(self), -1, dtype=np.int64)
        ends = self.scenes[:, 2].cumsum()
        for file in range(len(self.files)):
            own = np.flatnonzero(self.scenes[:, 0] == file)
            scenes = [
                _placed(int(self.scenes[at, 1]), self.values[ends[at] - self.scenes[at, 2] : ends[at]])
                for at in own
            ]
            motion = learned_motion(scenes, gap, gate)
            track[self.file == file] = np.concatenate([track[:0], *follow(scenes, motion, gap, gate).tracks])
        return replace(self, track=track)


def _placed(number: int, values: Float[np.ndarray, "source value"]) -> Scene:
    """The places of a scene from its rows of `VALUES`."""
    places, deviations = (
        values[:, [VALUES.index(name) for name in names]] * (*[np.pi / 180.0] * 2, 1.0)
        for names in (
            ("azimuth_deg", "elevation_deg", "inverse_range_per_m"),
            ("azimuth_std_deg", "elevation_std_deg", "inverse_range_std_per_m"),
        )
    )
    return Scene(number, places, deviations)


def no_sources(estimator: str, files: tuple[str, ...]) -> LocatedSources:
    """The result of no scene."""
    none = np.zeros(0, dtype=np.int64)
    return LocatedSources(
        estimator=estimator,
        files=files,
        file=none,
        scene=none,
        source=none,
        values=np.zeros((0, len(VALUES))),
        scenes=np.zeros((0, 3), dtype=np.int64),
        scene_values=np.zeros((0, len(SCENE_VALUES))),
        left_out=(),
    )


def joined(parts: Sequence[LocatedSources]) -> LocatedSources:
    """Parts of one result, in order."""

    def together(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return LocatedSources(
        estimator=parts[0].estimator,
        files=parts[0].files,
        file=together("file"),
        scene=together("scene"),
        source=together("source"),
        values=together("values"),
        scenes=together("scenes"),
        scene_values=together("scene_values"),
        left_out=tuple(scene for part in parts for scene in part.left_out),
    )


def header(several: bool, tracked: bool) -> Sequence[str]:
    """Columns of the rows of one file, or of several, with tracks or without."""
    track = (TRACK,) if tracked else ()
    return (*(("file",) if several else ()), "scene", "source", *track, *VALUES, *SCENE_VALUES)
