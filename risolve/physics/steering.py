"""Steering vectors: the exact spherical wave, its derivatives, and two named approximations.

With p = q / w the path difference of element n is regular for every w >= 0:

    |p - e_n| - |p| = (w |e_n|^2 - 2 q.e_n) / (D_n + 1),    D_n = |q - w e_n|

which has no cancellation for distant sources and is the plane wave -q.e_n at w = 0.
"""

import math
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.physics.geometry import direction_derivatives, directions
from risolve.shapes import Elements

Wavelength: TypeAlias = float | Float[Tensor, " element"]
"""Of all elements, or of each."""


class SteeringDerivatives(NamedTuple):
    """a and its derivatives by azimuth, elevation (1/rad) and inverse range (m)."""

    steering: Complex[Tensor, "*batch element"]
    by_source: Complex[Tensor, "*batch 3 element"]


class _Paths(NamedTuple):
    difference: Float[Tensor, "*batch element"]
    relative: Float[Tensor, "*batch element"]
    projection: Float[Tensor, "*batch element"]
    squared_radius: Float[Tensor, "*#batch element"]


def _paths(sources: Float[Tensor, "*batch 3"], elements: Float[Tensor, "*array element 3"]) -> _Paths:
    """|p - e| - |p|, D = |p - e| / |p|, q.e and |e|^2; one array, or one a scene."""
    q = directions(sources[..., :2])
    w = sources[..., 2:]
    squared_radius = elements.square().sum(-1)
    if elements.ndim == 3:
        squared_radius = squared_radius.unsqueeze(-2)
    projection = q @ elements.transpose(-1, -2)
    # D^2 = 1 - 2 w q.e + w^2 |e|^2
    relative = torch.sqrt((1.0 - 2.0 * w * projection + w * w * squared_radius).clamp_min(0.0))
    difference = (w * squared_radius - 2.0 * projection) / (relative + 1.0)
    return _Paths(difference, relative, projection, squared_radius)


def steering(
    sources: Float[Tensor, "*batch 3"],
    elements: Float[Tensor, "*array element 3"],
    wavelength: Wavelength,
    spherical_amplitude: bool,
) -> Complex[Tensor, "*batch element"]:
    """Exact spherical-wave steering vector.

        a_n = exp(-j k (|p - e_n| - |p|)) g_n,   k = 2 pi / lambda

    g_n = 1, or |p| / |p - e_n| with `spherical_amplitude`. Sources are (azimuth, elevation, inverse range),
    elements (one array, or one a scene) and wavelength in m; the precision is that of `sources`. Valid
    everywhere but on an element (D_n = 0), where the spherical amplitude is infinite.
    """
    paths = _paths(sources, elements.to(sources.dtype))
    gain = 1.0 / paths.relative if spherical_amplitude else torch.ones_like(paths.relative)
    return torch.polar(gain, -_wavenumber(wavelength, sources.dtype) * paths.difference)


def _wavenumber(wavelength: Wavelength, dtype: torch.dtype) -> Wavelength:
    """k = 2 pi / lambda, in a precision."""
    wavenumber = 2.0 * math.pi / wavelength
    return wavenumber.to(dtype) if isinstance(wavenumber, Tensor) else wavenumber


