"""The number of sources from what a network and the likelihood say of it, with a calibrated confidence.

    P(K) = softmax_K( a log P_net(K) - (b + c s) h(V_K - min_j V_j) - (d + e s) K - f log(1 + K) )
    s = log(1 + SNR),   h(x) = t log(1 + x / t),   t = 20

P_net is the count of the network, V_K the least cost of K sources (`inference.unconditional`), least in
sigma^2 too where that is not known, and SNR the estimated one. With a = b = 1, c = 0 and h(x) = x this would
be the posterior for a network and a likelihood that know nothing of each other; the weights say how much they
share, and what a further source costs, as the dimension does in an information criterion. h doubts what a
cost says beyond a few t, for a search may miss the least one.

The weights are those of largest likelihood on scenes of known count, b to f for each source model: a
multinomial logit, whose probabilities are calibrated on these scenes by construction. A known and an unknown
noise power have a rule each: costs, P_net and SNR say less where sigma^2 is estimated.

The rule is as well that of largest likelihood among some of the counts, chosen without regard to the true one
(by P_net, say), from the scenes whose true count is among them: given that, P is the same softmax over them.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_DOUBTED = 20.0
"""Difference of costs t from which on it counts by its logarithm."""

_RIDGE = 1e-6
"""Of the squared weights of features scaled to 1: weights without scenes are 0, and sure counts leave all
finite."""

_MOST_STEPS = 500


@dataclass(frozen=True)
class Evidence:
    """log P_net(K), the cost V_K (infinite where no fit was made), K = 0, 1, ..., the estimated SNR (a power
    ratio), and whether the amplitudes are shared by all snapshots (`constant` sources).
    """

    log_probabilities: Float[Tensor, "scene count"]
    cost: Float[Tensor, "scene count"]
    estimated_snr: Float[Tensor, " scene"]
    shared: Bool[Tensor, " scene"]


ModelWeights: TypeAlias = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class CountRule:
    """Weights a, and (b, c, d, e, f) of `independent` and of `constant` sources."""

    network: float
    independent: ModelWeights
    constant: ModelWeights

    def probabilities(self, evidence: Evidence) -> Float[Tensor, "scene count"]:
        """P(K) among the counts that have a cost."""
        weights = torch.tensor((self.network, *self.independent, *self.constant), dtype=torch.float64)
        scores = _features(evidence) @ weights
        return scores.masked_fill(~evidence.cost.isfinite(), -torch.inf).softmax(-1)


OF_NETWORK = CountRule(1.0, (0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0))
"""The count of the network alone: the rule before calibration."""


def _features(evidence: Evidence) -> Float[Tensor, "scene count weight"]:
    """What the weights of a rule multiply, in their order."""
    least = evidence.cost.amin(-1, keepdim=True)
    above = torch.where(evidence.cost.isfinite(), evidence.cost - least, 0.0)
    doubted = _DOUBTED * (above / _DOUBTED).log1p()
    K = torch.arange(evidence.cost.shape[1], dtype=torch.float64).expand_as(above)
    level = evidence.estimated_snr.double().clamp_min(0.0).log1p()[:, None]
    own = torch.stack((-doubted, -doubted * level, -K, -K * level, -K.log1p()), dim=-1)
    shared = evidence.shared.double()[:, None, None]
    of_network = evidence.log_probabilities.double()[..., None]
    return torch.cat((of_network, own * (1.0 - shared), own * shared), dim=-1)


def fitted_rule(evidence: Evidence, n_sources: Int[Tensor, " scene"]) -> CountRule:
    """The rule of largest likelihood of the true counts among those that have a cost.

    A scene whose true count has none says nothing.

    Raises:
        ValueError: no scene has a cost of its true count.
    """
    n_counts = evidence.cost.shape[1]
    of_truth = evidence.cost.gather(1, n_sources.long().clamp_max(n_counts - 1)[:, None])[:, 0]
    telling = torch.nonzero((n_sources < n_counts) & of_truth.isfinite()).flatten()
    if not telling.numel():
        raise ValueError(
            f"a rule is fitted to scenes of which the cost of the true count is known; of {len(n_sources)} "
            "scenes there is none"
        )
    features, counts = _features(evidence)[telling], n_sources[telling].long()
    missing = ~evidence.cost[telling].isfinite()
    size = features.abs().amax((0, 1))
    scale = torch.where(size > 0.0, size, 1.0)
    weights = torch.zeros(features.shape[-1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=_MOST_STEPS,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = (features @ (weights / scale)).masked_fill(missing, -torch.inf)
        value = torch.nn.functional.cross_entropy(scores, counts) + _RIDGE * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    a, b, c, d, e, f, *other = (weights.detach() / scale).tolist()
    return CountRule(a, (b, c, d, e, f), (other[0], other[1], other[2], other[3], other[4]))
