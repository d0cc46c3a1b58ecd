"""Whether a scene is beyond what a network was trained on, and what its count is then worth.

    odds = w / fits + e + P_+ / (1 - P_+),   P(beyond) = odds / (1 + odds)
    P(right) = (1 - P(beyond)) P^g / (P^g + k (1 - P)^g) + r P(beyond)

fits is that of `inference.goodness`; e where no source is found, as sources weaker than those of the training
are none to the network, or one is found beside its grid; P_+ the probability of one more source than the
network counts at most, by its own rule, where it counts so many and the scene fits. P is the confidence of
the rule, which is one among trained scenes, and there too sure where it is low; g mends that. Scenes beyond
make a wrong count k times as frequent also where nothing shows them, and a share r of those that show is
counted right.

w, e, k, g and r are those of largest likelihood, rounded, on scenes like those of `benchmarks.beyond`, which
are others: half of them as in the training, a sixth each with more sources, wider elevations, and SNRs below
and above. A confidence is one for such a mixture.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.identifiability import most_sources
from risolve.inference.grid import Grid
from risolve.inference.one_more import decrease_by_one_more
from risolve.networks.counting import Evidence
from risolve.networks.trained import Prediction
from risolve.physics.observation import Observation
from risolve.shapes import Sources

_OF_FIT = 0.002
"""w: `fits` of even odds."""

_UNSEEN = 0.15
"""e."""

_WRONG, _SURER = 2.2, 1.2
"""k and g."""

_RIGHT = 0.08
"""r."""

_FITTING = 0.001
"""`fits` below which one more source is not looked for: the scene is beyond in any case."""

_BESIDE = 0.5
"""Steps of the grid from its box, along u or v, from which a source is beside it and not at its border."""


def beyond_training(
    observation: Observation,
    sources: Sources,
    fits: Float[Tensor, " scene"],
    prediction: Prediction,
    grid: Grid,
    *,
    counted: bool,
) -> Float[Tensor, " scene"]:
    """P(beyond) of NaN-padded sources at a maximum of the likelihood; counted: their number was not told.

    Raises:
        ValueError: as `decrease_by_one_more`.
    """
    n_sources = (~sources[..., 0].isnan()).sum(-1)
    places = grid.coordinates_of(sources)
    apart = (grid.apart(places, grid.in_box(places)) / grid.steps)[..., :2]
    unseen = (apart > _BESIDE).any(-1).any(-1)
    fits = fits.nan_to_num(nan=1.0)
    odds = _OF_FIT / fits
    if counted:
        unseen = unseen | (n_sources == 0)
        most = prediction.count_log_probabilities.shape[1] - 1
        full = torch.nonzero((n_sources == most) & (fits > _FITTING)).flatten()
        if full.numel() and most < _determined(observation):
            slots = torch.nonzero(~sources[full, :, 0].isnan())[:, 1].reshape(-1, most)
            own = sources[full[:, None], slots]
            more = _one_more(observation.select(full), own, prediction.select(full), grid)
            odds[full] += more / (1.0 - more)
    odds = odds + _UNSEEN * unseen
    return 1.0 - 1.0 / (1.0 + odds)


def mixed_confidence(
    confidence: Float[Tensor, " scene"], beyond: Float[Tensor, " scene"]
) -> Float[Tensor, " scene"]:
    """P(right) of counts that are right with a confidence among the scenes of the training."""
    right, wrong = confidence**_SURER, _WRONG * (1.0 - confidence) ** _SURER
    return (1.0 - beyond) * right / (right + wrong) + _RIGHT * beyond


def _one_more(
    observation: Observation, sources: Float[Tensor, "scene source 3"], prediction: Prediction, grid: Grid
) -> Float[Tensor, " scene"]:
    """P_+ by the rule of the counts, for which the network tells K and K + 1 sources not apart."""
    n_scenes, K = sources.shape[:2]
    cost = torch.full((n_scenes, K + 2), torch.inf, dtype=torch.float64)
    cost[:, K], cost[:, K + 1] = decrease_by_one_more(observation, sources, grid), 0.0
    shared = torch.full((n_scenes,), observation.source_model == "constant")
    evidence = Evidence(torch.zeros_like(cost), cost, prediction.estimated_snr, shared)
    return prediction.calibration.count_rule(observation).probabilities(evidence)[:, K + 1]


def _determined(observation: Observation) -> int:
    L, M, N = observation.n_snapshots, observation.n_antennas, observation.n_elements
    return most_sources(observation.source_model, L, M, N, observation.limits.n_free).n_sources
