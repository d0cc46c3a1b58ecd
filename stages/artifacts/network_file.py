"""The trained network as a file, tied to the array, the grid, the maps and the layers that it was trained
with.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages import seeds
from stages.artifacts import grid_setup
from stages.artifacts.checkpoint import load_checkpoint, save_checkpoint
from stages.artifacts.errors import CheckpointError
from stages.networks.covariance_network import CovarianceNetwork
from stages.networks.dictionary import Dictionary, planar_dictionary
from stages.networks.features import n_channels
from stages.networks.trained import TrainedNetwork
from stages.params import Params

MODEL_SECTIONS: dict[str, Any] = {
    "array": True,
    "sources": {"azimuth_deg", "elevation_deg", "range_m"},
    "grid": True,
    "normalize": True,
    "network": True,
}
"""Parameters without which the weights mean nothing."""


def new_network(params: Params) -> CovarianceNetwork:
    """Network of the parameters with the initial weights of train.seed; no global random state changes."""
    n_maps = len(params.normalize.map_iterations)
    grid = params.grid
    with torch.random.fork_rng():
        torch.manual_seed(seeds.integer_seed(params.train.seed, "initialization"))
        return CovarianceNetwork(
            n_inputs=n_channels(n_maps, (grid.n_w, grid.n_v, grid.n_u)),
            n_planes=grid.n_w,
            channels=params.network.channels,
            blocks=params.network.blocks,
            groups=params.network.groups,
        )


def network_dictionary(params: Params) -> Dictionary:
    """Steering matrix of the grid for the nominal array."""
    array = params.array
    return planar_dictionary(
        grid_setup.grid(params),
        array.n_horizontal,
        array.n_vertical,
        array.spacing_m,
        array.wavelength_m,
        array.spherical_amplitude,
    )


def write_network(path: Path, weights: dict[str, Tensor], params: Params) -> None:
    """Write the weights of a trained network.

    Raises:
        StateError: the file cannot be written.
    """
    on_cpu = {name: value.detach().cpu() for name, value in weights.items()}
    save_checkpoint(path, {"network": on_cpu}, _parameters(params))


def read_network(path: Path, params: Params) -> TrainedNetwork:
    """The trained network, in evaluation mode.

    Raises:
        CheckpointError: missing, damaged, or trained with other parameters than these.
    """
    network = new_network(params)
    weights: dict[str, Tensor] = load_checkpoint(path, _parameters(params)).get("network", {})
    expected = {name: value.shape for name, value in network.state_dict().items()}
    held = {name: value.shape for name, value in weights.items()}
    if held != expected:
        wrong = sorted(name for name in held.keys() | expected.keys() if held.get(name) != expected.get(name))
        raise CheckpointError(
            f"{path}: network: the weights of the network of params.yaml; missing, superfluous or of another "
            f"shape are {', '.join(wrong)}: train again"
        )
    broken = sorted(name for name, value in weights.items() if not bool(value.isfinite().all()))
    if broken:
        raise CheckpointError(
            f"{path}: network: finite weights, which {', '.join(broken)} are not; train again"
        )
    network.load_state_dict(weights)
    return TrainedNetwork(network.eval(), network_dictionary(params))


def _parameters(params: Params) -> dict[str, Any]:
    return params.model_dump(mode="json", include=MODEL_SECTIONS)
