"""What a training is made of: settings, training scenes and validation scenes, for `train` and for the trials
of `search`.
"""

import torch

from risolve.errors import ParameterError
from risolve.networks.examples import Examples, joined_examples
from risolve.networks.fit import FitSettings
from risolve.networks.objective import PARTS, LossSettings
from risolve.networks.shuffle import Shuffle
from stages.params.model import TRAINING_SPLITS, VALIDATION_SPLITS, Params
from stages.running.device import computes_bfloat16
from stages.training.feed import ShardFeed, blocks_of
from stages.training.split_files import open_split


def fit_settings(params: Params, device: torch.device) -> FitSettings:
    """Optimization, losses and blend of the parameters, on a device."""
    train = params.train
    return FitSettings(
        seed=train.seed,
        epochs=train.epochs,
        batch_size=train.batch_size,
        lr=train.lr,
        warmup_fraction=train.warmup_fraction,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
        ema_decay=train.ema_decay,
        flips=train.flips,
        mixed_precision=train.mixed_precision and computes_bfloat16(device),
        blend_beta_start=train.blend_beta_start,
        blend_beta_jitter=train.blend_beta_jitter,
        loss=LossSettings(
            target_width_cells=train.target_width_cells,
            target_width_planes=train.target_width_planes,
            focal_exponents=train.focal_exponents,
            weights={part: getattr(train, f"{part}_weight") for part in PARTS},
            blend_beta=train.blend_beta_end,
            diagonal_loading=params.covariance.diagonal_loading,
        ),
    )


def _reads_snapshots(params: Params) -> bool:
    """Whether a training reads snapshots, channel and codes."""
    return params.train.likelihood_weight > 0.0 or params.network.loops > 0


def validation_examples(params: Params) -> Examples:
    """Maps, covariance factors and truth of the validation scenes, in memory; with the snapshots where a
    training reads them.

    Raises:
        MeasurementError: as `open_split`, or numbers that break a law.
    """
    with_snapshots = _reads_snapshots(params)
    return joined_examples(
        [open_split(params, split, with_snapshots).examples() for split in VALIDATION_SPLITS]
    )


def training_feed(params: Params, fraction: float, device: torch.device, rank: int, world: int) -> ShardFeed:
    """The training scenes, or evenly spaced blocks of them; those of process `rank` of `world`.

    Raises:
        MeasurementError: as `open_split`.
        ParameterError: a process without a scene for each of its batches.
    """
    train = params.train
    splits = [open_split(params, split, _reads_snapshots(params)) for split in TRAINING_SPLITS]
    blocks = blocks_of(splits, train.block_scenes, fraction)
    buffer_scenes = train.block_scenes * train.buffer_blocks
    sizes = tuple(map(len, blocks))
    try:
        shuffle = Shuffle(sizes, train.batch_size, buffer_scenes, train.seed, rank, world)
    except ValueError as error:
        raise ParameterError(
            f"params.yaml: train.processes, train.block_scenes: {error}; take fewer or smaller ones"
        ) from error
    return ShardFeed(splits, blocks, shuffle, device)
