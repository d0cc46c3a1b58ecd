"""The files of a split as estimates are made of them: scenes and covariances that belong together."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from risolve.errors import MeasurementError
from risolve.files import model_grid
from risolve.files.covariances import Covariances, read_covariances, require_maps
from risolve.files.measurements import read_observation, read_truth
from risolve.physics.observation import Observation
from risolve.physics.scenario import Truth
from stages.params.model import Params, Split


@dataclass(frozen=True)
class SplitScenes:
    """Scenes of one split: what is known of them, their covariances and maps, and the truth."""

    observation: Observation
    covariances: Covariances
    truth: Truth

    def select(self, scenes: Int[Tensor, " chosen"]) -> "SplitScenes":
        """Some of the scenes."""
        return SplitScenes(
            self.observation.select(scenes), self.covariances.select(scenes), self.truth.select(scenes)
        )


def read_split(params: Params, split: Split) -> SplitScenes:
    """All scenes of a split.

    Raises:
        MeasurementError: files that cannot be read.
    """
    scenes, covariances = Path("data/scenes") / split, Path("data/covariances") / split
    return SplitScenes(
        read_observation(scenes, params.array.spherical_amplitude),
        read_covariances(covariances),
        read_truth(scenes),
    )


def read_whole_split(params: Params, split: Split) -> SplitScenes:
    """All scenes of a split, as many and with maps as the parameters say.

    Raises:
        MeasurementError: as `read_split`, or files of other parameters.
    """
    own, wanted = read_split(params, split), params.simulate.split(split).n_scenes
    for kind, verb, held in (
        ("scenes", "simulate", own.truth.n_scenes),
        ("covariances", "normalize", own.covariances.n_scenes),
    ):
        if held != wanted:
            raise MeasurementError(
                f"data/{kind}/{split}: simulate.{split} of params.yaml has {wanted} scenes, got {held}; run "
                f"`{verb} --split {split}` again"
            )
    shape, iterations = model_grid.grid(params.of_model()).shape, params.normalize.map_iterations
    require_maps(own.covariances.maps, shape, iterations, f"data/covariances/{split}")
    return own
