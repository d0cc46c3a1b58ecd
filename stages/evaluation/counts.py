"""Tables of counting and of stated uncertainty.

counts.csv        one row a split, number of sources, SNR, method that counts, and number it gave
count_confidence.csv
                  one row a split, method that states how sure it is of its count, and bin of that
                  probability, the bin 0 to 1 of all scenes last: the mean stated, and the share that is
                  right. Of scenes whose SNR lies where the network was trained: a stated
                  probability is one under the scenes of the training
calibration.csv   one row a split, count, method, number of sources, SNR and parameter: the shares of matched
                  sources whose error lies inside one and two of the stated standard deviations

Shares are of found sources: a source in a wrong place has no error that a local covariance could describe.
"""

from typing import Any, cast

import numpy as np
import pandas as pd

from stages.evaluation.strata import PARAMETERS
from stages.params.model import TRAINING_SPLITS, Params


def count_table(scenes: pd.DataFrame) -> pd.DataFrame:
    """counts.csv from the table of scenes."""
    keys = ["split", "method", "n_sources", "snr_db", "n_estimated"]
    own = scenes[(scenes["count"] == "estimated") & scenes["n_estimated"].notna()]
    table = own.groupby(keys, sort=False).size().rename("n_scenes").reset_index()
    table["n_estimated"] = table["n_estimated"].astype(int)
    return table.sort_values(keys, kind="stable", ignore_index=True)


CONFIDENCES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Edges of the bins of stated probabilities; most are high, so that there the bins are narrow."""


def trained_snr_db(params: Params) -> tuple[float, float]:
    """Least and greatest SNR (dB) of the training scenes."""
    strata = [
        stratum for split in TRAINING_SPLITS for stratum in params.simulate.split(split).strata.values()
    ]
    return min(stratum.snr_db[0] for stratum in strata), max(stratum.snr_db[1] for stratum in strata)


def confidence_table(scenes: pd.DataFrame, snr_db: tuple[float, float]) -> pd.DataFrame:
    """count_confidence.csv from the table of scenes, of those between two SNRs (dB).

    gap = share_right - mean_confidence: positive where a method is right more often than it says.
    """
    own = scenes[(scenes["count"] == "estimated") & scenes["count_confidence"].notna()]
    own = own[own["snr_db"].between(*snr_db)]
    stated = own["count_confidence"].to_numpy(dtype=np.float64)
    band = np.clip(np.searchsorted(CONFIDENCES, stated, side="right") - 1, 0, len(CONFIDENCES) - 2)
    own = own.assign(band=band, right=own["n_estimated"] == own["n_sources"])
    rows: list[dict[str, Any]] = []
    for key, of_method in own.groupby(["split", "method"], sort=False):
        bins = [(cast(int, n), part) for n, part in of_method.groupby("band")]
        rows_of = [*((n, n + 1, part) for n, part in bins), (0, len(CONFIDENCES) - 1, of_method)]
        for first, last, part in rows_of:
            share, confidence = float(part["right"].mean()), float(part["count_confidence"].mean())
            rows.append(
                {
                    **dict(zip(("split", "method"), cast(tuple[str, str], key), strict=True)),
                    "confidence_from": CONFIDENCES[first],
                    "confidence_to": CONFIDENCES[last],
                    "mean_confidence": confidence,
                    "share_right": share,
                    "gap": share - confidence,
                    "n_scenes": len(part),
                }
            )
    columns = ["split", "method", "confidence_from", "confidence_to"]
    columns += ["mean_confidence", "share_right", "gap", "n_scenes"]
    return pd.DataFrame(rows, columns=columns)


def calibration_table(sources: pd.DataFrame) -> pd.DataFrame:
    """calibration.csv from the table of sources (with errors)."""
    rows: list[dict[str, Any]] = []
    keys = ["split", "count", "method", "n_sources", "snr_db"]
    for key, own in sources[sources["found"]].groupby(keys, sort=False):
        labels = dict(zip(keys, cast(tuple[Any, ...], key), strict=True))
        for parameter, ending in PARAMETERS.items():
            stated = own[f"std_{ending}"].to_numpy(dtype=np.float64)
            known = np.isfinite(stated)
            ratio = np.abs(own[f"error_{ending}"].to_numpy(dtype=np.float64)[known]) / stated[known]
            if known.any():
                shares = {f"within_{n}_std": float((ratio <= n).mean()) for n in (1, 2)}
                rows.append({**labels, "parameter": parameter, "n_sources_found": int(known.sum()), **shares})
    columns = [*keys, "parameter", "n_sources_found", "within_1_std", "within_2_std"]
    return pd.DataFrame(rows, columns=columns)
