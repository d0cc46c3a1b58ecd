"""What results took to make: beside them, in `state/times/VERB/MD5.csv`, and never in them.

Times differ from run to run, results do not: were they results, DVC and git would see another result after
every run. MD5 is that of the result, as dvc.lock has it, so that times are found again by a result that comes
back from the cache, and are not taken for those of another.
"""

import hashlib
from pathlib import Path

import pandas as pd

from risolve.errors import StateError
from risolve.files.atomic import write_text
from stages.running.state import state_root


def keep_durations(verb: str, result: Path, table: pd.DataFrame) -> None:
    """Keep what a verb took for the result in a file."""
    text = table.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    place = _place(verb, result)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, text)


def durations_of(verb: str, result: Path) -> Path | None:
    """The table that was kept here for the result in a file; None where the result, or its times, are not."""
    if not result.is_file():
        return None
    place = _place(verb, result)
    return place if place.is_file() else None


def _place(verb: str, result: Path) -> Path:
    try:
        with result.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise StateError(f"{result}: cannot be read ({error.strerror})") from error
    return state_root() / "times" / verb / f"{digest}.csv"
