"""What nothing tells of an array: directions of theta along which no likelihood changes, and their names.

    D S D v = lambda v with lambda at rounding,   D = diag(energy)^(-1/2)

S is the Schur complement of `information`: the places of sources follow. Directions are named by movements
that never are told, as a factor that all gains share, or may not be, as a turn of the array where a turn of
all sources looks the same.
"""

from itertools import compress
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from risolve.calibration.information import Arrow
from risolve.calibration.unknowns import Unknowns

_SINGULAR = 1e-9
"""Eigenvalue of the scaled information that rounding leaves of 0. At an energy of 40 dB it would be a
deviation of 200 rad."""

_WITHIN = 1e-3
"""Share of a unit vector outside a space that it is taken to be in."""

_PART = 0.02
"""Of the largest movement in a direction, from which a movement is named."""

_DARK = 1e-12
"""Of the largest energy, below which a snapshot does not depend on a number."""

_EACH = {
    "gains": (("the amplitude of the gain", "the phase of the gain"), "elements"),
    "antenna_phases": (("the phase",), "antennas"),
    "antenna_gains": (("the amplitude",), "antennas"),
    "positions": (tuple(f"the place along {axis}" for axis in "xyz"), "elements"),
}
"""Numbers of each element or antenna, one kind behind the other."""

_MOVED = 1e-6
"""rad or 1/m for each unit of theta: places that move by less do not."""


class NullSpace(NamedTuple):
    """Directions that neither snapshots nor priors tell, orthonormal columns; what is not told, in words."""

    total: Float[Tensor, "unknown direction"]
    words: tuple[str, ...]


def null_space(arrow: Arrow, unknowns: Unknowns, theta: Float[Tensor, " unknown"]) -> NullSpace:
    """What is not told at a place.

    Raises:
        ValueError: directions without a name and a prior: unknowns that the snapshots do not determine.
    """
    prior = unknowns.prior
    total = by_snapshots = _null(arrow.schur(), arrow.scale)
    if bool(prior.any()):
        by_snapshots = _null(arrow.schur(prior), arrow._replace(energy=arrow.energy - prior).scale)
    movements = _movements(unknowns, theta)
    names = tuple(movements)
    known = torch.stack([unknowns.nothing(), *movements.values()], 1)[:, 1:]
    dark = _dark(arrow, unknowns)
    basis = _span(torch.cat((known / known.norm(dim=0), torch.eye(unknowns.size)[:, dark].double()), 1))
    unnamed = total - basis @ (basis.mT @ total)
    n_lost = int((torch.linalg.svdvals(unnamed) > _WITHIN**0.5).sum()) if total.shape[1] else 0
    if n_lost:
        worst = torch.linalg.svd(unnamed, full_matrices=False).U[:, 0]
        shares = {name: float(worst[part].square().sum()) for name, part in unknowns.parts.items()}
        raise ValueError(
            f"{', '.join(unknowns.names)}: {n_lost} of {unknowns.size} numbers are told by no snapshot and "
            f"no prior, most of them {max(shares, key=lambda name: shares[name])}: take scenes with sources "
            "at more places, state more of the places, or leave unknowns out"
        )
    # what no scene shows is said by itself
    shown = torch.where(dark[:, None], 0.0, known)
    moves = shown.norm(dim=0) > 0.0
    names, shown = tuple(compress(names, moves.tolist())), shown[:, moves] / shown[:, moves].norm(dim=0)
    words, said = list[str](), prior.new_zeros(unknowns.size, 0)
    for lost, held, convention in (
        (total, prior == 0.0, "left as in the nominal array"),
        (by_snapshots, prior > 0.0, "told by the stated deviations alone"),
    ):
        beside = _span(torch.where(dark[:, None], 0.0, lost - said @ (said.mT @ lost)))
        words += [f"{line}; {convention}" for line in _dark_words(dark & held, unknowns)]
        words += [f"{line}; {convention}" for line in _words(arrow, beside, names, shown)]
        said = total
    return NullSpace(total, tuple(words))


def _null(
    matrix: Float[Tensor, "unknown unknown"], scale: Float[Tensor, " unknown"]
) -> Float[Tensor, "unknown direction"]:
    values, vectors = torch.linalg.eigh(matrix * scale[:, None] * scale)
    lost: Tensor = torch.linalg.qr(scale[:, None] * vectors[:, values < _SINGULAR]).Q
    return lost


def _span(columns: Float[Tensor, "unknown column"]) -> Float[Tensor, "unknown direction"]:
    """Orthonormal columns of the span of columns of length 1, or next to none."""
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    span: Tensor = left[:, values > _WITHIN]
    return span


