"""What the search gains: the best trial against params.yaml, both trained at full size.

    python -m benchmarks.search       writes benchmarks/results/search.csv and search.json, needs 25 minutes

Needs `dvc repro search` in this working copy, whose best trial is not yet adopted. Each training has three
seeds, `train.seed` and the next two. search.csv: one row a training, with the objective of the search, the
found rate on the validation scenes with refinement, number of sources told. search_trials.csv: the trials, as
in data/search/trials.csv. search.json: mean difference with
its paired 95 % interval (percentile bootstrap over scenes, all seeds of a scene together), time that the
trials took (one core each), and the overhead: what the processes of the search spend besides their trials,
from their start to the end of their last trial, as a share of the trials.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from risolve import seeds
from risolve.files.atomic import write_text
from risolve.files.model import new_network
from risolve.running.progress import Progress
from stages.adopt import TRIALS
from stages.params.file import read_params
from stages.params.model import Params
from stages.running.processes import ALONE
from stages.train import train
from stages.training.setup import training_feed, validation_examples
from stages.trials.exam import SearchBench, count_found, read_bench
from stages.trials.tables import read_trial

RESULTS = Path(__file__).parent / "results"
SEEDS, DRAWS = 3, 2000


def trained(params: Params, bench: SearchBench) -> tuple[np.ndarray, float]:
    """(found sources by validation scene, CPU time (s) of the training) at full size."""
    started = time.process_time()
    device = torch.device("cpu")
    state = train(
        params,
        training_feed(params, 1.0, device, 0, 1),
        validation_examples(params),
        ALONE,
        device,
        None,
        lambda state: None,
        lambda epoch, batch, n_batches: None,
    )
    seconds = time.process_time() - started
    network = new_network(params.of_model(), params.train.seed)
    network.load_state_dict(state["best"]["network"])
    return count_found(params, bench, network, True)[0], seconds


def interval(difference: np.ndarray, n_sources: np.ndarray) -> list[float]:
    """Percentile bootstrap of a difference of found rates over scenes."""
    generator = seeds.generator(1, "bootstrap")
    chosen = generator.integers(0, len(difference), (DRAWS, len(difference)))
    rates = difference[chosen].sum(1) / (SEEDS * n_sources[chosen].sum(1))
    return [float(value) for value in np.percentile(rates, (2.5, 97.5))]


def overhead() -> dict[str, float]:
    """Time (s) of the trials, and what their processes spent besides, from the journal of the last search."""
    journal = max(Path("state/search").glob("*/journal.log"), key=lambda path: path.stat().st_mtime)
    study = optuna.load_study(
        study_name=journal.parent.name, storage=JournalStorage(JournalFileBackend(str(journal)))
    )
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.datetime_complete is not None]
    in_trials = sum(trial.duration.total_seconds() for trial in trials if trial.duration is not None)
    alive = 0.0
    for owner in {trial.user_attrs["owner"] for trial in trials}:
        ends = [t.datetime_complete for t in trials if t.user_attrs["owner"] == owner]
        alive += max(end.timestamp() for end in ends if end is not None) - float(owner.split()[2])
    return {"trial_s": in_trials, "overhead": alive / in_trials - 1.0}


def main() -> None:
    torch.use_deterministic_algorithms(True)
    own = read_params()
    number, values = read_trial(TRIALS, None, own)
    bench = read_bench(own)
    n_sources = bench.n_sources.numpy()
    progress = Progress("search benchmark", 2 * SEEDS, "trainings")
    rows, counts = [], {}
    for name, params in (("params.yaml", own), ("best trial", own.with_values(values))):
        for seed in range(own.train.seed, own.train.seed + SEEDS):
            found, seconds = trained(params.with_values({"train.seed": seed}), bench)
            counts.setdefault(name, []).append(found)
            rate = found.sum() / n_sources.sum()
            rows.append({"hyperparameters": name, "seed": seed, "found_rate": rate, "cpu_s": seconds})
            progress.advance(note=f"{name}: {rate:.4f}")
    difference = np.sum(counts["best trial"], axis=0) - np.sum(counts["params.yaml"], axis=0)
    trials = pd.read_csv(TRIALS)
    document: dict[str, Any] = {
        "trial": number,
        "hyperparameters": values,
        "n_trials": len(trials),
        "n_pruned": int((trials["state"] == "pruned").sum()),
        "n_scenes": len(n_sources),
        "n_sources": int(n_sources.sum()),
        "difference": float(difference.sum() / (SEEDS * n_sources.sum())),
        "interval": interval(difference, n_sources),
        **overhead(),
    }
    table = pd.DataFrame(rows).to_csv(index=False, float_format="%.5g", lineterminator="\n")
    write_text(RESULTS / "search.csv", table)
    write_text(RESULTS / "search.json", json.dumps(document, indent=1) + "\n")
    write_text(RESULTS / "search_trials.csv", TRIALS.read_text("utf-8"))
    print(table)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
