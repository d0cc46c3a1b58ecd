"""Results of a search as files.

trials.csv        one row a trial: number, state, values of the objectives, epochs, why it was pruned, and a
                  column for every hyperparameter (SECTION.KEY); how long it took is in the study alone
best.yaml         hyperparameters and objectives of the best complete trial
importance.csv    share of the variance of the first objective by hyperparameter; empty for too few trials
"""

import contextlib
import csv
import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from risolve.errors import ParameterError
from risolve.files.atomic import write_text
from risolve.files.regular import IrregularFileError, content
from stages.params.model import Params
from stages.params.search import Choices, Interval, Range, Scalar, Search
from stages.trials.study import FINISHED, n_epochs

_FEWEST = 4
"""Finished trials from which importances are computed."""

_DIGITS = ".8g"
"""Of numbers in trials.csv."""


def trials_table(study: optuna.Study, search: Search) -> pd.DataFrame:
    """trials.csv: finished trials, in the order of their numbers."""
    rows = []
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        values = trial.values or [math.nan] * len(search.objectives)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                **dict(zip(search.objectives, values, strict=True)),
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
    write_text(
        directory / "trials.csv", table.to_csv(index=False, float_format=f"%{_DIGITS}", lineterminator="\n")
    )
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


_MOST_BYTES = 100_000_000
"""Of trials.csv: a million trials."""

_RANK = ("trial", "state", "found_rate")
"""Columns of trials.csv by which trials are ranked."""

_NOTES = (*_RANK, "seconds", "epochs", "reason")
"""Columns of trials.csv that are no hyperparameters."""

_Row: TypeAlias = Mapping[str, str]


def read_trial(path: Path, number: int | None, params: Params) -> tuple[int, dict[str, Scalar]]:
    """(number, hyperparameters by SECTION.KEY) of a complete trial of trials.csv, the best if none is named.

    Raises:
        ParameterError: no results, no complete trial of this number, or one of another search.space.
    """
    complete = _ranked(path)
    chosen = [row for row in complete if number in (None, int(row["trial"]))]
    if not chosen:
        known = ", ".join(map(str, sorted(int(row["trial"]) for row in complete)))
        raise ParameterError(f"{path}: complete trials are {known}; got --trial {number}")
    cells = {name: cell for name, cell in chosen[0].items() if name not in _NOTES}
    ranges = dict(params.search.space.ranges())
    if not cells or set(cells) - set(ranges):
        others = ", ".join(sorted(set(cells) - set(ranges))) or "no hyperparameter"
        raise ParameterError(
            f"{path}: {others}: params.yaml: search.space is {', '.join(ranges)}; run `dvc repro search`"
        )
    values: dict[str, Scalar] = {}
    for name, cell in cells.items():
        value = _value(cell, ranges[name], is_whole(params, name))
        if value is None:
            raise ParameterError(
                f"{path}: trial {chosen[0]['trial']}: {name}: one of params.yaml: search.space.{name}; "
                f"got {cell!r}; run `dvc repro search`"
            )
        values[name] = value
    return int(chosen[0]["trial"]), values


def is_whole(params: Params, name: str) -> bool:
    """Whether a hyperparameter (SECTION.KEY) counts whole things."""
    section, key = name.split(".")
    return isinstance(getattr(getattr(params, section), key), int)


def _value(cell: str, own: Range, whole: bool) -> Scalar | None:
    """What a cell of trials.csv, rounded there, stands for; None where that is not in the range."""
    match own:
        case Choices(choices=choices):
            return next((choice for choice in choices if cell in (str(choice), _rounded(choice))), None)
        case Interval(low=low, high=high):
            value = _number(cell)
            if value is None or (whole and not isinstance(value, int)):
                return None
            return value if float(_rounded(low)) <= value <= float(_rounded(high)) else None


def _rounded(value: Scalar) -> str:
    return f"{value:{_DIGITS}}" if isinstance(value, float) else str(value)


def trial_lines(path: Path, top: int | None) -> list[str]:
    """Complete trials of trials.csv as a table, best first: a line of names, and a line a trial.

    Raises:
        ParameterError: no results, or `top` is not positive.
    """
    if top is not None and top < 1:
        raise ParameterError(f"--top: 1 or more trials; got {top}")
    ranked = _ranked(path)
    names = [name for name in ranked[0] if name not in ("state", "reason")]
    lines = [names, *([_short(row[name]) for name in names] for row in ranked[:top])]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [" ".join(cell.rjust(n) for cell, n in zip(line, wide, strict=True)) for line in lines]


def _short(cell: str) -> str:
    """A number with four digits, anything else as it is."""
    value = _number(cell)
    return f"{value:.4g}" if isinstance(value, float) else cell


def _number(cell: str) -> int | float | None:
    """The finite number that a cell holds, whole where it has no point."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            value = kind(cell)
            return value if math.isfinite(value) else None
    return None


def _foreign(path: Path, reason: str) -> ParameterError:
    return ParameterError(f"{path}: not what a search wrote; run `dvc repro search`: {reason[:200]}")


def _ranked(path: Path) -> list[_Row]:
    """Complete trials of trials.csv, best first.

    Raises:
        ParameterError: missing, not what a search wrote, or without a complete trial.
    """
    if not path.exists():
        raise ParameterError(f"{path}: there are no trials; run `dvc repro search` first")
    try:
        text = content(path, _MOST_BYTES).decode("utf-8")
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, IrregularFileError, UnicodeDecodeError, csv.Error) as error:
        raise _foreign(path, " ".join(str(error).split())) from error
    names, rows = (table[0], table[1:]) if table else ([], [])
    if len(set(names)) < len(names) or not set(_RANK) <= set(names):
        raise _foreign(path, f"its columns are {names!a}")
    complete: list[tuple[float, int, _Row]] = []
    for cells in rows:
        row = dict(zip(names, cells, strict=False))
        if len(cells) != len(names):
            raise _foreign(path, f"{len(cells)} cells in {len(names)} columns: {cells!a}")
        if row["state"] == "complete":
            rank, number = _number(row["found_rate"]), _number(row["trial"])
            if rank is None or not isinstance(number, int) or not all(map(str.isprintable, cells)):
                raise _foreign(path, f"a complete trial is {cells!a}")
            complete.append((-rank, number, row))
    if not complete:
        raise ParameterError(f"{path}: no trial is complete; run `dvc repro search` with more trials")
    return [row for *_, row in sorted(complete, key=lambda own: own[:2])]


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
