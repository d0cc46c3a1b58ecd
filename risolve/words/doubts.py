"""Scenes of a file that were located and cannot be right, and sources beyond what was searched, in words."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from risolve.files.located_sources import VALUES, LocatedSources
from risolve.files.source import Chunk
from risolve.inference.determinability import heard
from risolve.inference.goodness import UNFIT
from risolve.inference.grid import Grid
from risolve.inference.rivals import AS_LIKELY
from risolve.locating import CLASSICAL, Localizer
from risolve.physics.observation import Observation, estimated_snr
from risolve.physics.reception import static_share
from risolve.shapes import Sources
from risolve.words.tried import causes

_SIGMAS = 5.0
"""Standard errors 1 / sqrt(L M) by which the power received may fall below the noise power by chance."""

_TWINS = 0.25
"""Cells of the grid, of half a beam, within which two sources are not told apart."""

_STATIC = 0.5
"""Share of the power received that is the same under all codes, above that of the codes, and is no source."""

_BEYOND = 0.9
"""`beyond_training` from which a scene is named."""

_LACKING = ("unfit", "full", "stopped", "twins")
"""Doubts for which what people get wrong is tried on the first scene."""

_CHEAP = 10_000_000
"""Complex numbers of all steering vectors, up to which that takes seconds."""

_ANGLES = [VALUES.index("azimuth_deg"), VALUES.index("elevation_deg")]
_INVERSE_RANGE = VALUES.index("inverse_range_per_m")

_ROUNDING = 1e-9
"""Of a place at a limit, degrees, or relative to a range."""

_WORDS = {
    "noisy": "noise_power: sigma^2 is more than the power received, mean |y|^2, in {n} scenes, the first "
    "{first}: is it in the unit of |y|^2?",
    "left": "noise_power: the sources leave more than sigma^2, misfit above 1, in {n} scenes, the first "
    "{first}: is it in the unit of |y|^2, and are channel, codes and positions those of the "
    "measurement?",
    "unfit": "fits: what the sources leave is not noise alone (p < {p:g}) in {n} scenes, the first "
    "{first}, where they explain {share:.0f} % of what is received, and deviations are robust ones: are "
    "channel, codes, positions, source model and noise power those of the measurement?",
    "beyond": "{n} scenes, the first {first}, are beyond what the network was trained on (beyond_training > "
    "{beyond:g}): {full} have the most sources that it counts or more, {beside} have sources beside its "
    "field, {unfit} leave what is no noise (p < {p:g}); the estimator {classical} searches without a network",
    "static": "most of what is received is the same under all codes in {n} scenes, the first {first}, as a "
    "direct path beside the surface is: state background = static",
    "weak": "{n} scenes, the first {first}, have more sources than their channel and codes tell beside noise "
    "and errors of 1 %: in scene {first} they are of rank {rank} but for {percent:.2g} %, which determines "
    "{told} sources; places and deviations may be of noise and errors alone, take more paths or codes",
    "silent": "an antenna receives nothing, 0 in every snapshot, in {n} scenes, the first {first}: is it "
    "dead? leave it out; in a file, NaN in place of 0 does so",
    "full": "counting stopped at {most} sources, the most looked for, in {n} scenes, the first {first}: "
    "some may stand for what the model lacks",
    "stopped": "counting stopped in {n} scenes, the first {first}, before two sources whose powers are "
    "more than ten times what they make together: the model lacks something, as phases of the antennas, or "
    "an amplitude that falls with distance (amplitude = spherical)",
    "fewer": "fewer sources than were looked for have power in {n} scenes, the first {first}",
    "twins": "two sources stand within an eighth of a beam in {n} scenes, the first {first}: they may be "
    "one, seen by a model that lacks something: phases of the antennas, or an amplitude that "
    "falls with distance (amplitude = spherical)",
    "outside": "{n} sources lie beside the field searched, or nearer, the first in scene {first}: a wider "
    "field of view includes them",
    "edge": "{n} peaks are at the nearest or farthest range searched, the first in scene {first}: a "
    "source beyond has another direction too; widen the range, to inf where it may be far, or refine "
    "the peaks (+ml)",
    "unresolved": "{estimator} does not tell all sources apart in {n} scenes, the first {first}: no "
    "deviation is stated; refine the peaks (+ml), or take the estimator ml",
    "at limit": "{n} sources are at a limit of the field of view, the first in scene {first}: they may lie "
    "beyond, or be none",
    "rivalled": "{n} sources are ambiguous, the first in scene {first}: another place, rival_azimuth_deg and "
    "so on of the result (--out), is as likely, within {likely:g} of log-likelihood; narrower limits choose",
}
"""What is doubted, in the order in which it is said."""


class Doubts:
    """Scenes whose noise power, count or fit cannot be right, and sources beyond what was searched."""

    def __init__(self, path: Path, n_sources: int | None) -> None:
        self._path, self._counts = path, n_sources is None
        self._taken: str | None = None
        self._estimator = ""
        self._most: int | None = None
        self._scenes: dict[str, list[int]] = {doubt: [] for doubt in _WORDS}
        self._numbers: dict[str, dict[int, dict[str, float]]] = {"weak": {}, "unfit": {}}
        self._n_located = 0
        self._signs = Counter[str]()
        self._suspects: dict[str, tuple[int, Observation, Sources]] = {}

    def look(self, first_scene: int, chunk: Chunk, part: LocatedSources, localizer: Localizer) -> None:
        """Count those of a chunk; localizer: what located it."""
        self._taken, self._estimator = self._taken or localizer.taken, localizer.estimator.name

        def value(name: str) -> Float[np.ndarray, " row"]:
            return part.values[:, VALUES.index(name)]

        def doubt(name: str, scenes: Shaped[np.ndarray, " scene"], wrong: Bool[np.ndarray, " scene"]) -> None:
            self._scenes[name] += (scenes[wrong] - first_scene).tolist()

        located = part.scenes[:, 1]
        full = self._counts & (part.scenes[:, 2] == localizer.settings.counting.most)
        if full.any():
            self._most = self._most or localizer.settings.counting.most
        doubt("full", located, full)
        twins = [_has_twins(localizer.grid, own) for _, own in part.of_scenes()]
        doubt("twins", located, np.array(twins, dtype=bool))
        unresolved = part.resolved == 0.0
        doubt("unresolved", located, unresolved & np.isnan(part.robust))
        is_counted = self._counts and localizer.estimator.covariance_kind is None
        doubt("stopped" if is_counted else "fewer", located, unresolved & ~np.isnan(part.robust))
        searched = localizer.searched
        beyond = value("range_m") < searched.range_m[0] * (1.0 - _ROUNDING)
        for name in ("azimuth_deg", "elevation_deg"):
            low, high = getattr(searched, name)
            # the shorter way round
            apart = np.abs((value(name) - (low + high) / 2.0 + 180.0) % 360.0 - 180.0)
            beyond = beyond | (apart > (high - low) / 2.0 + _ROUNDING)
        doubt("outside", part.scene, beyond)
        untrained = part.beyond_training > _BEYOND
        doubt("beyond", located, untrained)
        signs = {"full": full, "beside": np.isin(located, part.scene[beyond]), "unfit": part.fits < UNFIT}
        self._signs.update({name: int((untrained & own).sum()) for name, own in signs.items()})
        at_limit = value("at_limit") == 1.0
        if not localizer.maximizes:
            at_edge = localizer.grid.at_end(torch.from_numpy(value("inverse_range_per_m"))).numpy()
            doubt("edge", part.scene, at_edge)
            at_limit = at_limit & ~at_edge
        doubt("at limit", part.scene, at_limit)
        doubt("rivalled", part.scene, value("log_likelihood") - value("rival_log_likelihood") < AS_LIKELY)
        observation = chunk.observation
        if observation is None:
            return
        scenes = first_scene + np.array(chunk.scenes)
        within = replace(observation, stated=localizer.stated)
        doubt("weak", scenes, self._is_weak(within, scenes, part, first_scene))
        n_numbers = observation.n_snapshots * observation.n_antennas
        if localizer.maximizes:
            poor = value("misfit") > 1.0 + _SIGMAS / math.sqrt(n_numbers / 2)
            doubt("left", part.scene, poor & (part.source == 0))
            unfit = part.fits < UNFIT
            doubt("unfit", located, unfit)
            self._n_located += len(located)
            shares = ({"share": 100.0 * share} for share in part.explained[unfit].tolist())
            self._numbers["unfit"] |= zip((located[unfit] - first_scene).tolist(), shares, strict=True)
        if localizer.grid.n_points * observation.n_elements <= _CHEAP:
            self._keep_suspects(observation, chunk.scenes, part, first_scene)
        for name, wrong in _of_snapshots(observation, _SIGMAS / math.sqrt(n_numbers)).items():
            doubt(name, scenes, wrong & np.isin(scenes, located))

    def _keep_suspects(
        self, observation: Observation, scenes: Sequence[int], part: LocatedSources, first_scene: int
    ) -> None:
        """The first scene of each doubt that something lacks in the model, with its sources."""
        for name in _LACKING:
            first = min(self._scenes[name], default=-1)
            if first in scenes:
                row = scenes.index(first)
                own = part.values[part.scene == first_scene + first]
                angles, inverse_range = np.deg2rad(own[:, _ANGLES]), own[:, [_INVERSE_RANGE]]
                places = torch.from_numpy(np.hstack((angles, inverse_range)))[None]
                self._suspects[name] = (first, observation.select(slice(row, row + 1)), places)

    def _is_weak(
        self,
        observation: Observation,
        scenes: Int[np.ndarray, " scene"],
        part: LocatedSources,
        first_scene: int,
    ) -> Bool[np.ndarray, " scene"]:
        """Whether more sources were located in a scene than its stronger directions determine."""
        told = heard(observation)
        n_located = np.zeros(len(scenes), np.int64)
        n_located[np.isin(scenes, part.scenes[:, 1])] = part.scenes[:, 2]
        weak = n_located > told.most.numpy()
        if weak.any():
            first = int(weak.argmax())
            rank, beside, most = (float(values[first]) for values in told)
            numbers = {"rank": int(rank), "percent": 100.0 * beside, "told": int(most)}
            self._numbers["weak"][int(scenes[first]) - first_scene] = numbers
        return weak

    def lines(self) -> list[str]:
        """What was found, in words."""
        lines, tried = [], False
        if self._taken is not None:
            lines.append(
                f"{self._path}: elements are on a line: {self._taken}, which is not stated, is "
                "taken as 0, and the place stands for the cone about the line"
            )
        for doubt, scenes in self._scenes.items():
            if scenes and (doubt != "unfit" or self._is_beyond_chance(len(scenes))):
                first = min(scenes)
                numbers = {"n": len(scenes), "first": first, "most": self._most, "likely": AS_LIKELY}
                numbers |= {"beyond": _BEYOND, "p": UNFIT, **self._signs}
                more = self._numbers.get(doubt, {}).get(first, {})
                said = _WORDS[doubt].format(estimator=self._estimator, classical=CLASSICAL, **numbers, **more)
                lines.append(f"{self._path}: {said}")
                if doubt in self._suspects and not tried:
                    tried = True
                    scene, observation, places = self._suspects[doubt]
                    own = causes(observation, places)
                    # the first says what one source leaves
                    lines += [f"{self._path}: scene {scene}: {one}" for one in own if len(own) > 1]
        return lines

    def _is_beyond_chance(self, n_unfit: int) -> bool:
        """Whether more scenes do not fit than S of a true model, S p + 3 sqrt(S p)."""
        by_chance = UNFIT * self._n_located
        return n_unfit > by_chance + 3.0 * math.sqrt(by_chance)


def _has_twins(grid: Grid, values: Float[np.ndarray, "source value"]) -> bool:
    """Whether two sources of a scene stand in one direction, and with a common delay at one range."""
    if len(values) < 2:
        return False
    sources = np.column_stack((np.deg2rad(values[:, _ANGLES]), values[:, [_INVERSE_RANGE]]))
    places = grid.coordinates_of(torch.from_numpy(sources))
    steps = torch.where(grid.steps > 0.0, grid.steps, torch.inf)
    n_told = 3 if grid.delay_weight else 2
    apart = (grid.apart(places[:, None], places) / steps)[..., :n_told].amax(-1)
    return bool((apart.fill_diagonal_(torch.inf) < _TWINS).any())


def _of_snapshots(observation: Observation, chance: float) -> dict[str, Bool[np.ndarray, " scene"]]:
    """Scenes of which the snapshots alone tell a doubt; chance: how far the SNR may fall below 0."""
    doubts = {"silent": (observation.snapshots == 0.0).all(1).any(1).numpy()}
    if observation.noise_power is not None:
        doubts["noisy"] = estimated_snr(observation).numpy() < -chance
    if observation.source_model == "constant":
        doubts["static"] = static_share(observation.snapshots, observation.codes).numpy() > _STATIC
    return doubts
