"""The device on which a network is trained."""

import torch

from stages.artifacts.errors import ParameterError


def device_of(name: str) -> torch.device:
    """`auto` is a GPU where there is one.

    Raises:
        ParameterError: a GPU is asked for and none is there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ParameterError("params.yaml: train.device: cuda needs a GPU, torch finds none; use auto or cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
