"""All tables of the evaluation, and its metrics, as files."""

import json
from pathlib import Path

from risolve.files.atomic import write_text
from stages.evaluation import counts, strata
from stages.evaluation.tables import SOURCES, Scored, write_csv
from stages.params.model import Params


def write_tables(directory: Path, params: Params, scored: Scored, n_scenes: int) -> None:
    """All tables of so many scenes, and metrics.json, into a directory."""
    sources, scenes = scored
    bootstrap = strata.Bootstrap(params.evaluate.seed, params.evaluate.bootstrap_samples)
    by_stratum = strata.strata_table(sources, scenes, bootstrap)
    tables = {
        "sources": sources[list(SOURCES)],
        "scenes": scenes,
        "strata": by_stratum,
        "range_strata": strata.range_table(sources, params.sources.range_m),
        "counts": counts.count_table(scenes),
        "count_confidence": counts.confidence_table(scenes, counts.trained_snr_db(params)),
        "calibration": counts.calibration_table(sources),
        "found_rate": strata.found_rate_curves(by_stratum),
        "rmse_over_bound": strata.ratio_curves(by_stratum),
    }
    for name, table in tables.items():
        write_csv(directory / f"{name}.csv", table)
    metrics = strata.headline_metrics(by_stratum, sources, n_scenes)
    write_text(directory / "metrics.json", json.dumps(metrics, indent=2) + "\n")
