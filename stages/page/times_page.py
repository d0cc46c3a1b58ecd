"""The page of times and machine: what differs from run to run of the same results, and is no result.

It is drawn from what `stages.running.durations` has kept of these very results; where that is nothing, they
came from elsewhere (`dvc checkout`, `dvc pull`), and there is nothing to show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.page import blocks, strata_tables
from stages.page.figures import method_styles
from stages.page.run_files import STRATA, Column, Schema, checked_table
from stages.page.templates import template
from stages.page.timing_table import timing_table
from stages.running.durations import durations_of

MODEL = Path("data/models/covariance.pt")

EVALUATION_TIMES: Schema = (
    ("count", "method"),
    {"cpu_ms_per_scene": Column(0.0), "n_scenes": Column(1.0, whole=True)},
    ("count", "method"),
)
TRAINING_TIMES: Schema = (
    ("device",),
    {
        "processes": Column(1.0, whole=True),
        "seconds": Column(0.0),
        "epochs": Column(1.0, whole=True),
        "data_wait_share": Column(0.0, 1.0),
    },
    ("device",),
)


@dataclass(frozen=True)
class Times:
    """What the results of a working copy took, None where that is not known here."""

    training: pd.DataFrame | None
    evaluation: pd.DataFrame | None

    @property
    def are_known(self) -> bool:
        return self.training is not None or self.evaluation is not None


def read_times(root: Path) -> Times:
    """The times of the results below a working copy.

    Raises:
        ReportError: a table is no CSV or breaks a law.
    """
    training, evaluation = durations_of("train", root / MODEL), durations_of("evaluate", root / STRATA)
    return Times(
        None if training is None else checked_table(root, training, TRAINING_TIMES),
        None if evaluation is None else checked_table(root, evaluation, EVALUATION_TIMES),
    )


def render_times(times: Times, facts: Mapping[str, str]) -> str:
    """The page. `facts` are those of version and machine."""
    evaluation = times.evaluation
    styles = {} if evaluation is None else method_styles(evaluation["method"])
    return template("times").render(
        figure_of_times=None
        if evaluation is None
        else blocks.timing_figure(strata_tables.known(evaluation), styles),
        table_of_times=None if evaluation is None else timing_table(evaluation, styles),
        scenes=[] if evaluation is None else sorted({int(n) for n in evaluation["n_scenes"]}),
        training=[]
        if times.training is None
        else [(k, f"{v:g}" if isinstance(v, float) else v) for k, v in times.training.iloc[0].items()],
        facts=facts,
        strata=STRATA,
        model=MODEL,
    )
