"""Files that say nothing of a format: names alone, axes in another order, and what is missing."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import risolve
from risolve.errors import MeasurementError
from tests.messages import shows

PLACES = np.stack((0.05 * np.arange(-2, 3), np.zeros(5), np.zeros(5)), -1)
NUMBERS = np.random.default_rng(1).standard_normal((2, 20, 5)).astype(np.float32)
SNAPSHOTS = NUMBERS[0] + 1j * NUMBERS[1]


def written(folder: Path, kind: str, **values: object) -> Path:
    path = folder / f"named.{kind}"
    if kind == "npz":
        np.savez(path, **values)
        return path
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            if np.ndim(value):
                file[name] = value
            else:
                file.attrs[name] = value
    return path


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_names_say_what_a_file_is(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, snapshots=SNAPSHOTS, element_positions_m=PLACES, wavelength_m=0.1)
    seen = risolve.read_measurements(path)
    np.testing.assert_array_equal(seen.snapshots[0].numpy(), SNAPSHOTS)
    assert (seen.n_antennas, seen.array.wavelength) == (5, 0.1)


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_a_file_of_other_names_or_another_format_is_none(tmp_path: Path, kind: str) -> None:
    with pytest.raises(MeasurementError, match="format"):
        risolve.read_measurements(written(tmp_path, kind, others=SNAPSHOTS, wavelength_m=0.1))
    stated = {"format": "risolve-covariances", "version": 1}
    with pytest.raises(MeasurementError, match="risolve-covariances"):
        risolve.read_measurements(written(tmp_path, kind, snapshots=SNAPSHOTS, **stated))


def test_antennas_in_the_place_of_snapshots_are_named(tmp_path: Path) -> None:
    """The positions, of which there are as many, are right."""
    path = written(tmp_path, "npz", snapshots=SNAPSHOTS.T, element_positions_m=PLACES, wavelength_m=0.1)
    with pytest.raises(MeasurementError, match=shows("snapshots ... (1, 5, 20) ... 5 ... swapped")):
        risolve.read_measurements(path)


def test_what_is_missing_is_named_with_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path, "npz", snapshots=SNAPSHOTS, element_positions_m=PLACES, lambda_=0.1)
    with pytest.raises(
        MeasurementError, match=shows("wavelength_m ... --map ... --frequency-hz ... (5, 3) ... lambda_")
    ):
        risolve.read_measurements(path)
    path = written(tmp_path, "npz", covariance=np.eye(5) + 0j, element_positions_m=PLACES, wavelength_m=0.1)
    with pytest.raises(MeasurementError, match=shows("n_snapshots ... --snapshots ... (5, 5)")):
        risolve.read_measurements(path)


def test_an_observation_reads_in_one_line() -> None:
    shown = repr(risolve.Observation(SNAPSHOTS, risolve.Array(PLACES, 0.1)))
    assert "\n" not in shown and all(size in shown for size in ("1 scene", "20 snap", "5 ant", "5 el"))
