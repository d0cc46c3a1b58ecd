"""Subsets of candidates: their scores as written out, and the search of the best against all of them."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from risolve.inference.candidates import Match, likeliest_subsets, marginal_gain, match
from tests.oracles import unconditional as oracle

N_SCENES, N_GROUPS, N_ROWS, N_CANDIDATES = 2, 3, 5, 7
EVERY = 35
"""Most subsets of one size that seven candidates have."""


def drawn(seed: int, n_candidates: int = N_CANDIDATES) -> tuple[Match, torch.Tensor, torch.Tensor]:
    """Inner products, columns and snapshots of random candidates; snapshots that some of them explain."""
    random = torch.Generator().manual_seed(seed)
    shape = (N_SCENES, N_GROUPS, n_candidates, N_ROWS)
    columns = torch.randn(shape, dtype=torch.complex128, generator=random)
    amplitudes = torch.randn((N_SCENES, N_GROUPS, 1, n_candidates), dtype=torch.complex128, generator=random)
    noise = torch.randn((N_SCENES, N_GROUPS, N_ROWS), dtype=torch.complex128, generator=random)
    snapshots = (amplitudes[..., :3] @ columns[:, :, :3])[..., 0, :] + noise
    return match(columns, snapshots), columns, snapshots


def subsets_of(n_candidates: int, n_sources: int) -> torch.Tensor:
    every = list(itertools.combinations(range(n_candidates), n_sources))
    return torch.tensor(every, dtype=torch.int64).reshape(1, len(every), n_sources).expand(N_SCENES, -1, -1)


@pytest.mark.parametrize("n_sources", [0, 1, 2, 4])
def test_gain_is_the_decrease_of_the_likelihood_written_out(n_sources: int) -> None:
    """V of no source, sum_g |y_g|^2, less V of R_g = I + G_g G_g^H, inverted scene by scene."""
    seen, columns, snapshots = drawn(1)
    subsets = subsets_of(N_CANDIDATES, n_sources)
    gain = marginal_gain(seen, subsets)
    for scene, number in itertools.product(range(N_SCENES), range(subsets.shape[1])):
        members = subsets[scene, number]
        matrices = [columns[scene, group, members].T.numpy() for group in range(N_GROUPS)]
        received = list(snapshots[scene].numpy())
        none = oracle.cost([m[:, :0] for m in matrices], received, np.ones(0), 1.0)
        expected = none - oracle.cost(matrices, received, np.ones(n_sources), 1.0)
        assert float(gain[scene, number]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_candidate_of_zeros_gains_nothing() -> None:
    _, columns, snapshots = drawn(2)
    columns[:, :, 6] = 0.0
    seen = match(columns, snapshots)
    with_it, without = (torch.tensor([[members]] * N_SCENES) for members in ([0, 2, 6], [0, 2]))
    torch.testing.assert_close(marginal_gain(seen, with_it), marginal_gain(seen, without))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), n_sources=st.integers(1, 4), weight=st.sampled_from([0.0, 1.0, 10.0]))
def test_a_wide_beam_finds_all_subsets_in_the_order_of_their_scores(
    seed: int, n_sources: int, weight: float
) -> None:
    seen, _, _ = drawn(seed)
    random = torch.Generator().manual_seed(seed)
    prior = weight * torch.randn((N_SCENES, N_CANDIDATES), dtype=torch.float64, generator=random)
    found = likeliest_subsets(seen, prior, n_sources, EVERY)
    every = subsets_of(N_CANDIDATES, n_sources)
    score = marginal_gain(seen, every) + prior.gather(1, every.flatten(1)).unflatten(1, every.shape[1:]).sum(
        2
    )
    best = score.sort(dim=1, descending=True)
    n_subsets = every.shape[1]
    torch.testing.assert_close(found.score[:, :n_subsets], best.values)
    assert bool((found.score[:, n_subsets:] == -math.inf).all())
    for scene in range(N_SCENES):
        members = found.members[scene, :n_subsets].sort(-1).values
        assert sorted(members.tolist()) == every[scene].tolist()


@pytest.mark.parametrize("n_kept", [1, 3, 8])
def test_a_narrow_beam_gives_true_scores_of_different_subsets(n_kept: int) -> None:
    seen, _, _ = drawn(5)
    prior = torch.zeros((N_SCENES, N_CANDIDATES), dtype=torch.float64)
    found = likeliest_subsets(seen, prior, 3, n_kept)
    assert found.members.shape == (N_SCENES, n_kept, 3)
    torch.testing.assert_close(found.score, marginal_gain(seen, found.members))
    assert bool((found.score.diff(dim=1) <= 0.0).all())
    best = marginal_gain(seen, subsets_of(N_CANDIDATES, 3)).amax(1)
    assert bool((found.score[:, 0] <= best + 1e-9).all())
    for members in found.members.sort(-1).values.tolist():
        assert len({tuple(one) for one in members}) == n_kept
        assert all(len(set(one)) == 3 for one in members)


def test_the_first_of_the_beam_is_the_best_candidate_and_a_prior_can_make_it_another() -> None:
    seen, _, _ = drawn(6)
    gain = marginal_gain(seen, subsets_of(N_CANDIDATES, 1))
    prior = torch.zeros((N_SCENES, N_CANDIDATES), dtype=torch.float64)
    assert torch.equal(likeliest_subsets(seen, prior, 1, 2).members[:, 0, 0], gain.argmax(1))
    prior[:, 4] = 1e6
    assert likeliest_subsets(seen, prior, 1, 2).members[:, 0, 0].tolist() == [4] * N_SCENES


def test_subsets_with_a_candidate_that_is_not_there_come_last_without_a_score() -> None:
    """Of four candidates one is missing: three pairs are left, in six slots that are asked for."""
    seen, _, _ = drawn(7, 4)
    prior = torch.zeros((N_SCENES, 4), dtype=torch.float64)
    prior[:, 1] = -math.inf
    found = likeliest_subsets(seen, prior, 2, 6)
    assert found.score.isfinite().sum(1).tolist() == [3] * N_SCENES
    assert bool(found.score[:, :3].isfinite().all())
    for members in found.members[:, :3].sort(-1).values.tolist():
        assert sorted(map(tuple, members)) == [(0, 2), (0, 3), (2, 3)]


def test_fewer_subsets_than_slots_leave_slots_without_a_score() -> None:
    seen, _, _ = drawn(8, 3)
    found = likeliest_subsets(seen, torch.zeros((N_SCENES, 3), dtype=torch.float64), 3, 5)
    assert found.score.isfinite().sum(1).tolist() == [1] * N_SCENES
    assert found.members[:, 0].sort(-1).values.tolist() == [[0, 1, 2]] * N_SCENES


def test_no_subset_holds_a_candidate_twice_where_there_are_few() -> None:
    """Three candidates of seven, one of them much stronger: twice that one would explain more than all."""
    seen, _, _ = drawn(9)
    strong = torch.ones(N_CANDIDATES, dtype=torch.float64)
    strong[0] = 5.0
    seen = Match(seen.gram * strong[:, None] * strong, seen.target * strong)
    prior = torch.full((N_SCENES, N_CANDIDATES), -math.inf, dtype=torch.float64)
    prior[:, :3] = 0.0
    found = likeliest_subsets(seen, prior, 3, 12)
    assert found.score.isfinite().sum(1).tolist() == [1] * N_SCENES
    assert found.members[:, 0].sort(-1).values.tolist() == [[0, 1, 2]] * N_SCENES
