"""A small training problem that the network tests share: surface 5 x 8, grid 7 x 5 x 3."""

import math
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch

from risolve.covariance import sample_factor
from risolve.inference.grid import Grid, search_grid
from risolve.inference.sparse_fit import sparse_fit_maps
from risolve.networks.covariance_network import CovarianceNetwork, Head, Layout
from risolve.networks.dictionary import Dictionary, dictionary_of
from risolve.networks.examples import Batch, Examples
from risolve.networks.features import n_channels
from risolve.networks.fit import FitSettings
from risolve.networks.objective import PARTS, BatchLoss, LossSettings, batch_loss, outputs_of
from risolve.physics.observation import SourceModel, estimated_snr
from risolve.physics.scenario import Scenes
from tests.worlds import WIDE, make_scenes

LOSS = LossSettings(
    target_width_cells=0.6,
    target_width_planes=0.8,
    focal_exponents=(2.0, 4.0),
    weights={**dict.fromkeys(PARTS, 0.0), "detection": 1.0, "offset": 0.3, "count": 0.3, "covariance": 1.0},
    blend_beta=0.3,
    diagonal_loading=1e-3,
)
EVERY_PART = replace(LOSS, weights=dict.fromkeys(PARTS, 1.0))
OF_ONE_PASS = tuple(part for part in PARTS if part != "pass")
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
    mixed_precision=False,
    blend_beta_start=0.6,
    blend_beta_jitter=0.1,
    loss=LOSS,
)


@dataclass(frozen=True)
class MemoryFeed:
    """Examples in memory as a feed."""

    examples: Examples
    batch_size: int = SETTINGS.batch_size

    @property
    def n_batches(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def batches(self, epoch: int) -> Generator[Batch, None, None]:
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(len(self.examples)))
        for scenes in order.split(self.batch_size):
            yield Batch(scenes, self.examples.select(scenes))


def classroom_grid() -> Grid:
    return search_grid(7, 5, 3, (-math.pi / 3, math.pi / 3), (-math.pi / 6, math.pi / 6), (0.5, 10.0))


def classroom_dictionary() -> Dictionary:
    return dictionary_of(classroom_grid(), WIDE.array())


def learn_from(scenes: Scenes, dictionary: Dictionary) -> Examples:
    """What the normalize stage stores of the scenes, their truth, and what the likelihood reads.

    The maps of `constant` sources are those that the same snapshots of `independent` ones would have.
    """
    observation = scenes.observation
    as_independent = replace(observation, source_model="independent")
    shared = torch.full((observation.n_scenes,), observation.source_model == "constant")
    return Examples(
        maps=sparse_fit_maps(as_independent, dictionary.basis.matrix, (0,)),
        estimated_snr=estimated_snr(observation).float(),
        shared=shared,
        factor=sample_factor(observation, 1e-3),
        sources=scenes.sources,
        power=scenes.power.nan_to_num(nan=0.0),
        n_sources=scenes.n_sources,
        observation=observation,
    )


def classroom(
    n_sources: int = 2, n_scenes: int = 48, seed: int = 1, source_model: SourceModel = "independent"
) -> Examples:
    scenes = make_scenes(WIDE, n_sources, 15.0, n_scenes, source_model, seed=seed)
    return learn_from(scenes, classroom_dictionary())


def small_network(seed: int = 0, head: Head = "power_map", loops: int = 0) -> CovarianceNetwork:
    layout = Layout(
        n_inputs=n_channels(1, (3, 5, 7)),
        shape=(3, 5, 7),
        channels=8,
        blocks=1,
        groups=2,
        loops=loops,
        most_sources=5,
        head=head,
        rank=4,
        n_elements=40,
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return CovarianceNetwork(layout)


def loss_of(
    network: CovarianceNetwork, examples: Examples, dictionary: Dictionary, settings: LossSettings = LOSS
) -> BatchLoss:
    """Loss of the examples as validation computes it."""
    outputs = outputs_of(network, examples, dictionary, False)
    return batch_loss(outputs, examples, dictionary, settings, settings.blend_beta)
