"""What nothing tells of an array: directions of theta along which no likelihood changes, and their names.

    D S D v = lambda v with lambda at rounding,   D = diag(energy)^(-1/2)

S is the Schur complement of `information`: the places of sources follow. Directions are named by movements
that never are told, as a factor that all gains share, or may not be, as a turn of the array where a turn of
all sources looks the same.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
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
    known = known / known.norm(dim=0)
    basis = _span(known)
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
    words = _words(arrow, total, names, known, "; left as in the nominal array")
    if by_snapshots.shape[1] > total.shape[1]:
        beside = _span(by_snapshots - total @ (total.mT @ by_snapshots))
        told = _words(arrow, beside, names, known, "; told by the stated deviations alone")
        words = [*words, *(line for line in told if line not in words)]
    return NullSpace(total, tuple(words))


def _null(
    matrix: Float[Tensor, "unknown unknown"], scale: Float[Tensor, " unknown"]
) -> Float[Tensor, "unknown direction"]:
    values, vectors = torch.linalg.eigh(matrix * scale[:, None] * scale)
    lost: Tensor = torch.linalg.qr(scale[:, None] * vectors[:, values < _SINGULAR]).Q
    return lost


def _span(columns: Float[Tensor, "unknown column"]) -> Float[Tensor, "unknown direction"]:
    """Orthonormal columns of the same span."""
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    span: Tensor = left[:, values > _WITHIN * values.amax()] if len(values) else left
    return span


def _words(
    arrow: Arrow,
    lost: Float[Tensor, "unknown direction"],
    names: tuple[str, ...],
    known: Float[Tensor, "unknown movement"],
    convention: str,
) -> list[str]:
    """One line for each direction: a movement by itself, several against each other, or how many others."""
    if not lost.shape[1]:
        return []
    alone = (lost.mT @ known).square().sum(0) > 1.0 - _WITHIN
    lines = [
        f"{names[i]} is not told{_from(arrow, known[:, i])}{convention}"
        for i in torch.nonzero(alone).flatten().tolist()
    ]
    named = _span(known[:, alone]) if bool(alone.any()) else known[:, :0]
    left = lost - named @ (named.mT @ lost)
    n_left = lost.shape[1] - named.shape[1]
    for direction in torch.linalg.svd(left, full_matrices=False).U[:, :n_left].unbind(1):
        parts = torch.linalg.lstsq(known, direction[:, None], driver="gelsd").solution[:, 0]
        if float((known @ parts - direction).square().sum()) < _WITHIN:
            strong = torch.nonzero(parts.abs() > _PART * parts.abs().amax()).flatten().tolist()
            both = " and ".join(names[i] for i in strong)
            lines.append(f"{both} are not told apart{_from(arrow, direction)}{convention}")
            n_left -= 1
    if n_left:
        lines.append(f"{n_left} other directions are not told{convention}")
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
