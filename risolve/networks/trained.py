"""A trained network as the rest of the package uses it: maps in; covariance, places and count out."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

from risolve.batched import Batched
from risolve.covariance import NormalizedCovariance
from risolve.networks.counting import OF_NETWORK, CountRule
from risolve.networks.covariance_network import CovarianceNetwork, count_log_probabilities, covariance
from risolve.networks.dictionary import Dictionary
from risolve.networks.features import network_input
from risolve.networks.loop import fit_quotient, with_noise_of
from risolve.physics.observation import Observation


@dataclass(frozen=True)
class Calibration:
    """What validation scenes say of a network beside its weights.

    noise_known, noise_unknown: rules by which its counts count beside the likelihood. blend_beta: weight of
    R_samp in the blend.
    """

    noise_known: CountRule
    noise_unknown: CountRule
    blend_beta: Annotated[float, Interval(ge=0.0, le=1.0)]

    def count_rule(self, observation: Observation) -> CountRule:
        """The rule of an observation, by whether its noise power is known."""
        return self.noise_unknown if observation.noise_power is None else self.noise_known


def uncalibrated(blend_beta: float) -> Calibration:
    """Counts of the network alone, and the weight that its training ended with."""
    return Calibration(OF_NETWORK, OF_NETWORK, blend_beta)


@dataclass(frozen=True)
class Prediction(Batched):
    """What a network says of scenes.

    covariance: R_pred. occupancy: logits z of the grid points. places: (u, v, w) of the source that occupies
    each point. count_log_probabilities: log P_net(K = k), k = 0, 1, ... calibration: of the network.
    estimated_snr: what the network read.
    """

    covariance: NormalizedCovariance
    occupancy: Float[Tensor, "scene point"]
    places: Float[Tensor, "scene point 3"]
    count_log_probabilities: Float[Tensor, "scene count"]
    calibration: Calibration
    estimated_snr: Float[Tensor, " scene"]

    @property
    def n_elements(self) -> int:
        """N of R_pred."""
        return self.covariance.n_elements

    def select(self, scenes: slice | Tensor) -> "Prediction":
        """The predictions of some scenes."""
        return replace(super().select(scenes), covariance=self.covariance.select(scenes))


@dataclass(frozen=True)
class TrainedNetwork:
    """Network weights with the grid that they were trained on, and their calibration.

    of_covariance: tuned weights that say R_pred alone; None where `network` says that too.
    """

    network: CovarianceNetwork
    dictionary: Dictionary
    calibration: Calibration
    of_covariance: CovarianceNetwork | None

    @torch.no_grad()
    def predict(
        self,
        maps: Float[Tensor, "scene map point"],
        estimated_snr: Float[Tensor, " scene"],
        observation: Observation,
    ) -> Prediction:
        """The prediction of every scene, from its maps and estimated SNR; with loops also from its snapshots.

        The noise power is that of the estimated SNR: sigma^2 = mean |y|^2 / (1 + SNR).

        Raises:
            ValueError: maps of another grid.
        """
        n_points = self.dictionary.basis.matrix.shape[1]
        if maps.shape[-1] != n_points:
            raise ValueError(f"the network reads maps of its grid, {n_points} points; got {maps.shape[-1]}")
        shared = torch.full(estimated_snr.shape, observation.source_model == "constant")
        image = network_input(maps, estimated_snr, shared, self.dictionary.grid.shape)
        quotient = partial(fit_quotient, with_noise_of(observation, estimated_snr), shared, self.dictionary)
        outputs = self.network.eval()(image, quotient)
        of_covariance = outputs if self.of_covariance is None else self.of_covariance.eval()(image, quotient)
        return Prediction(
            covariance(of_covariance, self.dictionary.basis),
            outputs.logits,
            self.dictionary.places(outputs.offsets),
            count_log_probabilities(outputs.counts),
            self.calibration,
            estimated_snr,
        )
