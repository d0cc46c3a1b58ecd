"""Noise of another power at every antenna, or in every band, where it explains a scene better, in words."""

import math
from dataclasses import replace

import torch

from risolve.inference.antenna_noise import of_equal_noise
from risolve.inference.assessment import likelihood_at
from risolve.inference.goodness import goodness
from risolve.inference.grid import Grid
from risolve.inference.likelihood import misfits
from risolve.physics.observation import Observation
from risolve.shapes import Sources

_FITS = 0.01
"""`fits` of a scene that noise of another power at every antenna explains, at least, and equal noise less."""


def noise_of_antennas(seen: Observation, sources: Sources, grid: Grid) -> list[str]:
    """Whether noise of another power at every antenna fits better beside the same sources of a scene.

    What they leave is white noise then and not before, and -2 log-likelihood less by more than
    (M - 1) log(2 L M).
    """
    try:
        other = replace(seen, noise="antennas")
    except ValueError:
        return []
    equal = of_equal_noise(other, None, 0, lambda part, told, most: sources)
    before, after = (float(likelihood_at(one, sources).log_likelihood) for one in (seen, equal))
    L, M = seen.n_snapshots, seen.n_antennas
    is_better = 2.0 * (after - before) > (M - 1) * math.log(2 * L * M)
    fits = [float(goodness(one, sources, grid).fits) for one in (seen, equal)]
    if not (is_better and fits[0] < _FITS <= fits[1]):
        return []
    return [
        "noise of another power at every antenna fits better (noise = antennas): a log-likelihood of "
        f"{after:.5g} in place of {before:.5g}"
    ]


def noise_of_bands(seen: Observation, sources: Sources) -> list[str]:
    """Whether noise of another power in every band fits better beside the same sources of a scene.

        2 sum_f n_f log(p / p_f) > (F - 1) log(2 L M),   p_f = (what they leave of band f) / n_f

    n_f: numbers of the band less those that amplitudes take, with a common delay an equal share of all; p:
    the mean of all.
    """
    F, L, M = seen.array.n_bands, seen.n_snapshots, seen.n_antennas
    left, n_amplitudes = misfits(seen, sources)[0], sources.shape[1]
    if seen.array.n_free_bands == 1:
        n_groups = 1 if seen.source_model == "constant" else L
        power = left.unflatten(-1, (F, -1)).sum((0, 2))
        free = torch.full((F,), (L * M - n_groups * n_amplitudes) / F, dtype=torch.float64)
    else:
        # codes of a band are 0 for the elements of all others
        band = (seen.codes[0].unflatten(-1, (F, -1)) != 0).any(-1).int().argmax(-1)
        free = torch.bincount(band, minlength=F) * (M - n_amplitudes)
        power = torch.zeros(F, dtype=torch.float64).index_add_(0, band, left.sum(-1))
    power = power / free
    gain = 2.0 * float((free * (float(left.sum()) / float(free.sum()) / power).log()).sum())
    if not gain > (F - 1) * math.log(2 * L * M):
        return []
    numbers = ", ".join(f"{value:.3g}" for value in power.tolist())
    return [
        f"noise of another power in every band fits better, about {numbers}: state the noise_power of each, "
        "without which the number of sources is not to be trusted"
    ]
