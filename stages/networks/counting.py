"""The number of sources from what a network and the likelihood say of it, with a calibrated confidence.

    P(K) = softmax_K( a log P_net(K) - b V_K - (c + d log(1 + SNR)) K )

P_net is the count of the network, V_K the least cost of K sources (`inference.unconditional`) and SNR the
estimated one. With a = b = 1 this would be the posterior for a network and a likelihood that know nothing of
each other; the weights say how much they share, and what a further source costs, as the dimension does in an
information criterion. They are those of largest likelihood on scenes of known count, one c and d for each
source model: a multinomial logit, whose probabilities are calibrated on these scenes by construction.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

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


@dataclass(frozen=True)
class CountRule:
    """Weights a, b, and (c, d) of `independent` and of `constant` sources."""

    network: float
    likelihood: float
    independent: tuple[float, float]
    constant: tuple[float, float]

    def probabilities(self, evidence: Evidence) -> Float[Tensor, "scene count"]:
        """P(K) among the counts that have a cost."""
        weights = torch.tensor(
            (self.network, self.likelihood, *self.independent, *self.constant), dtype=torch.float64
        )
        scores = _features(evidence) @ weights
        return scores.masked_fill(~evidence.cost.isfinite(), -torch.inf).softmax(-1)


OF_NETWORK = CountRule(1.0, 0.0, (0.0, 0.0), (0.0, 0.0))
"""The count of the network alone: the rule before calibration."""


def _features(evidence: Evidence) -> Float[Tensor, "scene count weight"]:
    """What the weights of a rule multiply, in their order."""
    finite = torch.where(evidence.cost.isfinite(), evidence.cost, 0.0)
    least = evidence.cost.amin(-1, keepdim=True)
    gain = torch.where(evidence.cost.isfinite(), least - finite, 0.0)
    K = torch.arange(evidence.cost.shape[1], dtype=torch.float64).expand_as(gain)
    level = evidence.estimated_snr.double().clamp_min(0.0).log1p()[:, None]
    shared = evidence.shared.double()[:, None]
    penalties = [-K * (1.0 - shared), -K * level * (1.0 - shared), -K * shared, -K * level * shared]
    return torch.stack([evidence.log_probabilities.double(), gain, *penalties], dim=-1)


def fitted_rule(evidence: Evidence, n_sources: Int[Tensor, " scene"]) -> CountRule:
    """The rule of largest likelihood of the true counts, each of which has a cost.

    A small quadratic penalty, half a thousandth of the squared weights, keeps the weights of a source model
    without scenes at 0.

    Raises:
        ValueError: a count that has no cost.
    """
    features, counts = _features(evidence), n_sources.long()
    n_counts = evidence.cost.shape[1]
    of_truth = evidence.cost.gather(1, counts.clamp_max(n_counts - 1)[:, None])[:, 0]
    known = (counts < n_counts) & of_truth.isfinite()
    if not bool(known.all()):
        scenes = torch.nonzero(~known).flatten().tolist()
        raise ValueError(f"the cost of the true count is known; not so in scenes {scenes} of the batch")
    missing = ~evidence.cost.isfinite()
    weights = torch.zeros(features.shape[-1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=_MOST_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = (features @ weights).masked_fill(missing, -torch.inf)
        value = torch.nn.functional.cross_entropy(scores, counts) + 5e-4 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    a, b, *penalties = weights.detach().tolist()
    return CountRule(a, b, (penalties[0], penalties[1]), (penalties[2], penalties[3]))
