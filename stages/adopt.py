"""Reads data/search/trials.csv; writes the hyperparameters of a trial into params.yaml (`risolve adopt`)."""

from pathlib import Path

from stages.params.change import replace_values
from stages.params.file import PARAMS, read_params
from stages.trials.tables import read_trial

TRIALS = Path("data/search/trials.csv")


def adopt(number: int | None) -> tuple[int, str]:
    """(number of the trial, what changed in params.yaml as a unified diff).

    Raises:
        ParameterError: as `read_params`, `read_trial` and `replace_values`; params.yaml then stays as it is.
    """
    chosen, values = read_trial(TRIALS, number, read_params(PARAMS))
    return chosen, replace_values(PARAMS, values)
