"""Fine-tuning: R_pred goes on learning by the likelihood alone, from scenes of unknown sources.

The likelihood speaks of the covariance. What else a network says would drift with the layers that all of it
shares, so a copy of the network is tuned that says R_pred alone; occupancy, places and count stay those of
the original, bit for bit.
"""

from typing import NamedTuple

import torch

from risolve import seeds
from risolve.networks.covariance_network import CovarianceNetwork
from risolve.networks.dictionary import Dictionary
from risolve.networks.examples import Examples
from risolve.networks.fit import FitSettings, validate
from risolve.networks.objective import PARTS, LossSettings

BATCH_SIZE = 32


class Shares(NamedTuple):
    """Scenes that steps are taken on, and those that are held back to score the weights."""

    learned: Examples
    held_back: Examples


def shared_out(examples: Examples, held_back: float, seed: int) -> Shares:
    """The scenes in two shares, drawn by chance; `held_back` is the size of the second."""
    n_held_back = round(held_back * len(examples))
    order = torch.from_numpy(seeds.generator(seed, "shuffle").permutation(len(examples)))
    return Shares(examples.select(order[n_held_back:]), examples.select(order[:n_held_back]))


def tuning_settings(
    epochs: int, lr: float, seed: int, blend_beta: float, diagonal_loading: float
) -> FitSettings:
    """Optimization by the likelihood alone; blend and loading are those of the health that is measured."""
    return FitSettings(
        seed=seed,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        lr=lr,
        warmup_fraction=0.1,
        weight_decay=0.0,
        clip_norm=1.0,
        ema_decay=0.95,
        flips=False,
        mixed_precision=False,
        blend_beta_start=blend_beta,
        blend_beta_jitter=0.0,
        loss=LossSettings(
            target_width_cells=1.0,
            target_width_planes=1.0,
            focal_exponents=(0.0, 0.0),
            weights={**dict.fromkeys(PARTS, 0.0), "likelihood": 1.0},
            blend_beta=blend_beta,
            diagonal_loading=diagonal_loading,
        ),
    )


def held_back_loss(
    network: CovarianceNetwork, held_back: Examples, dictionary: Dictionary, settings: FitSettings
) -> float:
    """Likelihood loss of the scenes held back, before any step.

    Raises:
        TrainingDiverged: a number is not finite.
    """
    return validate(network, held_back, dictionary, settings, 0)["loss"]