def steering_derivatives(
    sources: Float[Tensor, "*batch 3"], elements: Elements, wavelength: Wavelength, spherical_amplitude: bool
) -> SteeringDerivatives:
    """Steering vector and its analytic derivatives by (azimuth, elevation, inverse range).

        da/dx = (-j k d(delta)/dx - [amplitude] (dD/dx) / D) a,   delta = |p - e| - |p|
        d(delta)/dangle = -(e.dq/dangle) / D,                     dD/dangle = -w (e.dq/dangle) / D
        d(delta)/dw = |e|^2 / (D + 1) - (w |e|^2 - 2 q.e) / (D + 1)^2 dD/dw,   dD/dw = (w |e|^2 - q.e) / D

    The derivative by range is -w^2 times the one by inverse range.
    """
    elements = elements.to(sources.dtype)
    paths = _paths(sources, elements)
    w = sources[..., 2:]
    wavenumber = _wavenumber(wavelength, sources.dtype)
    by_azimuth, by_elevation = direction_derivatives(sources[..., :2])
    slopes = torch.stack(
        (by_azimuth @ elements.transpose(0, 1), by_elevation @ elements.transpose(0, 1)), dim=-2
    )
    relative = paths.relative.unsqueeze(-2)
    difference_by_angles = -slopes / relative
    relative_by_range = (w * paths.squared_radius - paths.projection) / paths.relative
    difference_by_range = (paths.squared_radius - paths.difference * relative_by_range) / (
        paths.relative + 1.0
    )
    difference = torch.cat((difference_by_angles, difference_by_range.unsqueeze(-2)), dim=-2)
    vector = steering(sources, elements, wavelength, spherical_amplitude)
    factor = torch.complex(torch.zeros_like(difference), -wavenumber * difference)
    if spherical_amplitude:
        by_angles = -w.unsqueeze(-2) * slopes / relative
        logarithm = torch.cat((by_angles, relative_by_range.unsqueeze(-2)), dim=-2) / relative
        factor = factor - logarithm
    return SteeringDerivatives(vector, factor * vector.unsqueeze(-2))


def steering_by_elements(
    sources: Float[Tensor, "*batch 3"], elements: Elements, wavelength: Wavelength, spherical_amplitude: bool
) -> Complex[Tensor, "*batch 3 element"]:
    """Derivatives (1/m) of a_n by x, y and z of its own element; those by any other element are 0.

    da_n/de_n = (j k + [amplitude] w / D_n) (q - w e_n) / D_n a_n
    """
    elements = elements.to(sources.dtype)
    relative = _paths(sources, elements).relative.unsqueeze(-2)
    towards = directions(sources[..., :2]).unsqueeze(-1) - sources[..., 2:, None] * elements.transpose(0, 1)
    unit = towards / relative
    growth = sources[..., 2:, None] / relative if spherical_amplitude else torch.zeros_like(relative)
    slope = torch.complex(growth * unit, _wavenumber(wavelength, sources.dtype) * unit)
    return slope * steering(sources, elements, wavelength, spherical_amplitude).unsqueeze(-2)


def planar_steering(
    sources: Float[Tensor, "*batch 3"], elements: Elements, wavelength: float
) -> Complex[Tensor, "*batch element"]:
    """Plane-wave approximation a_n = exp(j k q.e_n).

    Regime: r beyond the Fraunhofer distance 2 D^2 / lambda (36 m for the default aperture of 1.65 m, diagonal
    2.33 m); the phase error decays as k |e|^2 / (2 r).
    """
    projection = directions(sources[..., :2]) @ elements.to(sources.dtype).transpose(0, 1)
    return torch.polar(torch.ones_like(projection), 2.0 * math.pi / wavelength * projection)


def fresnel_steering(
    sources: Float[Tensor, "*batch 3"], elements: Elements, wavelength: float
) -> Complex[Tensor, "*batch element"]:
    """Second-order (Fresnel) approximation a_n = exp(-j k (-q.e + w (|e|^2 - (q.e)^2) / 2)).

    Regime: r beyond the Fresnel distance 0.62 sqrt(D^3 / lambda) (4.0 m for the default aperture); the phase
    error decays as k |e|^3 / (2 r^2). Below it the azimuth bias reaches degrees.
    """
    elements = elements.to(sources.dtype)
    projection = directions(sources[..., :2]) @ elements.transpose(0, 1)
    difference = -projection + 0.5 * sources[..., 2:] * (elements.square().sum(-1) - projection.square())
    return torch.polar(torch.ones_like(difference), -2.0 * math.pi / wavelength * difference)
