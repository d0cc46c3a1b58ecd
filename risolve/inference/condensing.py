"""Many snapshots under one code, as few that say the same of the places of sources."""

from dataclasses import replace

import torch

from risolve.physics.observation import Observation


def condensed(observation: Observation) -> Observation:
    """As many snapshots as antennas in place of more, of `independent` sources under one code for all.

        Y = Q T,   Q^H Q = I:   sum_l |P^perp y_l|^2 = tr(P^perp Y^T Y^*) = sum_i |P^perp t_i|^2

    with one P for all snapshots: every J stays, by rounding of complex128. What a source takes of the noise
    does not: it is counted by `n_recorded`. Any other observation stays as it is.
    """
    L, M, codes = observation.n_snapshots, observation.n_antennas, observation.codes
    is_same = bool((codes == codes[:, :1]).all())
    if observation.source_model != "independent" or L <= M or not is_same:
        return observation
    snapshots = torch.linalg.qr(observation.snapshots.to(torch.complex128), mode="r").R
    return replace(observation, snapshots=snapshots, codes=codes[:, :M], recorded=observation.n_recorded)
