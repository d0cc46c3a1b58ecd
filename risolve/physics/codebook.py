"""Phase profiles of the surface: random, two-dimensional DFT and Hadamard codes, quantized to 1-3 bits.

Random codes spread the received power over the field of view within 2.9 dB (5th to 95th percentile, 12 x 12
elements, 16 snapshots); a 4 x 4 full-circle DFT spreads it over 12 dB, because 16 pencil beams leave gaps
between them.
"""

import math
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Complex, Int, UInt8
from numpy.typing import NDArray
from scipy.linalg import hadamard
from torch import Tensor

CodebookKind: TypeAlias = Literal["random", "dft2d", "hadamard"]

MOST_PHASE_BITS = 3


def codes_from_levels(
    levels: UInt8[Tensor, "*scene snapshot element"], phase_bits: Int[Tensor, "*scene"]
) -> Complex[Tensor, "*scene snapshot element"]:
    """c = exp(j 2 pi level / 2^bits), complex64, unit modulus; every scene has its own number of bits.

    Raises:
        ValueError: phase bits outside 1..3.
    """
    if bool(((phase_bits < 1) | (phase_bits > MOST_PHASE_BITS)).any()):
        raise ValueError(f"phase bits are 1..{MOST_PHASE_BITS}, got {phase_bits.unique().tolist()}")
    n_levels = 2**MOST_PHASE_BITS
    phase = torch.arange(n_levels, dtype=torch.float64) * (2.0 * math.pi / n_levels)
    finest = levels.long() << (MOST_PHASE_BITS - phase_bits)[..., None, None]
    return torch.polar(torch.ones_like(phase), phase).to(torch.complex64)[finest]


def random_levels(
    generator: np.random.Generator, n_snapshots: int, n_elements: int, phase_bits: int
) -> NDArray[np.uint8]:
    """Independent uniform phase levels, one a snapshot and element."""
    return generator.integers(0, 2**phase_bits, (n_snapshots, n_elements), dtype=np.uint8)


def structured_levels(
    kind: Literal["dft2d", "hadamard"], n_horizontal: int, n_vertical: int, n_snapshots: int, phase_bits: int
) -> NDArray[np.uint8]:
    """Phase levels of a separable codebook, quantized down to a level.

    That is the nearest level of a profile turned by half a level, a phase common to all elements.

    Snapshot l = (i, j) on the most nearly square L_v x L_h = L factorization carries
    phase_v(i, vertical index) + phase_h(j, horizontal index):

        dft2d      phase(i, n) = 2 pi i n / L_side            (frequencies over the full circle)
        hadamard   phase(i, n) = 0 or pi, rows of a Sylvester matrix evenly spaced in sequency
    """
    rows = max(d for d in range(1, math.isqrt(n_snapshots) + 1) if n_snapshots % d == 0)
    columns = n_snapshots // rows
    axis_turns = _dft_turns if kind == "dft2d" else _hadamard_turns
    # Whole multiples of 1 / (2 L) of a turn, so that rounding never decides a
    # phase on the edge of a level.
    vertical = axis_turns(rows, n_vertical) * columns
    horizontal = axis_turns(columns, n_horizontal) * rows
    turns = (vertical[:, None, :, None] + horizontal[None, :, None, :]).reshape(n_snapshots, -1)
    levels: NDArray[np.uint8] = (turns * 2**phase_bits // (2 * n_snapshots) % 2**phase_bits).astype(np.uint8)
    return levels


def _dft_turns(n_codes: int, n_elements: int) -> NDArray[np.int64]:
    """i n in units of 1 / (2 n_codes) of a turn."""
    return 2 * np.outer(np.arange(n_codes), np.arange(n_elements))


def _hadamard_turns(n_codes: int, n_elements: int) -> NDArray[np.int64]:
    """0 or half a turn, in units of 1 / (2 n_codes) of a turn."""
    order = 2 ** math.ceil(math.log2(max(n_codes, n_elements, 2)))
    matrix = hadamard(order)
    sequency = np.argsort(np.abs(np.diff(matrix, axis=1)).sum(axis=1), kind="stable")
    chosen = matrix[sequency][(np.arange(n_codes) * order) // n_codes, :n_elements]
    return np.where(chosen < 0, n_codes, 0)
