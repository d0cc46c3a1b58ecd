"""`localize_files` as the tests call it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from risolve.field import FieldOfView
from risolve.files.located_sources import VALUES
from risolve.files.measurement_stream import first_looks
from risolve.localize import Localization, localize_files
from risolve.locating import Options

OPTIONS = Options(
    estimator="ml", n_sources=2, field_of_view=FieldOfView(), false_alarm=0.01, model=Path("gone.pt")
)


def localized(*files: Path, remarks: list[str] | None = None, **options: Any) -> Localization:
    said: list[str] = [] if remarks is None else remarks
    return localize_files(files, first_looks(files), replace(OPTIONS, **options), said.append, None, 1)


def column(found: Localization, name: str) -> np.ndarray:
    values: np.ndarray = found.sources.values[:, VALUES.index(name)]
    return values
