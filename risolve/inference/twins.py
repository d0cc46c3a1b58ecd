"""Sources that are none: two that take what a model lacks, nearly opposite to each other.

What a true source differs from its response by looks like the derivative of the response, and two sources in
nearly one place make any derivative by opposite amplitudes, each far above what they make together.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from risolve.inference.likelihood import Refinement
from risolve.inference.projection import responses
from risolve.modulus import squared_modulus
from risolve.physics.observation import Observation

_CANCELLED = 10.0
"""Powers of two sources over that of their sum.

At 10 dB at most 2.7 of three sources of a surface of 144 elements, and below 3 in most scenes of a line of 8;
those above have errors of several degrees. A second source of antennas with phases of 20 degrees: 1e4 to 1e7.
"""


def has_twins(observation: Observation, fit: Refinement) -> Bool[Tensor, " scene"]:
    """Whether two sources of a fit have together more than ten times the power that they make together.

    sum_g |s_gi b_gi|^2 + |s_gj b_gj|^2 > 10 sum_g |s_gi b_gi + s_gj b_gj|^2,   b_g = B_g a
    """
    n_scenes, n_sources = fit.sources.shape[:2]
    if n_sources < 2:
        return torch.zeros(n_scenes, dtype=torch.bool)
    double = observation.to(torch.complex128)
    columns = responses(double, double.array.steering(fit.sources))
    made = columns * fit.amplitudes[:, : columns.shape[1], :, None]
    first, second = torch.triu_indices(n_sources, n_sources, 1)
    powers = squared_modulus(made).sum((1, 3))
    together = squared_modulus(made[:, :, first] + made[:, :, second]).sum((1, 3))
    twins: Tensor = (powers[:, first] + powers[:, second] > _CANCELLED * together).any(-1)
    return twins
