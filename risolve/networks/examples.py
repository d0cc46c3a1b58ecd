"""Scenes to learn from, in batches."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from risolve.networks.dictionary import Dictionary
from risolve.networks.features import Mirror, mirror_points
from risolve.networks.likelihood_loss import Received
from risolve.shapes import Sources

UNKNOWN = -1
"""Number of sources of a scene whose truth is not known; its slots are empty."""


@dataclass(frozen=True)
class Examples:
    """What normalize stored of scenes, and their truth (NaN-padded slots, power 0 where empty).

    shared: sources with the same amplitude in all snapshots (`constant`). n_sources: `UNKNOWN` in scenes of
    which the likelihood alone is learned. received: what the likelihood loss and the loops of a network read
    of the scenes, None where there is neither.
    """

    maps: Float[Tensor, "scene map point"]
    estimated_snr: Float[Tensor, " scene"]
    shared: Bool[Tensor, " scene"]
    factor: Complex[Tensor, "scene rank element"]
    sources: Sources
    power: Float[Tensor, "scene source"]
    n_sources: Int[Tensor, " scene"]
    received: Received | None

    def __len__(self) -> int:
        return self.maps.shape[0]

    def select(self, scenes: Int[Tensor, " chosen"]) -> "Examples":
        """The examples of some scenes."""
        return Examples(
            self.maps[scenes],
            self.estimated_snr[scenes],
            self.shared[scenes],
            self.factor[scenes],
            self.sources[scenes],
            self.power[scenes],
            self.n_sources[scenes],
            None if self.received is None else self.received.select(scenes),
        )

    def to(self, device: torch.device) -> "Examples":
        """The same examples on another device."""
        return Examples(
            self.maps.to(device),
            self.estimated_snr.to(device),
            self.shared.to(device),
            self.factor.to(device),
            self.sources.to(device),
            self.power.to(device),
            self.n_sources.to(device),
            None if self.received is None else self.received.to(device),
        )

    def mirrored(self, dictionary: Dictionary, mirror: Mirror) -> "Examples":
        """The same scenes seen in a mirror."""
        return Examples(
            mirror_points(self.maps, dictionary.shape, mirror),
            self.estimated_snr,
            self.shared,
            dictionary.mirror_elements(self.factor, mirror),
            dictionary.mirror_sources(self.sources, mirror),
            self.power,
            self.n_sources,
            None if self.received is None else self.received.mirrored(dictionary, mirror),
        )


def joined_examples(parts: list[Examples]) -> Examples:
    """Examples one after another; factors of a lower rank get rows of zeros, which add nothing to X^T X*."""
    rank = max(part.factor.shape[1] for part in parts)
    factors = [torch.nn.functional.pad(part.factor, (0, 0, 0, rank - part.factor.shape[1])) for part in parts]
    received = [part.received for part in parts if part.received is not None]
    return Examples(
        torch.cat([part.maps for part in parts]),
        torch.cat([part.estimated_snr for part in parts]),
        torch.cat([part.shared for part in parts]),
        torch.cat(factors),
        torch.cat([part.sources for part in parts]),
        torch.cat([part.power for part in parts]),
        torch.cat([part.n_sources for part in parts]),
        Received(*(torch.cat(values) for values in zip(*received, strict=True))) if received else None,
    )


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
