"""Results of a search as files.

trials.csv        one row a trial: number, state, values of the objectives, wall time (s), epochs, why it was
                  pruned, and a column for every hyperparameter (SECTION.KEY)
best.yaml         hyperparameters and objectives of the best complete trial
importance.csv    share of the variance of the first objective by hyperparameter; empty for too few trials
"""

import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from stages.artifacts.atomic import write_text
from stages.artifacts.errors import ParameterError
from stages.artifacts.study import FINISHED, n_epochs
from stages.search_params import Search

_FEWEST = 4
"""Finished trials from which importances are computed."""


def trials_table(study: optuna.Study, search: Search) -> pd.DataFrame:
    """trials.csv: finished trials, in the order of their numbers."""
    rows = []
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        values = trial.values or [math.nan] * len(search.objectives)
        seconds = math.nan if trial.duration is None else round(trial.duration.total_seconds(), 1)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                **dict(zip(search.objectives, values, strict=True)),
                "wall_s": seconds,
                "epochs": n_epochs(trial),
                "reason": trial.user_attrs.get("reason", ""),
                **{name: trial.params.get(name) for name, _ in search.space.ranges()},
            }
        )
    return pd.DataFrame(rows)


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The finished trial of highest found rate; None where every trial was pruned."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.values[0], -trial.number), default=None)


def write_results(directory: Path, study: optuna.Study, search: Search) -> None:
    """All files of the results, into a directory."""
    table = trials_table(study, search)
    write_text(directory / "trials.csv", table.to_csv(index=False, float_format="%.8g", lineterminator="\n"))
    best = best_trial(study)
    document: dict[str, Any] = {}
    if best is not None:
        scores = dict(zip(search.objectives, best.values, strict=True))
        document = {"trial": best.number, "objectives": scores, "parameters": dict(best.params)}
    text = io.StringIO()
    YAML().dump(document, text)
    write_text(directory / "best.yaml", text.getvalue())
    importance = importances(study)
    rows = pd.DataFrame(list(importance.items()), columns=["parameter", "importance"])
    write_text(
        directory / "importance.csv", rows.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    )


_NOTES = ("trial", "state", "found_rate", "seconds", "wall_s", "epochs", "reason")
"""Columns of trials.csv that are no hyperparameters."""


def read_trial(path: Path, number: int | None) -> tuple[int, dict[str, Any]]:
    """(number, hyperparameters by SECTION.KEY) of a complete trial of trials.csv, the best if none is named.

    Raises:
        ParameterError: no results, or no complete trial of this number.
    """
    complete = _ranked(path)
    chosen = complete if number is None else complete[complete["trial"] == number]
    if chosen.empty:
        known = ", ".join(map(str, sorted(complete["trial"])))
        raise ParameterError(f"{path}: complete trials are {known}; got --trial {number}")
    row = chosen.iloc[0]
    values = {name: row[name] for name in complete.columns if name not in _NOTES}
    return int(row["trial"]), {
        name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()
    }


def trial_lines(path: Path, top: int | None) -> list[str]:
    """Complete trials of trials.csv as a table, best first: a line of names, and a line a trial.

    Raises:
        ParameterError: no results, or `top` is not positive.
    """
    if top is not None and top < 1:
        raise ParameterError(f"--top: 1 or more trials; got {top}")
    ranked = _ranked(path)
    table = ranked[[name for name in ranked.columns if name not in ("state", "reason")]]
    return str(table.head(top or len(table)).to_string(index=False, float_format="%.4g")).splitlines()


def _ranked(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ParameterError(f"{path}: there are no trials; run `dvc repro search` first")
    table = pd.read_csv(path)
    complete = table[table["state"] == "complete"]
    return complete.sort_values(["found_rate", "trial"], ascending=[False, True])


def importances(study: optuna.Study) -> dict[str, float]:
    """Parameter -> share of the variance of the first objective; empty for too few trials, or equal ones.

    References:
        Watanabe, Bansal and Hutter, "PED-ANOVA: efficiently quantifying hyperparameter importance in
        arbitrary subspaces", IJCAI (2023).
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _FEWEST or len({trial.values[0] for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # It says that it looks for low values, which is why they are negated.
        warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes")
        return optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: -trial.values[0]
        )
