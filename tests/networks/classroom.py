"""A small training problem that the network tests share: surface 5 x 8, grid 7 x 5 x 3."""

import math

import torch

from stages.covariance import sample_factor
from stages.inference.grid import Grid, search_grid
from stages.inference.sparse_fit import sparse_fit_maps
from stages.networks.covariance_network import CovarianceNetwork
from stages.networks.dictionary import Dictionary, planar_dictionary
from stages.networks.features import n_channels
from stages.networks.fit import BatchLoss, Examples, FitSettings, batch_loss, logits_of
from stages.physics.observation import estimated_snr
from stages.physics.scenario import Scenes
from tests.worlds import WIDE, make_scenes

SETTINGS = FitSettings(
    seed=3,
    epochs=3,
    batch_size=16,
    lr=3e-3,
    warmup_fraction=0.1,
    weight_decay=1e-3,
    clip_norm=1.0,
    ema_decay=0.9,
    flips=True,
    mixed_precision=True,
    target_width_cells=0.6,
    target_width_planes=0.8,
    focal_exponents=(2.0, 4.0),
    detection_weight=1.0,
    covariance_weight=1.0,
    blend_beta=0.3,
    diagonal_loading=1e-3,
)


def classroom_grid() -> Grid:
    return search_grid(7, 5, 3, (-math.pi / 3, math.pi / 3), (-math.pi / 6, math.pi / 6), (0.5, 10.0))


def classroom_dictionary() -> Dictionary:
    return planar_dictionary(classroom_grid(), 5, 8, WIDE.spacing, WIDE.wavelength, False)


def learn_from(scenes: Scenes, dictionary: Dictionary) -> Examples:
    """What the normalize stage stores of the scenes, and their truth."""
    observation = scenes.observation
    return Examples(
        maps=sparse_fit_maps(observation, dictionary.basis.matrix, (0,)),
        estimated_snr=estimated_snr(observation).float(),
        factor=sample_factor(observation, 1e-3),
        sources=scenes.sources,
        power=scenes.power.nan_to_num(nan=0.0),
        n_sources=scenes.n_sources,
    )


def classroom(n_sources: int = 2, n_scenes: int = 48, seed: int = 1) -> Examples:
    return learn_from(make_scenes(WIDE, n_sources, 15.0, n_scenes, seed=seed), classroom_dictionary())


def small_network(seed: int = 0) -> CovarianceNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return CovarianceNetwork(n_channels(1, (3, 5, 7)), 3, channels=8, blocks=1, groups=2)


def loss_of(network: CovarianceNetwork, examples: Examples, dictionary: Dictionary) -> BatchLoss:
    """Loss of the examples as training computes it."""
    return batch_loss(logits_of(network, examples, dictionary, False), examples, dictionary, SETTINGS)
