"""A made-up finished run: the files that `report` reads, in the schemas of the evaluation and training."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from risolve import seeds
from risolve.files.model_params import GridSize
from risolve.networks.health import INCIDENT, gates
from stages.params.file import read_params
from tests.architecture.source import ROOT

METHODS = {
    # name: (SNR of half the sources found at K = 1, loss of it a source, excess over the bound at 20 dB, ms)
    "beamformer": (-1.0, 4.4, 9.0, 4.0),
    "beamformer+ml": (-2.0, 4.4, 1.08, 19.0),
    "music": (-0.5, 3.6, 7.0, 18.0),
    "music+ml": (-1.5, 3.6, 1.05, 31.0),
    "mvdr": (-3.0, 4.0, 8.0, 12.0),
    "mvdr+ml": (-4.0, 4.0, 1.05, 26.0),
    "modified_music": (2.0, 5.0, 12.0, 9.0),
    "modified_music+ml": (1.0, 5.0, 1.3, 23.0),
    "music_blend": (-5.0, 2.6, 5.0, 19.0),
    "music_blend+ml": (-6.0, 2.6, 1.03, 32.0),
    "mvdr_blend": (-6.0, 2.4, 5.5, 13.0),
    "mvdr_blend+ml": (-7.0, 2.4, 1.03, 27.0),
    "learned": (-9.0, 3.2, 1.02, 25.0),
    "learned_peaks": (-8.0, 3.2, 4.0, 11.0),
    "learned_peaks+ml": (-8.5, 3.2, 1.02, 25.0),
    "nomp": (-7.4, 3.1, 1.02, 48.0),
    "sbl": (-8.2, 2.9, 1.05, 130.0),
    "ml": (-9.3, 3.0, 1.02, 62.0),
    "ml_unconditional": (-10.0, 2.9, 1.0, 75.0),
    "genie": (-9.6, 2.9, 1.0, 400.0),
    "genie_unconditional": (-10.4, 2.8, 1.0, 400.0),
}
THEMSELVES = ("learned", "nomp", "sbl", "ml", "ml_unconditional", "genie", "genie_unconditional")
"""Methods that maximize a likelihood themselves."""

BLIND = ("learned", "nomp", "ml")
"""Methods that also run without being told the number of sources."""

WITHOUT_PREDICTION = ("music", "mvdr", *THEMSELVES[1:])
"""Estimators of the split on whose source model the network was not trained."""

COMPONENTS = {"azimuth_deg": 25.0, "elevation_deg": 14.0, "inverse_range_per_m": 0.4, "range_m": 2.8}
"""Component of an error -> standard deviation of the prior."""

Cell = tuple[int, int, int]
"""Number of sources, SNR in dB, number of scenes."""

INDEPENDENT: list[Cell] = [
    *((0, 0, 20), (1, 0, 120), (1, 10, 60), (1, 20, 60)),
    *((2, 0, 100), (2, 5, 120), (2, 10, 60), (2, 20, 60)),
    *((3, 0, 100), (3, 5, 120), (3, 10, 120), (3, 20, 60)),
    *((5, 10, 60), (5, 20, 60)),
]
CONSTANT: list[Cell] = [(0, 0, 20), (1, 0, 60), (1, 10, 60), (1, 20, 60), (2, 10, 60), (3, 10, 60)]
FULL: dict[str, list[Cell]] = {"test_independent": INDEPENDENT, "test_constant": CONSTANT}
FEW: dict[str, list[Cell]] = {
    "test_independent": [(0, 0, 20), (1, 0, 120), (2, 5, 60), (2, 10, 60)],
    "test_constant": [(1, 0, 60)],
}


def write_run(root: Path, cells: dict[str, list[Cell]]) -> Path:
    """A working copy at `root` whose report can be written."""
    evaluation, models = root / "data/evaluation", root / "data/models"
    evaluation.mkdir(parents=True)
    models.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    asked = [
        (split, *cell, count, method)
        for split, own in cells.items()
        for cell in own
        for count, methods in (("known", tuple(METHODS)), ("estimated", BLIND))
        for method in methods
        if split == "test_independent" or method.removesuffix("+ml") in WITHOUT_PREDICTION
    ]
    tables = {
        "strata": pd.DataFrame([_stratum(*one) for one in asked]),
        "range_strata": _ranges(asked),
        "counts": _counts(asked),
        "count_confidence": _confidence(asked),
        "calibration": _calibration(asked),
    }
    for name, table in tables.items():
        table.to_csv(evaluation / f"{name}.csv", index=False)
    (root / "data/bounds").mkdir()
    _threshold().to_csv(root / "data/bounds/threshold.csv", index=False)
    metrics = {"found_rate.learned.k2.5db": 0.962, "gospa_m.learned.k2.5db": 0.89}
    (evaluation / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    np.savez(evaluation / "examples.npz", **_examples(read_params(ROOT / "params.yaml").grid))
    history, health = _training()
    history.to_csv(models / "history.csv", index=False)
    (models / "health.json").write_text(json.dumps(health, indent=2), "utf-8")
    return root


Asked = tuple[str, int, int, int, str, str]
"""Split, number of sources, SNR in dB, number of scenes, count, method."""


def _stratum(
    split: str, n_sources: int, snr_db: int, n_scenes: int, count: str, method: str
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "split": split,
        "n_sources": n_sources,
        "snr_db": float(snr_db),
        "count": count,
        "method": method,
        "n_scenes": n_scenes,
        "n_true": n_sources * n_scenes,
        "false_alarms": math.nan,
        "gospa_m": 0.0,
        "gospa_location_m": 0.0,
        "gospa_missed_m": 0.0,
        "gospa_false_m": 0.0,
        "count_accuracy": math.nan,
        **dict.fromkeys((f"rmse_{name}" for name in COMPONENTS), math.nan),
    }
    if count == "estimated":
        numbers = _numbers(n_sources, snr_db, n_scenes, method)
        row["count_accuracy"] = numbers.get(n_sources, 0) / n_scenes
        row["false_alarms"] = sum(max(k - n_sources, 0) * n for k, n in numbers.items())
    if n_sources == 0:
        return row | dict.fromkeys(
            ("gospa_m", "gospa_location_m", "gospa_missed_m", "gospa_false_m"), math.nan
        )
    half, loss, excess, _ = METHODS[method]
    threshold = half + loss * (n_sources - 1)
    rate = 0.99 / (1.0 + math.exp(-(snr_db - threshold) / 3.0))
    spread = 2.0 * math.sqrt(max(rate * (1.0 - rate), 1e-3) / row["n_true"])
    missed = (1.0 - rate) * n_sources
    is_likely = method.endswith("+ml") or method in THEMSELVES
    level = (1.0 if is_likely else excess * 10 ** ((snr_db - 20) / 28)) * (1.0 + 0.6 * (1.0 - rate) ** 2)
    row |= {
        "found_rate": rate,
        "found_low": max(rate - spread, 0.0),
        "found_high": min(rate + spread, 1.0),
        "median_azimuth_deg": 0.3 * level * 10 ** (-snr_db / 20),
        "median_elevation_deg": 0.25 * level * 10 ** (-snr_db / 20),
        "median_range_m": 0.6 * level * 10 ** (-snr_db / 20),
        "median_position_m": 0.8 * level * 10 ** (-snr_db / 20),
        "median_bound_position_m": 0.7 * 10 ** (-snr_db / 20),
        "false_alarms": round(missed * n_scenes) if count == "known" else row["false_alarms"],
        "gospa_location_m": 0.5 * level**0.3 * 10 ** (-snr_db / 40),
        "gospa_missed_m": math.sqrt(4.5 * missed),
        "gospa_false_m": math.sqrt(4.5 * missed),
    }
    for name, prior in COMPONENTS.items():
        local = _local_bound(name, snr_db) * level
        row[f"rmse_{name}"] = math.sqrt(rate * local**2 + 1.6 * (0.99 - rate) * prior**2)
    row["gospa_m"] = math.sqrt(row["gospa_location_m"] ** 2 + 2.0 * row["gospa_missed_m"] ** 2)
    for number, name in enumerate(("azimuth", "elevation", "inverse_range", "pooled")):
        value = max(level, 1.0) * (1.02 + 0.04 * number)
        row |= {
            f"rmse_over_bound_{name}": value,
            f"rmse_over_bound_{name}_low": 0.93 * value,
            f"rmse_over_bound_{name}_high": 1.09 * value,
        }
    return row


def _local_bound(component: str, snr_db: float) -> float:
    return float(0.012 * COMPONENTS[component] * 10 ** (-snr_db / 20))


def _threshold() -> pd.DataFrame:
    """Ziv-Zakai curves that lead from the prior to the bound."""
    rows = []
    for component, prior in COMPONENTS.items():
        for snr_db in range(-30, 22, 2):
            bound = _local_bound(component, snr_db)
            outliers = 1.0 / (1.0 + math.exp((snr_db + 9.0) / 1.6))
            rows.append(
                {
                    "component": component,
                    "snr_db": float(snr_db),
                    "ziv_zakai": math.sqrt(outliers * prior**2 + (1.0 - outliers) * min(bound, prior) ** 2),
                    "bound": bound,
                    "prior": prior,
                }
            )
    return pd.DataFrame(rows)


def _numbers(n_sources: int, snr_db: int, n_scenes: int, method: str) -> dict[int, int]:
    """Number counted -> scenes: misses where the SNR is low, seldom a false alarm."""
    if n_sources == 0:
        n_false = {"ml": 0, "nomp": 2}.get(method, 1)
        return {0: n_scenes - n_false, 1: n_false} if n_false else {0: n_scenes}
    half, loss, _, _ = METHODS[method]
    miss = 1.0 / (1.0 + math.exp((snr_db - half - (loss + 0.6) * (n_sources - 1)) / 3.0))
    n_less, n_more = round(miss * n_scenes), round(0.02 * n_scenes)
    n_right = n_scenes - n_less - n_more
    return {k: n for k, n in ((n_sources - 1, n_less), (n_sources, n_right), (n_sources + 1, n_more)) if n}


def _counts(asked: list[Asked]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"split": split, "method": method, "n_sources": k, "snr_db": float(snr_db)}
            | {"n_estimated": number, "n_scenes": n}
            for split, k, snr_db, n_scenes, count, method in asked
            if count == "estimated"
            for number, n in _numbers(k, snr_db, n_scenes, method).items()
        ]
    )


def _confidence(asked: list[Asked]) -> pd.DataFrame:
    """`learned` states a little more than it keeps."""
    bins = [(0.5, 0.7, 0.62, 0.55, 30), (0.9, 0.95, 0.93, 0.9, 80), (0.99, 1.0, 0.997, 0.995, 400)]
    n_scenes = sum(n for *_, n in bins)
    overall = [sum(row[value] * row[4] for row in bins) / n_scenes for value in (2, 3)]
    splits = dict.fromkeys(
        split for split, *_, count, method in asked if (count, method) == ("estimated", "learned")
    )
    return pd.DataFrame(
        [
            {"split": split, "method": "learned", "confidence_from": low, "confidence_to": high}
            | {"mean_confidence": stated, "share_right": right, "gap": right - stated, "n_scenes": n}
            for split in splits
            for low, high, stated, right, n in (*bins, (0.0, 1.0, *overall, n_scenes))
        ]
    )


def _calibration(asked: list[Asked]) -> pd.DataFrame:
    """Deviations that are stated too small where the SNR is low, more so for inverse range."""
    return pd.DataFrame(
        [
            {"split": split, "count": count, "method": method, "n_sources": k, "snr_db": float(snr_db)}
            | {"parameter": parameter, "n_sources_found": max(k * n_scenes - number, 1)}
            | {f"within_{n}_std": math.erf(n / math.sqrt(2.0) / excess) for n in (1, 2)}
            for split, k, snr_db, n_scenes, count, method in asked
            if k > 0
            for number, parameter in enumerate(("azimuth", "elevation", "inverse_range"))
            for excess in [1.0 + (0.06 * k + 0.03 * number) * 10 ** (-snr_db / 15)]
        ]
    )


def evaluation_times() -> pd.DataFrame:
    """What `evaluate` keeps beside this run."""
    rows = [
        {"count": count, "method": m, "cpu_ms_per_scene": factor * METHODS[m][3], "n_scenes": 1440}
        for count, methods, factor in (("known", tuple(METHODS), 1.0), ("estimated", BLIND, 1.7))
        for m in methods
    ]
    return pd.DataFrame(rows)


def _ranges(asked: list[Asked]) -> pd.DataFrame:
    rows = []
    for split, k, snr_db, n_scenes, count, method in asked:
        if k == 0 or count == "estimated":
            continue
        level = 1.04 if method.endswith("+ml") or method in THEMSELVES else 5.0
        for number, (low, high) in enumerate(((0.5, 1.0), (1.0, 3.0), (3.0, 5.0), (5.0, 10.0))):
            rows.append(
                {
                    "split": split,
                    "n_sources": k,
                    "snr_db": float(snr_db),
                    "range_from_m": low,
                    "range_to_m": high,
                    "method": method,
                    "n_true": max(k * n_scenes * (number + 1) // 10, 1),
                    "found_rate": 0.93 - 0.03 * number,
                    "median_relative_range_error": 0.008 * 2.2**number,
                    "rmse_over_bound_azimuth": level,
                    "rmse_over_bound_elevation": 1.1 * level,
                    "rmse_over_bound_inverse_range": 1.2 * level,
                }
            )
    return pd.DataFrame(rows)


def _examples(grid: GridSize) -> dict[str, np.ndarray[Any, Any]]:
    """Two scenes, each source a Gaussian in (u, v) on a floor of noise."""
    generator = seeds.generator(1, "bootstrap")
    u_max = math.sin(math.pi / 3)
    v, u = np.meshgrid(np.linspace(-0.5, 0.5, grid.n_v), np.linspace(-u_max, u_max, grid.n_u), indexing="ij")
    widths_and_floors = {"first_map": (0.14, 0.05), "power_map": (0.04, 1e-4), "music_spectrum": (0.2, 0.15)}
    truth = np.full((2, 5, 3), np.nan)
    spectra = {}
    for scene, n_sources in enumerate((1, 2)):
        truth[scene, :n_sources] = generator.uniform([-0.8, -0.45, 0.1], [0.8, 0.45, 2.0], (n_sources, 3))
    for name, (width, floor) in widths_and_floors.items():
        squared = (u[..., None] - truth[:, None, None, :, 0]) ** 2 + (
            v[..., None] - truth[:, None, None, :, 1]
        ) ** 2
        spectra[name] = np.nansum(np.exp(-squared / (2.0 * width**2)), axis=-1)
        spectra[name] += floor * generator.uniform(0.5, 1.5, spectra[name].shape)
    return {
        "label": np.array(["scene 120, K = 1, 0 dB", "scene 220, K = 2, 5 dB"]),
        "truth": truth,
        **spectra,
    }


def _training() -> tuple[pd.DataFrame, dict[str, Any]]:
    generator = seeds.generator(1, "shuffle")
    rows, epochs = [], []
    for epoch in range(1, 11):
        decay = math.exp(-epoch / 4.0)
        loss = 1.4 + 2.0 * decay + 0.02 * generator.normal()
        rows.append(
            {
                "epoch": epoch,
                "step": 160 * epoch,
                "lr": 1e-3 * (1.0 + math.cos(math.pi * epoch / 10)),
                "train_loss": loss,
                "train_detection": 0.7 * loss,
                "train_covariance": 0.3 * loss,
                "validation_loss": loss + 0.05,
                "validation_detection": 0.7 * loss + 0.03,
                "validation_covariance": 0.3 * loss + 0.02,
                "gradient_norm": 0.4 + 2.0 * decay,
            }
        )
        epochs.append(
            {
                "epoch": epoch,
                "r_samp_norm": _summary(29.8, 44.6, 71.0),
                "r_samp_trace_error": _summary(0.0, 8e-8, 4e-7),
                "r_pred_norm": _summary(18.0 + epoch, 60.0 + 3 * (1 - decay), 139.0),
                "r_pred_trace_error": _summary(0.0, 1e-7, 5e-7),
                "r_blend_norm": _summary(24.0, 55.0, 120.0),
                "r_blend_trace_error": _summary(0.0, 9e-8, 4e-7),
                "loss": {"train": loss, "validation": loss + 0.05},
                "gradient_norm_stem": _summary(0.1, 0.2 + decay, 3.0),
                "gradient_norm": _summary(0.2, 0.4 + 2.0 * decay, 6.0),
            }
        )
    health = {
        "incident": dict(INCIDENT),
        "training_split": {
            "r_samp_norm_independent": _summary(28.4, 44.1, 72.3),
            "r_samp_trace_error": _summary(0.0, 1e-7, 4e-7),
        },
        "epochs": epochs,
        "gates": {
            **gates(epochs, [(row["train_loss"], row["validation_loss"]) for row in rows], 144),
            "no_warnings": True,
        },
        "warnings": {},
    }
    return pd.DataFrame(rows), health


def _summary(low: float, median: float, high: float) -> dict[str, float]:
    return {"min": low, "median": median, "max": high, "mean": median}
