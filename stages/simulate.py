"""Reads params.yaml; writes simulated scenes with their truth, data/scenes/SPLIT/shard-0000.h5 and on."""

import functools
from pathlib import Path

import torch

from risolve import seeds
from risolve.errors import ParameterError
from risolve.files.measurements import write_scenes
from risolve.physics.augmentation import augmented
from risolve.physics.ranks import sensing_rank
from risolve.physics.scenario import SceneDraw, Scenes, draw_installation, draw_scene, observe
from risolve.running.shards import make_shards
from risolve.running.work import work_key
from stages.params import objects
from stages.params.file import read_params, sections, system_files
from stages.params.model import SPLITS, Params, Split
from stages.running.state import publish, work_directory
from stages.running.verb import run_verb, split_argument

READS = (
    *("array", "receiver", "channel", "codebook", "sources", "impairments"),
    *("simulate.seed", "simulate.scenes_per_shard", "simulate.augmentation"),
)
"""Of params.yaml, and with these the section of the split."""


def simulate(params: Params, split: Split, scenes: range) -> Scenes:
    """Scenes of a split by their numbers.

    Scene i is drawn from the stream (seed, split, i) alone, its number of sources and SNR first: it is the
    same whichever other scenes are drawn with it. The departures of an augmented scene come from a child of
    that stream and so leave its places, channel and noise as they are without. A fixed installation has a
    stream of its own.

    Raises:
        ParameterError: the stacked sensing matrix of the first scene has a rank below max_sources, or
            nothing of the sources of a scene arrives.
    """
    system, distribution = objects.system(params), objects.source_distribution(params)
    levels = objects.impairment_levels(params)
    own = params.simulate.split(split)
    augmentation = objects.augmentation(params) if own.augmented else None
    installation = None
    if not params.channel.per_scene:
        stream = seeds.generator(params.simulate.seed, "installation")
        installation = draw_installation(stream, system, levels)

    def draw(scene: int) -> SceneDraw:
        generator = seeds.generator(params.simulate.seed, split, scene)
        stratum = own.stratum_of(scene)
        n_sources = int(generator.integers(stratum.n_sources[0], stratum.n_sources[1], endpoint=True))
        snr_db = generator.uniform(*stratum.snr_db)
        base = (system, distribution, levels)
        if augmentation is not None:
            base = augmented(generator.spawn(1)[0], augmentation, *base)
        return draw_scene(
            generator, base[0], installation, base[1], own.source_model, n_sources, snr_db, base[2]
        )

    drawn = observe(
        [draw(scene) for scene in scenes],
        system,
        own.source_model,
        levels.amplitude_minimum,
        installation is not None,
    )
    departures = "impairments, simulate.augmentation" if own.augmented else "impairments"
    assert drawn.observation.noise_power is not None
    silent = torch.nonzero(drawn.observation.noise_power == 0.0).flatten()
    if len(silent):
        raise ParameterError(
            f"params.yaml: {departures}: dead_fraction: an SNR needs a signal, mean |B_l A s_l|^2 > 0; it is "
            f"0 in scenes {[scenes[int(i)] for i in silent]} of {split}: let fewer elements die"
        )
    if not bool(drawn.observation.snapshots.isfinite().all()):
        raise ParameterError(
            f"params.yaml: sources, {departures}: snapshots are numbers of single precision; those of "
            f"{split} overflow: choose smaller powers and errors"
        )
    rank = int(sensing_rank(drawn.observation.select(slice(0, 1)))[0])
    if rank < params.sources.max_sources:
        raise ParameterError(
            f"params.yaml: sources.max_sources: the stacked sensing matrix [B_1; ...; B_L] has rank >= "
            f"max_sources, got rank {rank} < {params.sources.max_sources} in scene {scenes[0]} of {split}; "
            f"raise receiver.n_snapshots, lower channel.k_factor, or lower sources.max_sources"
        )
    return drawn


def _make_shard(params: Params, split: Split, number: int, path: Path) -> None:
    size = params.simulate.scenes_per_shard
    last = min((number + 1) * size, params.simulate.split(split).n_scenes)
    write_scenes(path, simulate(params, split, range(number * size, last)))


def main() -> None:
    """python -m stages.simulate --split SPLIT"""
    split = split_argument("simulate", __doc__, SPLITS)
    params = read_params()
    reads = sections(params, (*READS, f"simulate.{split}"))
    n_shards = -(-params.simulate.split(split).n_scenes // params.simulate.scenes_per_shard)
    make = functools.partial(_make_shard, params, split)
    with work_directory(
        f"simulate-{split}", work_key("stages.simulate", reads, system_files(params))
    ) as work:
        make_shards(make, n_shards, work, params.simulate.workers, 8, f"simulate {split}", "shards")
        publish(work, Path("data/scenes") / split)


if __name__ == "__main__":
    run_verb(main)
