"""Scenes of a system that departs from the known one in one way, and their truth, for `sweep`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from risolve import seeds
from risolve.bounds.cramer_rao import conditional_bound
from risolve.errors import ParameterError
from risolve.files.bounds import Deviations
from risolve.physics.scenario import Scenes, draw_installation, draw_scene, observe
from stages.evaluation.truth import SplitTruth, bounded_truth
from stages.params import objects
from stages.params.model import Params

NEUTRAL = {
    "position_jitter_m": 0.0,
    "phase_error_deg": 0.0,
    "gain_jitter_db": 0.0,
    "dead_fraction": 0.0,
    "channel_error": 0.0,
    "amplitude_minimum": 1.0,
    "background": 0.0,
    "noise_spread_db": 0.0,
}
"""The section `impairments` of a system that is as it is known."""


@dataclass(frozen=True)
class Point:
    """One level of one impairment."""

    impairment: str
    level: float

    @property
    def label(self) -> str:
        """A neutral level is the same system whatever it is a level of."""
        neutral = self.level == NEUTRAL[self.impairment]
        return "none" if neutral else f"{self.impairment} = {self.level}"


def points(params: Params) -> list[Point]:
    """Every level of every impairment in the order of the parameters."""
    levels = params.sweep.points.model_dump()
    return [Point(name, level) for name, own in levels.items() for level in own]


def draw_scenes(params: Params, point: Point, scenes: Sequence[int]) -> Scenes:
    """Scenes of a point by their numbers; scene i is drawn from the stream (seed, "sweep", i) alone.

    A fixed installation is that of the data sets, which the network was trained on.

    Raises:
        ParameterError: nothing of the sources of a scene arrives, or too much for single precision.
    """
    impairments = {**NEUTRAL, point.impairment: point.level}
    departed = params.with_values({f"impairments.{name}": level for name, level in impairments.items()})
    levels, system = objects.impairment_levels(departed), objects.system(params)
    installation = None
    if not params.channel.per_scene:
        stream = seeds.generator(params.simulate.seed, "installation")
        installation = draw_installation(stream, system, levels)
    distribution, own = objects.source_distribution(params), params.sweep
    draws = [
        draw_scene(
            seeds.generator(own.seed, "sweep", scene),
            system,
            installation,
            distribution,
            "independent",
            own.n_sources,
            own.snr_db,
            levels,
        )
        for scene in scenes
    ]
    drawn = observe(draws, system, "independent", levels.amplitude_minimum, installation is not None)
    assert drawn.observation.noise_power is not None
    usable = (drawn.observation.noise_power > 0.0) & drawn.observation.snapshots.isfinite().all(-1).all(-1)
    if not bool(usable.all()):
        wrong = [scenes[int(i)] for i in torch.nonzero(~usable).flatten()]
        raise ParameterError(
            f"params.yaml: sweep.points.{point.impairment}: an SNR needs a signal, 0 < mean |B_l A s_l|^2, "
            f"that single precision holds; scenes {wrong} have none at {point.level:g}: choose lower levels"
        )
    return drawn


def truth_of(params: Params, point: Point) -> SplitTruth:
    """Sources of the scenes of a point with the bound of the known system.

    Raises:
        ParameterError: a singular Fisher information (two sources at one place).
    """
    numbers = range(params.sweep.n_scenes)
    scenes = draw_scenes(params, point, numbers)
    assert scenes.observation.noise_power is not None
    K = params.sweep.n_sources
    try:
        bound = conditional_bound(
            scenes.observation,
            scenes.sources[:, :K],
            scenes.amplitudes[:, :, :K].to(torch.complex128),
            scenes.observation.noise_power,
        )
    except ValueError as error:
        raise fault(point, numbers, error) from error
    azimuth, elevation, inverse_range = bound.standard_deviations().unbind(-1)
    deviations = Deviations(
        azimuth, elevation, bound.range_deviation(), inverse_range, bound.position_deviation()
    )
    return bounded_truth(point.label, scenes.sources[:, :K], scenes.snr_db, deviations)


def fault(point: Point, scenes: Sequence[int], error: Exception) -> ParameterError:
    """What keeps scenes of a point from being used, as an error that names the point."""
    return ParameterError(
        f"params.yaml: sweep.points.{point.impairment}: level {point.level:g}, counting from scene "
        f"{scenes[0]}: {error}"
    )
