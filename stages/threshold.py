"""Reads params.yaml, data/scenes/test_independent; writes data/bounds/threshold.csv, what can be known of one
source at each SNR.

One row a component (azimuth_deg, elevation_deg, inverse_range_per_m, range_m) and SNR, with root mean square
errors in the unit of the component: ziv_zakai, which no estimator beats on average over the prior; bound, the
root mean unconditional Cramer-Rao bound, which knows no outliers; prior, the standard deviation before any
measurement. Between the last two lies the threshold, where outliers set in.

Of the scenes only channels and codes are read, of those with one source first. Path loss plays no part: the
SNR is that of a scene, and a source alone has all of it.
"""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from risolve.bounds.pairings import COMPONENTS
from risolve.bounds.ziv_zakai import ziv_zakai_bound
from risolve.errors import MeasurementError
from risolve.files.atomic import write_text
from risolve.files.measurements import read_observation, read_truth
from risolve.physics.observation import Observation
from risolve.seeds import integer_seed
from stages.params import objects
from stages.params.file import read_params
from stages.params.model import Params
from stages.running.verb import run_verb

READS = (
    *("array.spherical_amplitude", "sources.azimuth_deg", "sources.elevation_deg", "sources.range_m"),
    "threshold",
)
SCENES = Path("data/scenes/test_independent")
THRESHOLD = Path("data/bounds/threshold.csv")

UNITS = {
    "azimuth": ("azimuth_deg", math.degrees(1.0)),
    "elevation": ("elevation_deg", math.degrees(1.0)),
    "inverse_range": ("inverse_range_per_m", 1.0),
    "range": ("range_m", 1.0),
}
"""Component of the bound -> its name in the table, and the factor to its unit."""


def threshold(observation: Observation, params: Params) -> pd.DataFrame:
    """threshold.csv for the channels and codes of given scenes.

    Raises:
        ValueError: as `ziv_zakai_bound`.
    """
    own = params.threshold
    bounds = ziv_zakai_bound(
        observation,
        replace(objects.source_distribution(params), path_loss=False),
        torch.pow(10.0, torch.tensor(own.snr_db, dtype=torch.float64) / 10.0),
        own.draws,
        torch.Generator().manual_seed(integer_seed(own.seed, "ziv_zakai")),
    )
    rows = []
    for position, component in enumerate(COMPONENTS):
        name, unit = UNITS[component]
        values = unit * torch.stack((bounds.deviations, bounds.expected), dim=-1)[:, position]
        rows += [
            {
                "component": name,
                "snr_db": snr_db,
                "ziv_zakai": ziv_zakai,
                "bound": bound,
                "prior": unit * float(bounds.prior[position]),
            }
            for snr_db, (ziv_zakai, bound) in zip(own.snr_db, values.tolist(), strict=True)
        ]
    return pd.DataFrame(rows)


def main() -> None:
    """python -m stages.threshold"""
    params = read_params()
    observation = read_observation(SCENES, params.array.spherical_amplitude)
    single = read_truth(SCENES).sources[..., 0].isfinite().sum(-1) == 1
    chosen = torch.argsort((~single).int(), stable=True)[: params.threshold.scenes]
    try:
        table = threshold(observation.select(chosen), params)
    except ValueError as error:
        raise MeasurementError(f"{SCENES}: counting among scenes {chosen.tolist()}: {error}") from error
    write_text(THRESHOLD, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


if __name__ == "__main__":
    run_verb(main)
