"""The rule that counts: probabilities of its formula, and weights found again from counts drawn by them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from risolve.networks.counting import OF_NETWORK, CountRule, Evidence, fitted_rule
from tests.messages import shows

RULE = CountRule(0.1, 0.6, (0.3, 1.5, 2.0, 0.4, 1.2), (0.4, 2.0, 2.5, 0.3, 0.8), 19.0)
RIDGE = 2e-6
"""Second derivative of the penalty of `fitted_rule`, for features scaled to 1."""

DOUBTED = 20.0
"""t of h."""

GAIN, GAIN_WIDTH = 10.0, 3.0
"""Middle and width of the step of c."""


def drawn(n_scenes: int, seed: int = 1, n_counts: int = 5) -> Evidence:
    """Evidence of any kind: the rule asks for no law between its parts. A further source lowers V by 8 on
    average.
    """
    random = torch.Generator().manual_seed(seed)
    return Evidence(
        torch.randn((n_scenes, n_counts), generator=random).mul(2.0).log_softmax(-1),
        100.0
        - 8.0 * torch.arange(n_counts)
        + 4.0 * torch.randn((n_scenes, n_counts), dtype=torch.float64, generator=random),
        torch.rand(n_scenes, generator=random) * 20.0 - 1.0,
        torch.rand(n_scenes, generator=random) < 0.4,
    )


def weights_of(rule: CountRule) -> Tensor:
    return torch.tensor((rule.network, *rule.independent, *rule.constant), dtype=torch.float64)


def features_of(evidence: Evidence) -> Tensor:
    """What multiplies a, and b to f of either model, count by count as in the formula."""
    n_scenes, n_counts = evidence.cost.shape
    features = [[[0.0] * 11 for _ in range(n_counts)] for _ in range(n_scenes)]
    parts = (evidence.log_probabilities, evidence.cost, evidence.estimated_snr, evidence.shared)
    for own, log_probabilities, cost, snr, shared in zip(
        features, *(part.tolist() for part in parts), strict=True
    ):
        level = math.log1p(min(max(snr, 0.0), RULE.highest_snr))
        first = 6 if shared else 1
        for count in range(n_counts):
            own[count][0] = log_probabilities[count]
            for before in range(count):
                gain = cost[before] - cost[before + 1]
                if math.isfinite(gain):
                    doubted = DOUBTED * math.log(1.0 + abs(gain) / DOUBTED)
                    own[count][first] += math.copysign(doubted, gain)
                    own[count][first + 1] += 1.0 / (1.0 + math.exp(-(gain - GAIN) / GAIN_WIDTH))
            own[count][first + 2 : first + 5] = -count, -level * count, -math.log(1.0 + count)
    return torch.tensor(features, dtype=torch.float64)


def counted(evidence: Evidence, seed: int, rule: CountRule = RULE) -> Tensor:
    """True counts drawn by a rule."""
    random = torch.Generator().manual_seed(seed)
    return torch.multinomial(rule.probabilities(evidence), 1, generator=random)[:, 0]


def test_probabilities_are_those_of_the_formula() -> None:
    """Also where the costs begin above 0 sources and end before the most."""
    evidence = drawn(40)
    evidence.cost[:10, :2] = evidence.cost[20:, 4:] = math.inf
    of_network = among_costs(evidence.log_probabilities.double(), evidence)
    expected = 0.9 * among_costs(features_of(evidence) @ weights_of(RULE), evidence) + 0.1 * of_network
    torch.testing.assert_close(RULE.probabilities(evidence), expected, rtol=1e-6, atol=1e-9)


def among_costs(scores: Tensor, evidence: Evidence) -> Tensor:
    """softmax among the counts that have a cost."""
    return scores.masked_fill(~evidence.cost.isfinite(), -math.inf).softmax(-1)


def test_probabilities_sum_to_one_and_counts_without_a_cost_have_none() -> None:
    evidence = drawn(40)
    missing = torch.rand((40, 5), generator=torch.Generator().manual_seed(3)) < 0.5
    missing[:, 2] = False
    evidence = replace(evidence, cost=evidence.cost.masked_fill(missing, math.inf))
    found = RULE.probabilities(evidence)
    torch.testing.assert_close(found.sum(1), torch.ones(40, dtype=torch.float64))
    assert torch.equal(found == 0.0, missing)


def test_of_the_network_alone_the_probabilities_are_its_own() -> None:
    evidence = drawn(40)
    expected = evidence.log_probabilities.exp().double()
    torch.testing.assert_close(OF_NETWORK.probabilities(evidence), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shift", [-1e6, 1e3])
def test_the_unit_of_the_snapshots_does_not_matter(shift: float) -> None:
    """It adds the same to the costs of all counts."""
    evidence = drawn(40)
    moved = replace(evidence, cost=evidence.cost + shift)
    torch.testing.assert_close(RULE.probabilities(moved), RULE.probabilities(evidence), rtol=1e-6, atol=1e-9)


def test_a_further_source_costs_more_where_the_rule_says_so() -> None:
    evidence = replace(drawn(40), shared=torch.zeros(40, dtype=torch.bool))
    dear = replace(RULE, independent=(0.3, 1.5, 4.5, 0.4, 1.2))
    numbers = torch.arange(5, dtype=torch.float64)
    assert bool((dear.probabilities(evidence) @ numbers < RULE.probabilities(evidence) @ numbers).all())
    other = replace(RULE, constant=(9.0, 9.0, 9.0, 9.0, 9.0))
    assert torch.equal(other.probabilities(evidence), RULE.probabilities(evidence))


def test_a_rule_says_no_more_of_an_snr_above_those_it_was_fitted_to() -> None:
    evidence = drawn(40)
    rule = fitted_rule(drawn(500), counted(drawn(500), 2))
    assert rule.highest_snr == float(drawn(500).estimated_snr.max())
    at_highest, far_above = (
        rule.probabilities(replace(evidence, estimated_snr=torch.full((40,), snr)))
        for snr in (rule.highest_snr, 1e6)
    )
    assert torch.equal(at_highest, far_above)


def test_a_larger_decrease_never_speaks_against_a_further_source() -> None:
    """Where the counts of the fit say that it does, its weight is 0."""
    evidence = drawn(2000)
    against = replace(RULE, independent=(-0.3, -1.5, 2.0, 0.4, 1.2), constant=(-0.4, -2.0, 2.5, 0.3, 0.8))
    rule = fitted_rule(evidence, counted(evidence, 2, against))
    assert rule.independent[:2] == rule.constant[:2] == (0.0, 0.0)
    rule = fitted_rule(evidence, counted(evidence, 2))
    for step in range(4):
        lower = evidence.cost.clone()
        lower[:, step + 1 :] -= torch.linspace(0.1, 1e4, 2000, dtype=torch.float64)[:, None]
        before, after = (
            rule.probabilities(own)[:, step + 1 :].sum(-1)
            for own in (evidence, replace(evidence, cost=lower))
        )
        assert bool((after >= before - 1e-12).all())


def test_weights_are_found_again_from_counts_drawn_by_them() -> None:
    """With the Fisher information F of x = (q, w), P = (1 - q) S + q N, and the ridge r of w, H = F + r:

    F = mean sum_K P'_K P'_K^T / P_K,   P'_K = (N_K - S_K, (1 - q) S_K (X_K - sum_j S_j X_j))
    E x = x - H^-1 r x,   cov x = H^-1 F H^-1 / n        (to first order)
    """
    n_scenes = 30000
    evidence = drawn(n_scenes)
    rule = fitted_rule(evidence, counted(evidence, 2))
    found = torch.cat((torch.tensor([rule.missed], dtype=torch.float64), weights_of(rule)))
    X, P, q = features_of(evidence), RULE.probabilities(evidence), RULE.missed
    S, N = (X @ weights_of(RULE)).softmax(-1), evidence.log_probabilities.double().softmax(-1)
    by_weight = (1.0 - q) * S[..., None] * (X - (S[:, None] @ X))
    slope = torch.cat(((N - S)[..., None], by_weight), dim=-1)
    fisher = (slope.mT @ (slope / P[..., None])).mean(0)
    ridge = torch.nn.functional.pad(torch.diag(RIDGE * X.abs().amax((0, 1)).square()), (1, 0, 1, 0))
    inverse = torch.linalg.inv(fisher + ridge)
    true = torch.cat((torch.tensor([q], dtype=torch.float64), weights_of(RULE)))
    expected = true - inverse @ ridge @ true
    deviation = (inverse @ fisher @ inverse / n_scenes).diagonal().sqrt()
    assert bool((deviation[1:] < 0.25 * true[1:].abs().clamp_min(0.5)).all()) and deviation[0] < 0.2 * q
    assert bool(((found - expected).abs() < 4.5 * deviation).all())


def test_the_stated_confidence_is_the_share_that_is_right() -> None:
    """On scenes that the rule was not fitted on: sum of c less number right has variance sum c (1 - c)."""
    rule = fitted_rule(drawn(3000), counted(drawn(3000), 2))
    fresh = drawn(6000, seed=9)
    confidence, count = rule.probabilities(fresh).max(-1)
    right = (count == counted(fresh, 10)).double()
    for chosen in (confidence > 0.0, confidence < 0.6, confidence > 0.9):
        c = confidence[chosen]
        assert len(c) > 100
        assert abs(float((right[chosen] - c).sum())) < 4.5 * float((c * (1.0 - c)).sum().sqrt())


def test_a_fit_does_not_depend_on_the_order_of_the_scenes() -> None:
    evidence = drawn(500)
    counts = counted(evidence, 2)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(4))
    mixed = Evidence(
        evidence.log_probabilities[order],
        evidence.cost[order],
        evidence.estimated_snr[order],
        evidence.shared[order],
    )
    first, second = (weights_of(fitted_rule(*case)) for case in ((evidence, counts), (mixed, counts[order])))
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_a_source_model_without_scenes_has_no_weights() -> None:
    evidence = replace(drawn(500), shared=torch.zeros(500, dtype=torch.bool))
    assert fitted_rule(evidence, counted(evidence, 2)).constant == OF_NETWORK.constant


def among(evidence: Evidence, kept: Tensor) -> Evidence:
    """Without the costs of other counts than these."""
    return replace(evidence, cost=evidence.cost.masked_fill(~kept, math.inf))


def test_counts_chosen_without_regard_to_the_truth_tell_the_same_rule() -> None:
    """Among the counts that P_net makes plausible, scenes left out whose truth is not among them. Where the
    true count is always among them, a count that P_net does not make plausible is always right.

    Exact for q = 0, where the odds of two counts do not depend on which others there are.
    """
    evidence, rule = drawn(6000), replace(RULE, missed=0.0)
    counts = counted(evidence, 2, rule)
    plausible = evidence.log_probabilities > math.log(0.2)
    kept = between(plausible)
    outside = ~kept.gather(1, counts[:, None])[:, 0]
    assert 30 < int(outside.sum()) < 3000
    always = between(plausible.scatter(1, counts[:, None], True))
    known = rule.probabilities(evidence)
    found, biased = (
        fitted_rule(among(evidence, own), counts).probabilities(evidence) for own in (kept, always)
    )
    assert float((found - known).abs().mean()) < 0.01 < 0.03 < float((biased - known).abs().mean())


def between(chosen: Tensor) -> Tensor:
    """The counts from the first to the last that is chosen."""
    return torch.stack(
        [
            torch.stack([row[:count].any() & row[count:].any() | row[count] for count in range(len(row))])
            for row in chosen
        ]
    )


@pytest.mark.parametrize("fault", ["no cost", "beyond"])
def test_without_any_cost_of_a_true_count_there_is_no_rule(fault: str) -> None:
    evidence, counts = drawn(4), torch.tensor([0, 1, 2, 3])
    if fault == "no cost":
        evidence.cost[torch.arange(4), counts] = math.inf
    else:
        counts += 5
    with pytest.raises(ValueError, match=shows("count ... 4 scenes ... none")):
        fitted_rule(evidence, counts)
