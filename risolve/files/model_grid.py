"""The search grid of the parameters."""

from risolve.files.model_params import ModelParams
from risolve.inference.grid import Grid, search_grid
from risolve.physics.geometry import radians


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
