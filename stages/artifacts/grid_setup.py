"""The search grid of the parameters."""

from stages.artifacts.setup import radians
from stages.inference.grid import Grid, search_grid
from stages.params import ModelParams, Params


def grid(params: Params | ModelParams) -> Grid:
    """Grid over the ranges in which sources may stand."""
    return search_grid(
        params.grid.n_u,
        params.grid.n_v,
        params.grid.n_w,
        radians(params.sources.azimuth_deg),
        radians(params.sources.elevation_deg),
        params.sources.range_m,
    )
