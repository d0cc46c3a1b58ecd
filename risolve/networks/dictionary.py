"""The search grid as the network sees it: steering matrix, and mirror images of scenes on it."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.covariance import SharedBasis
from risolve.inference.grid import Grid, grid_steering
from risolve.inference.mirror import MirrorFold, mirror_fold
from risolve.networks.features import Mirror
from risolve.physics.array import Array
from risolve.physics.geometry import mirror_order
from risolve.physics.observation import Observation
from risolve.shapes import Sources


@dataclass(frozen=True)
class Dictionary:
    """Steering matrix of the grid and what training needs beside it.

    grid: in single precision. element_orders: element order of the array mirrored in x and in y, None where
    the mirror image is another array.
    """

    grid: Grid
    basis: SharedBasis
    array: Array
    element_orders: tuple[tuple[int, ...] | None, tuple[int, ...] | None]

    def to(self, device: torch.device) -> "Dictionary":
        """The same dictionary on another device."""
        return replace(
            self,
            grid=self.grid.to(torch.float32, device),
            basis=SharedBasis(self.basis.matrix.to(device)),
            array=self.array.to(device),
        )

    @cached_property
    def fold(self) -> MirrorFold:
        """Mirrors that array and grid have in common."""
        matrix = self.basis.matrix
        return mirror_fold(matrix.cpu(), self.array.elements.cpu()).to(matrix.device)

    def places(self, offsets: Float[Tensor, "scene point 3"]) -> Float[Tensor, "scene point 3"]:
        """(u, v, w) at offsets, in cells, from the grid points."""
        return self.grid.coordinates + offsets * self.grid.steps

    def mirror_sources(self, sources: Sources, mirror: Mirror) -> Sources:
        """Sources seen in the mirror: azimuth changes sign for u, elevation for v."""
        signs = (-1.0 if mirror.horizontal else 1.0, -1.0 if mirror.vertical else 1.0, 1.0)
        return sources * sources.new_tensor(signs)

    def mirror_elements(
        self, factor: Complex[Tensor, "scene rank element"], mirror: Mirror
    ) -> Complex[Tensor, "scene rank element"]:
        """A field on the surface seen in the mirror.

        Raises:
            ValueError: an array that the mirror changes.
        """
        for axis, flipped in enumerate(mirror):
            if flipped:
                order = self.element_orders[axis]
                if order is None:
                    raise ValueError(f"the mirror image in {'xy'[axis]} of the elements is another array")
                factor = factor[..., order]
        return factor

    def mirror_observation(self, observation: Observation, mirror: Mirror) -> Observation:
        """The system in the mirror, in which the mirrored sources give the same snapshots."""
        return replace(
            observation,
            channel=self.mirror_elements(observation.channel, mirror),
            codes=self.mirror_elements(observation.codes, mirror),
        )


def dictionary_of(grid: Grid, array: Array) -> Dictionary:
    """Dictionary of a grid for an array."""
    moved = [mirror_order(array.elements, axis) for axis in (0, 1)]
    horizontal, vertical = (None if order is None else tuple(order.tolist()) for order in moved)
    return Dictionary(
        grid=grid.to(torch.float32, "cpu"),
        basis=SharedBasis(grid_steering(grid, array)),
        array=array,
        element_orders=(horizontal, vertical),
    )
