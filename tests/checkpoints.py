"""Checkpoints as tests read and make them."""

from pathlib import Path

from risolve.files.model import new_network, write_network
from risolve.networks.trained import Calibration
from stages.params.model import Params


def anything(declared: object) -> None:
    """Accepts whatever a checkpoint declares."""


def write_untrained(path: Path, calibration: Calibration, params: Params) -> None:
    """The network of the parameters with its initial weights, as a file."""
    own = params.of_model()
    write_network(path, new_network(own, params.train.seed).state_dict(), calibration, own)
