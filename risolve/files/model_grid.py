"""The array of the parameters, and their search grid."""

import torch

from risolve.files.model_params import ElementPlaces, ModelParams
from risolve.inference.grid import Grid, search_grid
from risolve.physics.array import Array
from risolve.physics.geometry import planar_array, radians


def nominal_array(params: ModelParams) -> Array:
    """The array as it is meant to be."""
    own = params.array
    if isinstance(own, ElementPlaces):
        places = torch.tensor(own.element_positions_m, dtype=torch.float64)
        return Array(places, own.wavelength_m, own.spherical_amplitude)
    elements = planar_array(own.n_horizontal, own.n_vertical, own.spacing_m)
    return Array(elements, own.wavelength_m, own.spherical_amplitude)


def grid(params: ModelParams) -> Grid:
    """Grid over the ranges in which sources may stand."""
    return search_grid(
        params.grid.n_u,
        params.grid.n_v,
        params.grid.n_w,
        radians(params.sources.azimuth_deg),
        radians(params.sources.elevation_deg),
        params.sources.range_m,
    )
