"""The most likely subset of candidate sources, from inner products computed once.

    explained(S) = sum_g |z_g|^2,   L L^H = G_S^H G_S,   L z = G_S^H y

is |y|^2 less the concentrated residual of the subset S; `marginal_gain` is the same for Gaussian amplitudes.
Subsets are small, so the Cholesky factors are written out entry by entry, each entry for all scenes, groups
and subsets at once.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.modulus import squared_modulus

_MOST_SUBSETS = 100
"""Subsets of a scene that are compared exhaustively."""

_DEPENDENT = 1e-10
"""Squared distance of a candidate from the span of others, over its own, below which it adds nothing."""


class Match(NamedTuple):
    """Inner products of candidates with each other, G^H G, and with the snapshots, G^H y."""

    gram: Complex[Tensor, "scene group candidate candidate"]
    target: Complex[Tensor, "scene group candidate"]


class Subsets(NamedTuple):
    """Subsets of candidates by their numbers, and the score of each; best first."""

    members: Int[Tensor, "scene subset source"]
    score: Float[Tensor, "scene subset"]


def match(
    columns: Complex[Tensor, "scene group candidate row"], snapshots: Complex[Tensor, "scene group row"]
) -> Match:
    """Inner products of candidates given as rows; a candidate of zeros explains nothing."""
    conjugate = columns.conj()
    return Match(conjugate @ columns.mT, (conjugate @ snapshots[..., None])[..., 0])


def most_explaining(seen: Match, n_sources: int) -> Int[Tensor, "scene source"]:
    """The subset of K candidates that explains most: of all, or by exchange where there are too many."""
    n_scenes, _, n_candidates = seen.target.shape
    if math.comb(n_candidates, n_sources) <= _MOST_SUBSETS:
        subsets = torch.tensor(
            list(itertools.combinations(range(n_candidates), n_sources)), dtype=torch.int64
        )
        every = subsets.reshape(1, -1, n_sources).expand(n_scenes, -1, -1)
        best = explained(seen, every).argmax(1)
        return every[0][best]
    return _exchanged(seen, _grown(seen, n_sources))


def explained(seen: Match, subsets: Int[Tensor, "scene subset source"]) -> Float[Tensor, "scene subset"]:
    """sum_g |z_g|^2 of every subset."""
    total = torch.zeros(subsets.shape[:2], dtype=torch.float64)
    for member in _eliminated(seen, subsets, 0.0):
        total = total + member.whitened.sum(1)
    return total


def marginal_gain(seen: Match, subsets: Int[Tensor, "scene subset source"]) -> Float[Tensor, "scene subset"]:
    """Decrease of V by the sources of every subset, their amplitudes CN(0, p_k) integrated out.

        sum_g |z_g|^2 - log det S_g,   S = I + G^H G = L L^H,   L z = G^H y

    of inner products of columns and snapshots scaled by sqrt(p_k) / sigma and 1 / sigma.
    """
    total = torch.zeros(subsets.shape[:2], dtype=torch.float64)
    for member in _eliminated(seen, subsets, 1.0):
        total = total + (member.whitened - member.pivot.log()).sum(1)
    return total


class _Eliminated(NamedTuple):
    """Squared pivot of one member of subsets, and |z|^2 of its entry of z."""

    pivot: Float[Tensor, "scene group subset"]
    whitened: Float[Tensor, "scene group subset"]


def _eliminated(
    seen: Match, subsets: Int[Tensor, "scene subset source"], loading: float
) -> Iterator[_Eliminated]:
    """The members of every subset, one after the other, with the Gram matrix plus `loading` I factored."""
    n_scenes, n_groups, n_candidates = seen.target.shape
    n_subsets, n_sources = subsets.shape[1:]
    shape = (n_scenes, n_groups, n_subsets)
    flat_gram = seen.gram.flatten(2)
    lower: dict[tuple[int, int], Tensor] = {}
    whitened: list[Tensor] = []

    def entry(row: int, column: int) -> Tensor:
        place = subsets[:, :, row] * n_candidates + subsets[:, :, column]
        return flat_gram.gather(2, place[:, None].expand(shape))

    for column in range(n_sources):
        own = entry(column, column).real + loading
        left = own - sum((squared_modulus(lower[column, p]) for p in range(column)), torch.zeros(()))
        # Loaded pivots are at least the loading, but for rounding; others tell dependent members.
        pivot = left.clamp_min(loading) if loading else torch.where(left > _DEPENDENT * own, left, torch.inf)
        inverse = pivot.rsqrt()
        for row in range(column + 1, n_sources):
            value = entry(row, column)
            for p in range(column):
                value = value - lower[row, p] * lower[column, p].conj()
            lower[row, column] = value * inverse
        value = seen.target.gather(2, subsets[:, None, :, column].expand(shape))
        for p in range(column):
            value = value - lower[column, p] * whitened[p]
        whitened.append(value * inverse)
        yield _Eliminated(pivot, squared_modulus(whitened[-1]))


def _grown(seen: Match, n_sources: int) -> Int[Tensor, "scene source"]:
    """A subset by adding, K times, the candidate that then explains most."""
    n_scenes, _, n_candidates = seen.target.shape
    chosen = torch.empty((n_scenes, 0), dtype=torch.int64)
    for _ in range(n_sources):
        trials = torch.cat(
            (
                chosen[:, None].expand(-1, n_candidates, -1),
                torch.arange(n_candidates).reshape(1, -1, 1).expand(n_scenes, -1, -1),
            ),
            dim=2,
        )
        value = explained(seen, trials).scatter(1, chosen, -1.0)
        chosen = torch.cat((chosen, value.argmax(1, keepdim=True)), dim=1)
    return chosen


def likeliest_subsets(
    seen: Match, prior: Float[Tensor, "scene candidate"], n_sources: int, n_kept: int
) -> Subsets:
    """The K candidates of largest `marginal_gain` plus prior, and the next ones, the best first.

    Subsets grow by one candidate at a time, and the `n_kept` best of each size go on (beam search). Those
    with a candidate of prior -inf are last, with a score of -inf, and so are slots for which there are no
    subsets.
    """
    n_candidates = prior.shape[1]
    members = torch.empty((prior.shape[0], 1, 0), dtype=torch.int64)
    score = torch.zeros(members.shape[:2], dtype=torch.float64)
    for _ in range(n_sources):
        kept = members.shape[1]
        added = torch.arange(n_candidates).reshape(1, 1, -1, 1).expand(prior.shape[0], kept, -1, 1)
        before = members[:, :, None].expand(-1, -1, n_candidates, -1)
        grown = torch.cat((before, added), dim=-1).flatten(1, 2)
        gain = marginal_gain(seen, grown) + prior.gather(1, grown.flatten(1)).unflatten(
            1, grown.shape[1:]
        ).sum(2)
        again = ((before == added).any(-1) | (score == -math.inf)[..., None]).flatten(1)
        score, order = gain.masked_fill(again, -math.inf).sort(dim=1, descending=True, stable=True)
        # A set of m members comes up to m times, once for each that was added last.
        most = min(n_kept * (members.shape[2] + 1), grown.shape[1])
        score, members = score[:, :most], _taken(grown, order[:, :most])
        ordered = members.sort(-1).values
        repeated = torch.tril((ordered[:, :, None] == ordered[:, None]).all(-1), diagonal=-1).any(-1)
        score, order = score.masked_fill(repeated, -math.inf).sort(dim=1, descending=True, stable=True)
        score, members = score[:, :n_kept], _taken(members, order[:, :n_kept])
    return Subsets(members, score)


def _taken(members: Int[Tensor, "scene subset source"], order: Int[Tensor, "scene kept"]) -> Tensor:
    """Some subsets of each scene."""
    return members.gather(1, order[..., None].expand(-1, -1, members.shape[2]))


def _exchanged(seen: Match, chosen: Int[Tensor, "scene source"]) -> Int[Tensor, "scene source"]:
    """The best exchange of one member for one candidate, again and again until none explains more."""
    n_scenes, n_sources = chosen.shape
    n_candidates = seen.target.shape[2]
    slot = torch.arange(n_sources).repeat_interleave(n_candidates)
    candidate = torch.arange(n_candidates).repeat(n_sources)
    current = explained(seen, chosen[:, None])[:, 0]
    for _ in range(_MOST_SUBSETS):
        trials = chosen[:, None].repeat(1, len(slot), 1)
        trials[:, torch.arange(len(slot)), slot] = candidate
        value, best = explained(seen, trials).max(1)
        better = value > current * (1.0 + _DEPENDENT)
        if not bool(better.any()):
            break
        exchanged = trials[torch.arange(n_scenes), best]
        chosen = torch.where(better[:, None], exchanged, chosen)
        current = torch.where(better, value, current)
    return chosen
