"""What a longer training brings: the network of the committed run and that of `LONGER`, scored alike.

    python -m benchmarks.sizes      writes benchmarks/results/sizes.csv, 45 minutes on two cores

Needs the committed run in this working copy (`dvc repro report`). The longer one is a DVC experiment, which
is run unless it is there. Columns as in ablation.csv, and the seconds of
the training, empty where it was not run here.
"""

import math

import pandas as pd
import torch

from benchmarks._cells import write
from benchmarks.ablation import N_SCENES, NETWORK, SHOWN, experiment, fetched, score
from stages.page.times_page import MODEL
from stages.params.file import read_params
from stages.running.durations import durations_of

LONGER = (
    "simulate.train.strata.mixed.n_scenes=40960",
    "simulate.train_constant.strata.mixed.n_scenes=16384",
    "network.loops=1",
    "train.epochs=8",
)
"""The changes of params.yaml of the longer run, as docs/training.md has them."""

NAME = "longer"


def documented(table: pd.DataFrame) -> list[str]:
    """Both runs, as lines of Markdown."""
    lines = [
        f"| run | scenes, epochs | training | {' | '.join(SHOWN.values())} |",
        "|---|---|---|" + "---|" * len(SHOWN),
    ]
    for row in table.to_dict("records"):
        size = f"{row['n_training_scenes']:,}, {row['epochs']}"
        seconds = "" if math.isnan(row["seconds"]) else f"{row['seconds']:,.0f} s"
        cells = " | ".join(f"{row[column]:.3f}" for column in SHOWN)
        lines.append(f"| {row['run']} | {size} | {seconds} | {cells} |")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    params = read_params()
    experiment(NAME, LONGER, "report")
    lines = []
    for name, revision in (("default", "HEAD"), (NAME, NAME)):
        with fetched("params.yaml", revision) as path:
            own = read_params(path)
        with fetched(str(MODEL), revision) as path:
            times = durations_of("train", path)
        seconds = math.nan if times is None else float(pd.read_csv(times)["seconds"].iloc[0])
        n_scenes = sum(own.simulate.split(split).n_scenes for split in ("train", "train_constant"))
        run = {"run": name, "n_training_scenes": n_scenes, "epochs": own.train.epochs, "seconds": seconds}
        with fetched(NETWORK, revision) as path:
            lines.append({**run, "n_scenes": N_SCENES, **score(params, path, False)})
        write("sizes", pd.DataFrame(lines))
    print(pd.DataFrame(lines).T.to_string())


if __name__ == "__main__":
    main()
