"""Phases to start from where those of the antennas may be anything.

    maximize |P_B diag(h)^* y|^2 = h^T Q h^*,   Q = sum diag(y)^H P_B diag(y),   |h_m| = 1

for antennas y = diag(h) B s: of sources at known places, any number of them, whatever their amplitudes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.calibration.information import Placed
from risolve.calibration.unknowns import Unknowns
from risolve.inference.projection import grouped_snapshots, least_squares, responses
from risolve.modulus import squared_modulus

_POWER_STEPS = 500


def phases_start(placed: Sequence[Placed], unknowns: Unknowns) -> Float[Tensor, " unknown"] | None:
    """theta with the phases of highest likelihood of antennas of nominal gains; None where no phases of
    antennas are unknown.

    h <- exp(j arg(Q h)) from the principal eigenvector of Q, which raises h^H Q h at every step, for Q is
    positive semidefinite: a maximum, which may be a local one where places are wrong.
    """
    name = "gains" if unknowns.is_array else "antenna_phases"
    if name not in unknowns.names:
        return None
    matrix = torch.zeros((unknowns.n_antennas, unknowns.n_antennas), dtype=torch.complex128)
    for part in placed:
        seen = part.observation
        columns = responses(seen, seen.array.steering(part.sources))
        groups = grouped_snapshots(seen)
        fit = least_squares(columns, groups)
        basis = torch.linalg.solve_triangular(fit.factor, columns.conj(), upper=False)
        size = squared_modulus(groups).sum((1, 2)).rsqrt()
        along = basis * (size[:, None, None] * groups)[:, :, None]
        by_antenna = along.unflatten(-1, (-1, unknowns.n_antennas)).sum(-2).flatten(0, 2)
        matrix = matrix + by_antenna.mH @ by_antenna
    turned = torch.linalg.eigh(matrix).eigenvectors[:, -1]
    for _ in range(_POWER_STEPS):
        turned = torch.sgn(matrix @ turned)
    # the phase of h, of which y holds the conjugate beside Q; that of the first antenna that is seen stays
    first = turned[torch.nonzero(turned)[0]]
    phases = -(turned * first.conj()).angle()
    theta = unknowns.nothing()
    theta[unknowns.parts[name]] = torch.cat((torch.zeros_like(phases), phases)) if name == "gains" else phases
    return theta
