"""A centro-symmetric rectangular lattice, read from the positions of its elements."""

from typing import NamedTuple

import torch

from risolve.physics.array import Array
from risolve.physics.geometry import planar_array
from risolve.shapes import Elements

# A position off by this share of a wavelength turns a phase by 6e-6 rad.
_TOLERANCE = 1e-6


class Lattice(NamedTuple):
    """Elements at spacings (m) along x and y, centred on the origin, in the plane z = 0.

    Vertical index slow, horizontal index fast, so that element N - 1 - n stands opposite to element n.
    """

    n_horizontal: int
    n_vertical: int
    spacing_x: float
    spacing_y: float

    def elements(self) -> Elements:
        """e_n = ((i - (n_horizontal - 1) / 2) d_x, (j - (n_vertical - 1) / 2) d_y, 0), float64."""
        spacings = torch.tensor((self.spacing_x, self.spacing_y, 0.0), dtype=torch.float64)
        return planar_array(self.n_horizontal, self.n_vertical, 1.0) * spacings


def rectangular_lattice(array: Array) -> Lattice:
    """The lattice that an array is, to 1e-6 wavelengths.

    Raises:
        ValueError: an array that is no such lattice of two elements or more along each axis, with the law.
    """
    law = (
        "e_n = ((i - (n_x - 1) / 2) d_x, (j - (n_y - 1) / 2) d_y, 0), n = j n_x + i, n_x >= 2 and n_y >= 2, "
        "so that e_(N-1-n) = -e_n"
    )
    places = array.elements.double()
    tolerance = _TOLERANCE * array.wavelength
    n_elements = places.shape[0]
    n_horizontal = max(int(((places[:, 1] - places[0, 1]).abs() <= tolerance).sum()), 1)
    n_vertical = n_elements // n_horizontal
    shape = f"{n_elements} elements, {n_horizontal} of them in a row with the first"
    if n_horizontal * n_vertical != n_elements or min(n_horizontal, n_vertical) < 2:
        raise ValueError(f"the array is a rectangular lattice, {law}; here are {shape}")
    extent = (places.amax(0) - places.amin(0)).tolist()
    lattice = Lattice(n_horizontal, n_vertical, extent[0] / (n_horizontal - 1), extent[1] / (n_vertical - 1))
    deviation = float((places - lattice.elements()).abs().max())
    if not deviation <= tolerance or min(lattice.spacing_x, lattice.spacing_y) <= tolerance:
        raise ValueError(
            f"the array is a rectangular lattice, {law}, to {tolerance:.1e} m; here are {shape}, and the "
            f"{n_horizontal} x {n_vertical} lattice of spacings {lattice.spacing_x:.6g} m and "
            f"{lattice.spacing_y:.6g} m misses them by {deviation:.3g} m"
        )
    return lattice
