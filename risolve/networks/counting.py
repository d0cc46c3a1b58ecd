"""The number of sources from what a network and the likelihood say of it, with a calibrated confidence.

    P(K) = (1 - q) softmax_K S_K + q P_net(K)
    S_K = a log P_net(K) + sum_{j<K} [ b h(D_j) + c / (1 + exp(-(D_j - 10) / 3)) - d - e s ] - f log(1 + K)
    D_j = V_j - V_{j+1},   s = log(1 + min(SNR, SNR_max)),   h(x) = sgn(x) t log(1 + |x| / t),   t = 20

P_net is the count of the network, V_K the least cost of K sources (`inference.unconditional`), least in
sigma^2 too where that is not known, D_j what a further source lowers it by, and SNR the estimated one. With
a = b = 1, c = e = 0 and h(x) = x, S would be the log posterior for a network and a likelihood that know
nothing of each other; the weights say how much they share, and what a further source costs, as the dimension
does in an information criterion. A source that is not there lowers V by about 10 as well, at the best place
for it: c makes a step there. h doubts what a cost says beyond a few t. In a share q of the scenes the search
has missed a least cost, and the network alone is right.

The weights are those of largest likelihood on scenes of known count, b to f for each source model; b and c
are not negative, so that a larger D_j never speaks against more than j sources. SNR_max is the largest of
these scenes: what a source costs at an SNR beyond is not known to be more. A known and an unknown noise power
have a rule each: costs, P_net and SNR say less where sigma^2 is estimated.

P is taken among the counts that have a cost, which follow one another, in fitting as in counting. They are
chosen without regard to the true one (by P_net, say), and scenes whose true count is not among them say
nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
import torch
from annotated_types import Ge, Interval
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from torch import Tensor

from risolve.batched import Batched

_DOUBTED = 20.0
"""Change of V t from which on it counts by its logarithm."""

_GAIN, _GAIN_WIDTH = 10.0, 3.0
"""Decrease of V at which a further source becomes credible, and the width of the step there."""

_RIDGE = 1e-6
"""Of the squared weights of features scaled to 1: weights without scenes are 0, and sure counts leave all
finite."""

_FIRST_MISSED = -4.0
"""logit q from which it is sought: 2 % of the scenes."""

_MOST_STEPS = 2000


@dataclass(frozen=True)
class Evidence(Batched):
    """log P_net(K), the cost V_K (infinite where no fit was made), K = 0, 1, ..., the estimated SNR (a power
    ratio), and whether the amplitudes are shared by all snapshots (`constant` sources).
    """

    log_probabilities: Float[Tensor, "scene count"]
    cost: Float[Tensor, "scene count"]
    estimated_snr: Float[Tensor, " scene"]
    shared: Bool[Tensor, " scene"]


ModelWeights: TypeAlias = tuple[float, float, float, float, float]

_NOT_NEGATIVE = (1, 2, 6, 7)
"""b and c of either model among (a, b, ..., f, b, ..., f)."""


@dataclass(frozen=True)
class CountRule:
    """Share q, weights a, and (b, c, d, e, f) of `independent` and of `constant` sources, and SNR_max."""

    missed: Annotated[float, Interval(ge=0.0, lt=1.0)]
    network: float
    independent: ModelWeights
    constant: ModelWeights
    highest_snr: Annotated[float, Ge(0.0)]

    def probabilities(self, evidence: Evidence) -> Float[Tensor, "scene count"]:
        """P(K) among the counts that have a cost."""
        weights = torch.tensor((self.network, *self.independent, *self.constant), dtype=torch.float64)
        fitted, of_network = _log_parts(evidence, _features(evidence, self.highest_snr) @ weights)
        return (1.0 - self.missed) * fitted.exp() + self.missed * of_network.exp()


OF_NETWORK = CountRule(0.0, 1.0, (0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0), 0.0)
"""The count of the network alone: the rule before calibration."""


def _log_parts(
    evidence: Evidence, scores: Float[Tensor, "scene count"]
) -> tuple[Float[Tensor, "scene count"], Float[Tensor, "scene count"]]:
    """log softmax S and log P_net among the counts that have a cost."""
    without = ~evidence.cost.isfinite()
    of_network = evidence.log_probabilities.double()
    fitted, alone = (own.masked_fill(without, -torch.inf).log_softmax(-1) for own in (scores, of_network))
    return fitted, alone


def _features(evidence: Evidence, highest_snr: float) -> Float[Tensor, "scene count weight"]:
    """What the weights of a rule multiply, in their order."""
    cost = evidence.cost
    both = cost[:, :-1].isfinite() & cost[:, 1:].isfinite()
    gain = torch.where(both, cost[:, :-1] - cost[:, 1:], 0.0)
    doubted = gain.sign() * _DOUBTED * (gain.abs() / _DOUBTED).log1p()
    credible = ((gain - _GAIN) / _GAIN_WIDTH).sigmoid()
    K = torch.arange(cost.shape[1], dtype=torch.float64).expand_as(cost)
    level = evidence.estimated_snr.double().clamp(0.0, highest_snr).log1p()[:, None]
    summed = (_before(part.masked_fill(~both, 0.0)) for part in (doubted, credible))
    own = torch.stack((*summed, -K, -K * level, -K.log1p()), dim=-1)
    shared = evidence.shared.double()[:, None, None]
    of_network = evidence.log_probabilities.double()[..., None]
    return torch.cat((of_network, own * (1.0 - shared), own * shared), dim=-1)


def _before(gains: Float[Tensor, "scene step"]) -> Float[Tensor, "scene count"]:
    """Sums over j < K."""
    return torch.nn.functional.pad(gains.cumsum(-1), (1, 0))


def fitted_rule(evidence: Evidence, n_sources: Int[Tensor, " scene"]) -> CountRule:
    """The rule of largest likelihood of the true counts among those that have a cost.

    A scene whose true count has none says nothing. For q = 0 the negative log-likelihood is convex in the
    weights; its minimum there is where q and the weights are sought from.

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
    seen, counts = evidence.select(telling), n_sources[telling].long()[:, None]
    highest_snr = max(float(seen.estimated_snr.max()), 0.0)
    features = _features(seen, highest_snr)
    size = features.abs().amax((0, 1))
    features = features / torch.where(size > 0.0, size, 1.0)

    def loss(weights: Tensor, missed: Tensor) -> Tensor:
        fitted, of_network = (part.gather(1, counts) for part in _log_parts(seen, features @ weights))
        log_probability = torch.logaddexp((-missed).log1p() + fitted, missed.log() + of_network)
        return _RIDGE * weights.square().sum() - log_probability.mean()

    n_weights = features.shape[-1]
    limits = [(0.0 if number in _NOT_NEGATIVE else None, None) for number in range(n_weights)]
    never = torch.zeros((), dtype=torch.float64)
    first = _minimum(lambda x: loss(x, never), torch.zeros(n_weights, dtype=torch.float64), limits)
    start = torch.nn.functional.pad(first, (0, 1), value=_FIRST_MISSED)
    best = _minimum(lambda x: loss(x[:-1], x[-1].sigmoid()), start, [*limits, (None, None)])
    a, b, c, d, e, f, *other = (best[:-1] / torch.where(size > 0.0, size, 1.0)).tolist()
    constant = (other[0], other[1], other[2], other[3], other[4])
    return CountRule(float(best[-1].sigmoid()), a, (b, c, d, e, f), constant, highest_snr)


def _minimum(
    loss: Callable[[Tensor], Tensor],
    start: Float[Tensor, " variable"],
    limits: Sequence[tuple[float | None, float | None]],
) -> Float[Tensor, " variable"]:
    """The variables within limits, of lowest and highest value, from which no step lowers the loss."""

    def value_and_slope(variables: Float[np.ndarray, " variable"]) -> tuple[float, np.ndarray]:
        x = torch.tensor(variables, requires_grad=True)
        value = loss(x)
        (slope,) = torch.autograd.grad(value, x)
        return float(value.detach()), slope.numpy()

    found = minimize(
        value_and_slope,
        start.numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        options={"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "maxcor": 20, "ftol": 0.0, "gtol": 1e-9},
    )
    return torch.from_numpy(found.x)
