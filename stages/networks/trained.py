"""A trained network as the rest of the package uses it: maps in, covariance out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stages.covariance import NormalizedCovariance
from stages.networks.covariance_network import CovarianceNetwork, covariance
from stages.networks.dictionary import Dictionary
from stages.networks.features import network_input


@dataclass(frozen=True)
class TrainedNetwork:
    """Network weights with the grid that they were trained on."""

    network: CovarianceNetwork
    dictionary: Dictionary

    @torch.no_grad()
    def predict(
        self, maps: Float[Tensor, "scene map point"], estimated_snr: Float[Tensor, " scene"]
    ) -> NormalizedCovariance:
        """R_pred of every scene; its weights are the power map on the grid.

        Raises:
            ValueError: maps of another grid.
        """
        n_points = self.dictionary.basis.matrix.shape[1]
        if maps.shape[-1] != n_points:
            raise ValueError(f"the network reads maps of its grid, {n_points} points; got {maps.shape[-1]}")
        self.network.eval()
        return covariance(
            self.network(network_input(maps, estimated_snr, self.dictionary.shape)), self.dictionary.basis
        )