def _words(
    arrow: Arrow,
    lost: Float[Tensor, "unknown direction"],
    names: tuple[str, ...],
    known: Float[Tensor, "unknown movement"],
) -> list[str]:
    """One line for each direction: a movement by itself, several against each other, or how many others."""
    if not lost.shape[1]:
        return []
    alone = (lost.mT @ known).square().sum(0) > 1.0 - _WITHIN
    lines = [
        f"{names[i]} is not told{_from(arrow, known[:, i])}" for i in torch.nonzero(alone).flatten().tolist()
    ]
    named = _span(known[:, alone])
    left = lost - named @ (named.mT @ lost)
    n_left = lost.shape[1] - named.shape[1]
    for direction in torch.linalg.svd(left, full_matrices=False).U[:, :n_left].unbind(1):
        parts = torch.linalg.lstsq(known, direction[:, None], driver="gelsd").solution[:, 0]
        if float((known @ parts - direction).square().sum()) < _WITHIN:
            strong = torch.nonzero(parts.abs() > _PART * parts.abs().amax()).flatten().tolist()
            both = " and ".join(names[i] for i in strong)
            lines.append(f"{both} are not told apart{_from(arrow, direction)}")
            n_left -= 1
    if n_left:
        lines.append(f"{n_left} other directions are not told")
    return lines


def _dark(arrow: Arrow, unknowns: Unknowns) -> Bool[Tensor, " unknown"]:
    """Numbers of elements and antennas that no snapshot depends on."""
    energy = arrow.energy - unknowns.prior
    dark = energy <= _DARK * energy.amax()
    for name, part in unknowns.parts.items():
        if name not in _EACH:
            dark[part] = False
    return dark


def _dark_words(dark: Bool[Tensor, " unknown"], unknowns: Unknowns) -> list[str]:
    """A line for each kind of them."""
    lines = []
    for name in (own for own in unknowns.names if own in _EACH):
        kinds, of = _EACH[name]
        for kind, own in zip(kinds, dark[unknowns.parts[name]].chunk(len(kinds)), strict=True):
            if bool(own.any()):
                numbers = "all" if bool(own.all()) else str(torch.nonzero(own).flatten().tolist())
                lines.append(f"{kind} of {of} {numbers}: no scene shows it")
    return lines


def _from(arrow: Arrow, direction: Float[Tensor, " unknown"]) -> str:
    moved = max((float((part.told @ direction).abs().amax()) for part in arrow.scenes), default=0.0)
    return " from a movement of all sources" if moved > _MOVED else ""


def _movements(unknowns: Unknowns, theta: Float[Tensor, " unknown"]) -> dict[str, Float[Tensor, " unknown"]]:
    """Movements of theta that snapshots may not tell, by their names, at an array."""
    found: dict[str, Tensor] = {}
    places, M = unknowns.array.elements, unknowns.n_antennas
    if "positions" in unknowns.names:
        places = places + theta[unknowns.parts["positions"]].reshape(3, -1).mT / unknowns.wavenumber
    ones, zeros = torch.ones_like(places[:, 0]), torch.zeros_like(places[:, 0])
    axes = ("x", "y", "z")

    def add(name: str, part: str, values: Tensor) -> None:
        if part in unknowns.names and bool(values.any()):
            found[name] = unknowns.nothing()
            found[name][unknowns.parts[part]] = values

    add("the common amplitude of the gains", "gains", torch.cat((ones, zeros)))
    add("the common phase of the gains", "gains", torch.cat((zeros, ones)))
    add("the common phase of the antennas", "antenna_phases", torch.ones(M, dtype=torch.float64))
    add("the common amplitude of the antennas", "antenna_gains", torch.ones(M, dtype=torch.float64))
    # beside a surface the heading is a linear phase over the nominal places
    is_bent = "heading" in unknowns.names and not unknowns.is_array
    for axis, along in zip(axes, (unknowns.array.elements if is_bent else places).unbind(1), strict=True):
        add(f"a linear phase of the gains along {axis}", "gains", torch.cat((zeros, along)))
    for i, axis in enumerate(axes):
        a, b = (i + 1) % 3, (i + 2) % 3
        shift, turn, scale, shear = torch.zeros((4, 3, len(places)), dtype=torch.float64)
        shift[i], scale[i] = ones, places[:, i]
        turn[a], turn[b] = -places[:, b], places[:, a]
        shear[a], shear[b] = places[:, b], places[:, a]
        add(f"a shift of the array along {axis}", "positions", shift.flatten())
        add(f"a turn of the array about {axis}", "positions", turn.flatten())
        add(f"a scale of the array along {axis}", "positions", scale.flatten())
        add(f"a shear of the array across {axis}", "positions", shear.flatten())
    one = torch.ones(1, dtype=torch.float64)
    add("the heading", "heading", one)
    for name, words in (
        ("truth_azimuth", "an offset of the azimuths of the truth"),
        ("truth_elevation", "an offset of the elevations of the truth"),
        ("truth_range", "an offset of the ranges of the truth"),
        ("truth_scale", "a scale of the ranges of the truth"),
    ):
        add(words, name, one)
    return found
