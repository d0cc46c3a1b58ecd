"""Even and odd parts of an array and a grid that are their own mirror images.

Where mirroring the array in x (or y) permutes its elements and turns every steering vector of the grid into
that of another point, the steering vectors split into even and odd parts. One representative of each set of
mirror images (an orbit) is enough, and a Hermitian form a^H Q a over all points costs a quarter of the work
for two axes. An array or a grid without the symmetry has orbits of one, and every formula is then the plain
one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from risolve.modulus import squared_modulus
from risolve.physics.geometry import mirror_order
from risolve.shapes import Elements

CHUNK_VALUES = 8_000_000
"""Real numbers of one piece of the table of steering products: bounds the memory, 32 MB."""


@dataclass(frozen=True)
class MirrorFold:
    """Orbits of elements and points under the mirrors, and the steering vectors of representatives by parity.

        a_{h(o)}(g) = sum_s chi_s(h) e_s(o, g),   chi_s(h) = (-1)^{bits of s and h}

    h runs over the images (none, x, y, both), s over the parities. An element or point on a mirror plane is
    its own image; weights of one over its multiplicity count it once. `place` finds a point among (image,
    representative).
    """

    elements: Int[Tensor, "image orbit"]
    element_weights: Float[Tensor, " orbit"]
    points: Int[Tensor, "image representative"]
    point_weights: Float[Tensor, " representative"]
    place: Int[Tensor, " point"]
    parts: Complex[Tensor, "parity orbit representative"]
    _kept: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    def to(self, device: torch.device) -> "MirrorFold":
        """The same fold on another device."""
        return MirrorFold(
            **{one.name: getattr(self, one.name).to(device) for one in fields(self) if one.init}
        )

    @property
    def n_images(self) -> int:
        return self.elements.shape[0]

    def columns(self, rows: Complex[Tensor, "*row element"]) -> Complex[Tensor, "*row folded"]:
        """Parity parts of row vectors: b a = sum_{s,o} b_s(o) e_s(o) for a row b."""
        return self.transform(self.spread(rows))

    def spread(self, rows: Complex[Tensor, "*row element"]) -> Complex[Tensor, "*row folded"]:
        """Elements in the order (image, orbit), weighted by one over the multiplicity."""
        images = rows[..., self.elements] * self.element_weights
        return images.flatten(-2)

    def transform(self, spread: Complex[Tensor, "*row folded"]) -> Complex[Tensor, "*row folded"]:
        """Sum over images with the signs chi_s(h), for entries in the order (image, orbit)."""
        images = spread.reshape(*spread.shape[:-1], *self.elements.shape)
        return _signed_sums(images, -2).flatten(-2)

    def powers(self, fields: Complex[Tensor, "scene snapshot folded"]) -> Float[Tensor, "scene point"]:
        """sum_l |a_g^H f_l|^2 at every point, from the parity parts of the fields."""
        n_scenes, n_snapshots, _ = fields.shape
        by_parity = fields.reshape(n_scenes * n_snapshots, self.n_images, -1).permute(1, 0, 2)
        images = _signed_sums(by_parity @ self.parts.conj(), 0)
        squared = squared_modulus(images)
        per_image = squared.reshape(-1, n_scenes, n_snapshots, squared.shape[-1]).sum(2)
        return per_image.permute(1, 0, 2).flatten(1).index_select(1, self.place)

    def products(self, fields: Complex[Tensor, "scene row folded"]) -> Complex[Tensor, "scene row point"]:
        """a_g^H f at every point, from the parity parts of the fields f."""
        n_scenes, n_rows, _ = fields.shape
        by_parity = fields.reshape(n_scenes * n_rows, self.n_images, -1).permute(1, 0, 2)
        images = _signed_sums(by_parity @ self.parts.conj(), 0)
        by_row = images.permute(1, 0, 2).flatten(1).index_select(1, self.place)
        products: Tensor = by_row.unflatten(0, (n_scenes, n_rows))
        return products

    def forms(self, matrix: Complex[Tensor, "scene folded folded"]) -> Float[Tensor, "scene point"]:
        """a_g^H Q a_g at every point, from the parity blocks Q_ss' of Hermitian matrices.

            a^H Q a = sum_x chi_x(h) sum_s Re(e_s^H Q_{s, s xor x} e_{s xor x})

        The blocks meet a table of the products conj(e_s(o)) e_s'(o') in one real matrix product.
        """
        characters = []
        for character in range(self.n_images):
            blocks = self._blocks(matrix, character)
            pieces = [blocks @ table.mT for table in self._tables(character)]
            characters.append(torch.cat(pieces, dim=1))
        images = _signed_sums(torch.stack(characters), 0)
        return images.permute(1, 0, 2).flatten(1).index_select(1, self.place)

    def parity_blocks(
        self, matrix: Complex[Tensor, "scene element element"]
    ) -> Complex[Tensor, "scene folded folded"]:
        """Parity blocks of Hermitian matrices over the elements, as `forms` reads them."""
        order = self.elements.reshape(-1)
        weights = self.element_weights.repeat(self.n_images)
        spread = matrix[:, order][:, :, order] * weights[:, None] * weights
        return self.transform(self.transform(spread).mT).mT

    def covariance(self, powers: Float[Tensor, "scene point"]) -> Complex[Tensor, "scene folded folded"]:
        """Parity blocks of R = sum_g p_g a_g a_g^H, the adjoint of `forms`."""
        n_scenes, n_images, n_orbits = powers.shape[0], self.n_images, self.elements.shape[1]
        images = (powers[:, self.points] * self.point_weights).permute(1, 0, 2)
        characters = _signed_sums(images, 0)
        matrix = self.parts.new_zeros((n_scenes, n_images, n_orbits, n_images, n_orbits))
        for character in range(n_images):
            sums = powers.new_zeros(())
            first = 0
            for table in self._tables(character):
                sums = sums + characters[character][:, first : first + table.shape[0]] @ table
                first += table.shape[0]
            pairs = self._pairs(character)
            weight = 1.0 if character == 0 else 0.5
            products = (
                torch.view_as_complex(sums.reshape(n_scenes, len(pairs), n_orbits, n_orbits, 2)) * weight
            )
            for index, (row, column) in enumerate(pairs):
                matrix[:, row, :, column] = products[:, index]
                matrix[:, column, :, row] = products[:, index].mH
        return matrix.flatten(3).flatten(1, 2)

    def _pairs(self, character: int) -> list[tuple[int, int]]:
        """Parities (s, s xor x) of the blocks on or above the diagonal that carry one character."""
        return [(s, s ^ character) for s in range(self.n_images) if s <= s ^ character]

    def _blocks(
        self, matrix: Complex[Tensor, "scene folded folded"], character: int
    ) -> Float[Tensor, "scene product"]:
        shape = tuple(self.elements.shape)
        blocks = matrix.unflatten(2, shape).unflatten(1, shape)
        chosen = torch.stack([blocks[:, row, :, column] for row, column in self._pairs(character)], dim=1)
        return torch.view_as_real(chosen).flatten(1)

    def _tables(self, character: int) -> Iterator[Float[Tensor, "piece product"]]:
        """e_s(o) conj(e_s'(o')) of representatives, in pieces; doubled where s < s' stands for s' < s too. A
        table of one piece is made once.
        """
        if character in self._kept:
            yield self._kept[character]
            return
        rows, columns = zip(*self._pairs(character), strict=True)
        weight = 1.0 if character == 0 else 2.0
        parts = self.parts.permute(2, 0, 1)
        chunk = max(1, CHUNK_VALUES // (2 * len(rows) * parts.shape[2] ** 2))
        for piece in parts.split(chunk):
            left, right = weight * piece[:, list(rows)], piece[:, list(columns)].conj()
            table = torch.view_as_real(left[..., :, None] * right[..., None, :]).flatten(1)
            if len(piece) == len(parts):
                self._kept[character] = table
            yield table


def _signed_sums(values: Tensor, axis: int) -> Tensor:
    """Walsh-Hadamard transform along an axis of 1, 2 or 4 entries."""
    if values.shape[axis] == 1:
        return values
    if values.shape[axis] == 2:
        even, odd = values.unbind(axis)
        return torch.stack((even + odd, even - odd), axis)
    first, second, third, fourth = values.unbind(axis)
    outer, inner, outer_odd, inner_odd = first + second, third + fourth, first - second, third - fourth
    return torch.stack((outer + inner, outer_odd + inner_odd, outer - inner, outer_odd - inner_odd), axis)


def mirror_fold(steering: Complex[Tensor, "element point"], elements: Elements) -> MirrorFold:
    """The mirrors in x and y that array and grid both have, found from positions and columns themselves."""
    element_images = torch.arange(steering.shape[0])[None]
    point_images = torch.arange(steering.shape[1])[None]
    for axis in (0, 1):
        moved = mirror_order(elements, axis)
        taken = None if moved is None else _mirrored_points(steering, moved)
        if moved is not None and taken is not None:
            element_images = torch.cat((element_images, moved[element_images]))
            point_images = torch.cat((point_images, taken[point_images]))
    orbits = element_images[:, element_images.amin(0) == element_images[0]]
    representatives = point_images[:, point_images.amin(0) == point_images[0]]
    place = torch.empty(steering.shape[1], dtype=torch.int64)
    place[representatives.reshape(-1)] = torch.arange(representatives.numel())
    images = steering[:, representatives[0]][orbits]
    return MirrorFold(
        elements=orbits,
        element_weights=_inverse_multiplicity(orbits),
        points=representatives,
        point_weights=_inverse_multiplicity(representatives),
        place=place,
        parts=_signed_sums(images, 0) / orbits.shape[0],
    )


def _inverse_multiplicity(images: Int[Tensor, "image orbit"]) -> Float[Tensor, " orbit"]:
    """One over the number of images that fall on the same element (or point)."""
    return 1.0 / (images == images[0]).sum(0).float()


def _mirrored_points(
    steering: Complex[Tensor, "element point"], moved: Int[Tensor, " element"]
) -> Int[Tensor, " point"] | None:
    """The point whose steering vector is the mirror image of each one's, or None where one has none.

    Candidates come from sorting one number a column (a fixed, generic projection), and are compared in full.
    """
    projection = torch.cos(torch.arange(steering.shape[0], dtype=torch.float64).square() + 1.0)
    signature = projection @ steering.real.double()
    mirrored = projection @ steering[moved].real.double()
    order, mirrored_order = signature.argsort(stable=True), mirrored.argsort(stable=True)
    taken = torch.empty_like(order)
    taken[mirrored_order] = order
    if bool((taken[taken] != torch.arange(len(taken))).any()):
        return None
    difference = (steering[moved] - steering[:, taken]).abs().max()
    return taken if float(difference) < 1e-5 else None
