"""The most likely subset of candidate sources, from inner products computed once.

    explained(S) = sum_g |z_g|^2,   L L^H = G_S^H G_S,   L z = G_S^H y

is |y|^2 less the concentrated residual of the subset S. Subsets are small, so the Cholesky factors are
written out entry by entry, each entry for all scenes, groups and subsets at once.
"""

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

_MOST_SUBSETS = 100
"""Subsets of a scene that are compared exhaustively."""

_DEPENDENT = 1e-10
"""Squared distance of a candidate from the span of others, over its own, below which it adds nothing."""


class Match(NamedTuple):
    """Inner products of candidates with each other, G^H G, and with the snapshots, G^H y."""

    gram: Complex[Tensor, "scene group candidate candidate"]
    target: Complex[Tensor, "scene group candidate"]


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
    n_scenes, n_groups, n_candidates = seen.target.shape
    n_subsets, n_sources = subsets.shape[1:]
    shape = (n_scenes, n_groups, n_subsets)
    flat_gram = seen.gram.flatten(2)
    lower: dict[tuple[int, int], Tensor] = {}
    whitened: list[Tensor] = []
    total = torch.zeros(shape, dtype=torch.float64)

    def entry(row: int, column: int) -> Tensor:
        place = subsets[:, :, row] * n_candidates + subsets[:, :, column]
        return flat_gram.gather(2, place[:, None].expand(shape))

    for column in range(n_sources):
        own = entry(column, column).real
        left = own - sum((_squared(lower[column, p]) for p in range(column)), torch.zeros(()))
        inverse = torch.where(left > _DEPENDENT * own, left, torch.inf).rsqrt()
        for row in range(column + 1, n_sources):
            value = entry(row, column)
            for p in range(column):
                value = value - lower[row, p] * lower[column, p].conj()
            lower[row, column] = value * inverse
        value = seen.target.gather(2, subsets[:, None, :, column].expand(shape))
        for p in range(column):
            value = value - lower[column, p] * whitened[p]
        whitened.append(value * inverse)
        total = total + _squared(whitened[-1])
    return total.sum(1)


def _squared(values: Complex[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    return values.real.square() + values.imag.square()


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
