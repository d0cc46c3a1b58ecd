"""Many snapshots under one code, as few that say the same of the places of sources."""

from dataclasses import replace
from itertools import pairwise

import torch

from risolve.physics.observation import Observation


def condensed(observation: Observation) -> Observation:
    """As many snapshots as antennas in place of more, of `independent` sources under one code for all, or for
    all of each band.

        Y = Q T,   Q^H Q = I:   sum_l |P^perp y_l|^2 = tr(P^perp Y^T Y^*) = sum_i |P^perp t_i|^2

    with one P for all these snapshots: every J stays, by rounding of complex128. What a source takes of the
    noise does not: it is counted by `n_recorded`. Any other observation stays as it is.
    """
    L, M, codes = observation.n_snapshots, observation.n_antennas, observation.codes
    changes = (codes[:, 1:] != codes[:, :-1]).any(-1).any(0)
    ends = [0, *(torch.nonzero(changes).flatten() + 1).tolist(), L]
    runs = list(pairwise(ends))
    is_long = max(last - first for first, last in runs) > M
    if observation.source_model != "independent" or len(runs) > observation.array.n_free_bands or not is_long:
        return observation
    y = observation.snapshots.to(torch.complex128)
    snapshots = torch.cat([torch.linalg.qr(y[:, first:last], mode="r").R for first, last in runs], dim=1)
    kept = torch.cat([codes[:, first : min(first + M, last)] for first, last in runs], dim=1)
    return replace(observation, snapshots=snapshots, codes=kept, recorded=observation.n_recorded)
