"""Scenes to learn from, in batches."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from risolve.batched import Batched
from risolve.networks.dictionary import Dictionary
from risolve.networks.features import Mirror, mirror_points
from risolve.physics.observation import Observation, SourceModel
from risolve.shapes import Sources

UNKNOWN = -1
"""Number of sources of a scene whose truth is not known; its slots are empty."""


@dataclass(frozen=True)
class Examples(Batched):
    """What normalize stored of scenes, and their truth (NaN-padded slots, power 0 where empty).

    shared: sources with the same amplitude in all snapshots (`constant`). n_sources: `UNKNOWN` in scenes of
    which the likelihood alone is learned. observation: what the likelihood loss and the loops of a network
    read of the scenes, None where there is neither; `shared` says their source models, not its own.
    """

    maps: Float[Tensor, "scene map point"]
    estimated_snr: Float[Tensor, " scene"]
    shared: Bool[Tensor, " scene"]
    factor: Complex[Tensor, "scene rank element"]
    sources: Sources
    power: Float[Tensor, "scene source"]
    n_sources: Int[Tensor, " scene"]
    observation: Observation | None

    def __len__(self) -> int:
        return self.n_scenes

    def mirrored(self, dictionary: Dictionary, mirror: Mirror) -> "Examples":
        """The same scenes seen in a mirror."""
        return Examples(
            mirror_points(self.maps, dictionary.grid.shape, mirror),
            self.estimated_snr,
            self.shared,
            dictionary.mirror_elements(self.factor, mirror),
            dictionary.mirror_sources(self.sources, mirror),
            self.power,
            self.n_sources,
            None if self.observation is None else dictionary.mirror_observation(self.observation, mirror),
        )


def joined_examples(parts: list[Examples]) -> Examples:
    """Examples one after another; factors of a lower rank get rows of zeros, which add nothing to X^T X*."""
    rank = max(part.factor.shape[1] for part in parts)
    factors = [torch.nn.functional.pad(part.factor, (0, 0, 0, rank - part.factor.shape[1])) for part in parts]
    return Examples.joined([replace(part, factor=own) for part, own in zip(parts, factors, strict=True)])


def by_source_model(
    observation: Observation, shared: Bool[Tensor, " scene"]
) -> Iterator[tuple[Int[Tensor, " member"], Observation]]:
    """The scenes of each source model that there is, as `shared` says them, and the observation of these."""
    models: tuple[tuple[SourceModel, Tensor], ...] = (("independent", ~shared), ("constant", shared))
    for source_model, own in models:
        if bool(own.any()):
            scenes = torch.nonzero(own).flatten()
            yield scenes, replace(observation.select(scenes), source_model=source_model)


class Batch(NamedTuple):
    """Some examples, and their numbers in the training set."""

    scenes: Int[Tensor, " scene"]
    examples: Examples


@runtime_checkable
class Feed(Protocol):
    """A training set that comes in batches, the same ones whenever an epoch is asked for again."""

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""

    def batches(self, epoch: int) -> Generator[Batch, None, None]:
        """The batches of an epoch (from 1), every scene once, in an order of its own; closed when no more are
        wanted.
        """
