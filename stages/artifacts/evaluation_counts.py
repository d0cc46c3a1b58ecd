"""Tables of counting and of stated uncertainty.

counts.csv        one row a split, number of sources, SNR, method that counts, and number it gave
calibration.csv   one row a split, count, method, number of sources, SNR and parameter: the shares of matched
                  sources whose error lies inside one and two of the stated standard deviations

Shares are of found sources: a source in a wrong place has no error that a local covariance could describe.
"""

from typing import Any, cast

import numpy as np
import pandas as pd

from stages.artifacts.evaluation_strata import PARAMETERS


def count_table(scenes: pd.DataFrame) -> pd.DataFrame:
    """counts.csv from the table of scenes."""
    keys = ["split", "method", "n_sources", "snr_db", "n_estimated"]
    own = scenes[(scenes["count"] == "estimated") & scenes["n_estimated"].notna()]
    table = own.groupby(keys, sort=False).size().rename("n_scenes").reset_index()
    table["n_estimated"] = table["n_estimated"].astype(int)
    return table.sort_values(keys, kind="stable", ignore_index=True)


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
