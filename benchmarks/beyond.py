"""`learned` beyond its training: whether its confidence is right there, and what tells.

    python -m benchmarks.beyond      needs 10 minutes of a core

Needs data/calibration/learned.pt of params.yaml in this working copy (`dvc repro calibrate`). Scenes of its
system, the number of sources not told, the noise power stated or not, of both source models; half of each as
those of the training, uniform in number of sources and SNR, and a sixth each with one thing changed:

many     6 to 8 sources
wide     elevations within 50 degrees
snr      -15 to 30 dB

beyond.csv        by tenths of the probability that is stated: its mean, and the share of scenes that are
                  counted right with its interval of 95 %. Of the rule alone (`networks.counting`), which
                  is one for scenes as those of the training, and of `count_confidence`.
beyond_kinds.csv  by kind of scene: share counted right, mean of both, share of `beyond_training` above 0.9,
                  shares of scenes counted right with `fits` below 1 and 5 %, and the time of fit test and
                  `beyond_training` over that of map, network and estimate.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pandas as pd
import torch

from benchmarks._cells import RESULTS
from risolve import seeds
from risolve.field import FieldOfView
from risolve.files.atomic import write_text
from risolve.files.model import Model, load_model
from risolve.inference.goodness import goodness
from risolve.locating import Localizer, Options, covariance_of, localizer_for
from risolve.metrics.intervals import wilson
from risolve.networks.beyond import beyond_training, mixed_confidence
from risolve.networks.trained import Prediction
from risolve.physics.observation import SourceModel
from risolve.physics.scenario import SceneDraw, Scenes, draw_scene, observe
from stages.params import objects
from stages.params.file import read_params
from stages.params.model import Params

MODEL = Path("data/calibration/learned.pt")
SEED = 20261201
SIZES = {"trained": 300, "many": 100, "wide": 100, "snr": 100}
SCENES_AT_ONCE = 100
TRAINED_DB, SNRS_DB = (-5.0, 20.0), (-15.0, 30.0)
MOST = 8
WIDE = (-math.radians(50.0), math.radians(50.0))
NAMED = 0.9
LEVELS = (0.01, 0.05)


@dataclass(frozen=True)
class Cell:
    """Scenes of a kind."""

    kind: str
    source_model: SourceModel
    noise_stated: bool


def scenes(params: Params, cell: Cell) -> Scenes:
    """All scenes of a kind."""
    system, levels = objects.system(params), objects.impairment_levels(params)
    draws = [_draw(params, cell, number) for number in range(SIZES[cell.kind])]
    drawn = observe(draws, system, cell.source_model, levels.amplitude_minimum, shared_channel=False)
    seen = drawn.observation
    return drawn if cell.noise_stated else replace(drawn, observation=replace(seen, noise_power=None))


def _draw(params: Params, cell: Cell, number: int) -> SceneDraw:
    stream: seeds.Stream = "test_independent" if cell.source_model == "independent" else "test_constant"
    seed = seeds.integer_seed(SEED, stream, list(SIZES).index(cell.kind))
    random = seeds.generator(seed, stream, number)
    field = replace(objects.source_distribution(params), max_sources=MOST)
    most = params.sources.max_sources
    counts = (most + 1, MOST) if cell.kind == "many" else (0, most)
    return draw_scene(
        random,
        objects.system(params),
        None,
        replace(field, elevation=WIDE) if cell.kind == "wide" else field,
        cell.source_model,
        int(random.integers(*counts, endpoint=True)),
        float(random.uniform(*(SNRS_DB if cell.kind == "snr" else TRAINED_DB))),
        objects.impairment_levels(params),
    )


def counted(cell: Cell, drawn: Scenes, model: Model) -> pd.DataFrame:
    """A row a scene."""
    known = drawn.observation
    localizer = localizer_for(known, Options("learned", None, FieldOfView(), 0.01, model), "")
    parts = [
        _counted(drawn.select(part), localizer) for part in torch.arange(known.n_scenes).split(SCENES_AT_ONCE)
    ]
    noise = "stated" if cell.noise_stated else "unknown"
    named = {"kind": cell.kind, "source_model": cell.source_model, "noise_power": noise}
    return pd.concat(parts, ignore_index=True).assign(**named)


def _counted(drawn: Scenes, localizer: Localizer) -> pd.DataFrame:
    seen = drawn.observation
    times = [time.process_time()]
    prediction = covariance_of(seen, None, localizer)
    assert isinstance(prediction, Prediction)
    found = localizer.estimator.estimate(seen, prediction, None)
    times.append(time.process_time())
    rule = found.count_confidence
    assert rule is not None
    fits = goodness(seen, found.sources, localizer.grid).fits
    beyond = beyond_training(seen, found.sources, fits, prediction, localizer.grid, counted=True)
    stated = mixed_confidence(rule, beyond)
    times.append(time.process_time())
    return pd.DataFrame(
        {
            "right": (found.n_sources == drawn.n_sources).numpy(),
            "of_rule": rule.numpy(),
            "stated": stated.numpy(),
            "beyond": beyond.numpy(),
            "fits": fits.numpy(),
            "seconds": (times[1] - times[0]) / seen.n_scenes,
            "more_seconds": (times[2] - times[1]) / seen.n_scenes,
        }
    )


def by_tenths(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    """beyond.csv."""
    for name, column in (("rule", "of_rule"), ("count_confidence", "stated")):
        tenth = (10.0 * table[column]).astype(int).clip(upper=9)
        for number, own in table.groupby(tenth):
            share = float(own["right"].mean())
            low, high = wilson(share, len(own))
            yield {
                "probability": name,
                "from": number / 10.0,
                "n_scenes": len(own),
                "stated": float(own[column].mean()),
                "right": share,
                "right_low": low,
                "right_high": high,
            }


def by_kind(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    """beyond_kinds.csv."""
    for key, own in table.groupby(["source_model", "noise_power", "kind"], sort=False):
        right = own[own["right"]]
        yield {
            **dict(zip(("source_model", "noise_power", "kind"), key, strict=True)),
            "n_scenes": len(own),
            "right": float(own["right"].mean()),
            "rule": float(own["of_rule"].mean()),
            "count_confidence": float(own["stated"].mean()),
            "named": float((own["beyond"] > NAMED).mean()),
            **{f"below_{level:g}": float((right["fits"] < level).mean()) for level in LEVELS},
            "cost": float(own["more_seconds"].sum() / own["seconds"].sum()),
        }


def documented(table: pd.DataFrame) -> list[str]:
    """The table of docs/learned.md, of beyond.csv, as lines of Markdown."""
    lines = [
        "| stated | of the rule: mean, right | scenes | `count_confidence`: mean, right (95 %) | scenes |"
    ]
    lines.append("|---|---|---|---|---|")
    for start, own in table.groupby("from"):
        cells = [f"{start:.1f} to {start + 0.1:.1f}"]
        for name in ("rule", "count_confidence"):
            for row in own[own["probability"] == name].to_dict("records"):
                ends = f" ({row['right_low']:.2f} to {row['right_high']:.2f})" if name != "rule" else ""
                cells += [f"{row['stated']:.2f}, {row['right']:.2f}{ends}", f"{row['n_scenes']}"]
            if not (own["probability"] == name).any():
                cells += ["-", "0"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    params, model = read_params(), load_model(MODEL)
    cells = [
        Cell(kind, source_model, noise_stated)
        for source_model in get_args(SourceModel)
        for noise_stated in (True, False)
        for kind in SIZES
    ]
    table = pd.concat([counted(cell, scenes(params, cell), model) for cell in cells], ignore_index=True)
    for name, rows in (("beyond", by_tenths(table)), ("beyond_kinds", by_kind(table))):
        text = pd.DataFrame(rows).to_csv(index=False, float_format="%.3g", lineterminator="\n")
        write_text(RESULTS / f"{name}.csv", text)
        print(text)


if __name__ == "__main__":
    main()
