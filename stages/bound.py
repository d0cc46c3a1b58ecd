"""Reads params.yaml, data/scenes/SPLIT; writes the Cramer-Rao bound of every source, data/bounds/SPLIT.h5."""

import functools
from pathlib import Path

import torch

from risolve.bounds.cramer_rao import Bound, conditional_bound, constant_bound, unconditional_bound
from risolve.errors import MeasurementError
from risolve.files.bounds import Bounds, Deviations, read_bounds, write_bounds
from risolve.files.hdf5 import shard_name, shard_paths
from risolve.files.measurements import read_scenes
from risolve.physics.scenario import Scenes
from risolve.running.shards import make_shards
from risolve.running.work import work_key
from stages.params.file import read_params, sections
from stages.params.model import Params
from stages.running.state import discard, work_directory
from stages.running.verb import run_verb, split_argument

READS = ("array.spherical_amplitude",)


def bound(scenes: Scenes) -> Bounds:
    """Bounds of scenes with any numbers of sources, those of equal number computed together.

    Raises:
        ValueError: a singular Fisher information (two sources at one place), naming the scenes.
    """
    n_scenes, slots = scenes.sources.shape[:2]
    conditional = torch.full((n_scenes, slots, 5), torch.nan, dtype=torch.float64)
    unconditional = conditional.clone()
    independent = scenes.observation.source_model == "independent"
    for n_sources in torch.unique(scenes.n_sources).tolist():
        if n_sources == 0:
            continue
        chosen = torch.nonzero(scenes.n_sources == n_sources).flatten()
        observation = scenes.observation.select(chosen)
        noise_power = observation.noise_power
        if noise_power is None:
            raise ValueError("the bound needs the noise power of every scene")
        sources = scenes.sources[chosen, :n_sources]
        amplitudes = scenes.amplitudes[chosen, :, :n_sources].to(torch.complex128)
        try:
            if independent:
                known = conditional_bound(observation, sources, amplitudes, noise_power)
                power = scenes.power[chosen, :n_sources]
                gaussian = unconditional_bound(observation, sources, power, noise_power)
                unconditional[chosen, :n_sources] = _deviations(gaussian)
            else:
                known = constant_bound(observation, sources, amplitudes[:, 0], noise_power)
        except ValueError as error:
            raise ValueError(
                f"counting among the scenes with {n_sources} sources, {chosen.tolist()}: {error}"
            ) from error
        conditional[chosen, :n_sources] = _deviations(known)
    return Bounds(
        scenes.observation.source_model,
        Deviations(*conditional.unbind(-1)),
        Deviations(*unconditional.unbind(-1)) if independent else None,
    )


def _deviations(bound: Bound) -> torch.Tensor:
    """Azimuth, elevation, range, inverse range and position along the last axis, as `Deviations` has them."""
    azimuth, elevation, inverse_range = bound.standard_deviations().unbind(-1)
    return torch.stack(
        (azimuth, elevation, bound.range_deviation(), inverse_range, bound.position_deviation()), dim=-1
    )


def _make_shard(params: Params, scenes: Path, number: int, path: Path) -> None:
    source = scenes / shard_name(number)
    try:
        bounds = bound(read_scenes(source, params.array.spherical_amplitude))
    except ValueError as error:
        raise MeasurementError(f"{source}: {error}") from error
    write_bounds(path, bounds)


def main() -> None:
    """python -m stages.bound --split SPLIT"""
    split = split_argument("bound", __doc__, ("test_independent", "test_constant"))
    params = read_params()
    scenes = Path("data/scenes") / split
    shards = shard_paths(scenes, f"run `simulate --split {split}` first")
    make = functools.partial(_make_shard, params, scenes)
    with work_directory(f"bound-{split}", work_key("stages.bound", sections(params, READS), shards)) as work:
        make_shards(make, len(shards), work, params.simulate.workers, 2, f"bound {split}", "shards")
        write_bounds(Path("data/bounds") / f"{split}.h5", read_bounds(work))
        discard(work)


if __name__ == "__main__":
    run_verb(main)
