"""Rician channel from the surface to the base station."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.physics.steering import planar_steering
from risolve.shapes import Elements


def line_of_sight(
    antenna_cosines: Float[Tensor, " scene"],
    departure_angles: Float[Tensor, "scene 2"],
    n_antennas: int,
    elements: Elements,
    wavelength: float,
) -> Complex[Tensor, "scene antenna element"]:
    """Line-of-sight part: plane wave from surface to a half-wavelength uniform linear array.

        H_mn = exp(j pi m sin(psi)) exp(j k q.e_n)

    `antenna_cosines` is sin(psi), `departure_angles` the (azimuth, elevation) of the base station (rad).
    Every entry has unit modulus, so the mean squared entry is 1. Rank one: regime of a base station beyond
    the Fraunhofer distance.
    """
    index = torch.arange(n_antennas, dtype=departure_angles.dtype)
    antennas = torch.polar(
        torch.ones_like(antenna_cosines)[:, None].expand(-1, n_antennas),
        math.pi * antenna_cosines[:, None] * index,
    )
    departure = torch.cat((departure_angles, torch.zeros_like(departure_angles[:, :1])), dim=-1)
    return antennas[:, :, None] * planar_steering(departure, elements, wavelength)[:, None, :]


def rician(
    k_factor: Float[Tensor, " scene"],
    direct: Complex[Tensor, "scene antenna element"],
    scattered: Complex[Tensor, "scene antenna element"],
) -> Complex[Tensor, "scene antenna element"]:
    """Rician channel of linear K-factor kappa.

        H = sqrt(kappa / (kappa + 1)) H_direct + sqrt(1 / (kappa + 1)) H_scattered

    Both parts have mean squared entry 1 (`scattered` is CN(0, 1)), so kappa is the power ratio of the parts.
    """
    direct_weight = torch.sqrt(k_factor / (k_factor + 1.0))[:, None, None]
    scattered_weight = torch.sqrt(1.0 / (k_factor + 1.0))[:, None, None]
    return direct_weight * direct + scattered_weight * scattered
