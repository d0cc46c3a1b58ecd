"""What a training is made of: settings and examples, for `train` and for the trials of `search`."""

from pathlib import Path

from stages.artifacts.covariance_file import read_covariances, require_maps
from stages.artifacts.errors import MeasurementError
from stages.artifacts.hdf5 import shard_paths
from stages.artifacts.measurements_file import read_truth
from stages.networks.fit import Examples, FitSettings
from stages.params import Params, Split


def fit_settings(params: Params) -> FitSettings:
    """Optimization, losses and blend of the parameters."""
    chosen = params.train.model_dump(exclude={"device"})
    return FitSettings(
        **chosen,
        blend_beta=params.covariance.blend_beta,
        diagonal_loading=params.covariance.diagonal_loading,
    )


def training_files() -> list[Path]:
    """Scenes and covariances that a training reads.

    Raises:
        MeasurementError: a split that is not there.
    """
    return [
        path
        for kind, verb in (("scenes", "simulate"), ("covariances", "normalize"))
        for split in ("train", "validation")
        for path in shard_paths(Path("data") / kind / split, f"run `{verb} --split {split}` first")
    ]


def read_examples(params: Params, split: Split) -> Examples:
    """Maps, covariance factors and truth of a split.

    Raises:
        MeasurementError: files that do not belong together.
    """
    truth = read_truth(Path("data/scenes") / split)
    covariances = read_covariances(Path("data/covariances") / split)
    if truth.n_scenes != covariances.n_scenes:
        raise MeasurementError(
            f"data/covariances/{split}: one covariance a scene, data/scenes/{split} has "
            f"{truth.n_scenes} scenes, got {covariances.n_scenes}; run `normalize` again"
        )
    n_elements = covariances.factor.shape[2]
    if n_elements != params.array.n_elements:
        raise MeasurementError(
            f"data/covariances/{split}: the array of params.yaml has {params.array.n_elements} elements, got "
            f"factors of {n_elements}; run `simulate` and `normalize` again"
        )
    shape = (params.grid.n_w, params.grid.n_v, params.grid.n_u)
    require_maps(covariances.maps, shape, params.normalize.map_iterations, f"data/covariances/{split}")
    if not bool((truth.n_sources > 0).any()):
        raise MeasurementError(
            f"data/scenes/{split}: a covariance is learned from scenes with sources, 1 or more; all "
            f"{truth.n_scenes} scenes have none: raise simulate.{split}.strata"
        )
    return Examples(
        maps=covariances.maps.values,
        estimated_snr=covariances.maps.estimated_snr,
        factor=covariances.factor,
        sources=truth.sources,
        power=truth.power.nan_to_num(nan=0.0),
        n_sources=truth.n_sources,
    )
