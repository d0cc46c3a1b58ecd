"""What a file of measurements holds, in words that are true of its array."""

from pathlib import Path

import numpy as np
import pytest

from risolve.files.measurement_stream import measurement_stream
from risolve.files.measurements import write_measurements
from risolve.physics.array import Array
from risolve.physics.observation import Observation
from risolve.words.inspection_measurements import measurement_lines

ANGLE = 2.0 * np.pi * np.arange(8) / 8
RING = 0.05 * np.stack((np.sin(ANGLE), 0.0 * ANGLE, np.cos(ANGLE)), -1)
RAISED = np.array([0.0, 0.3, 0.0])
PLANE = 0.05 * np.stack((*np.mgrid[:3, :4].reshape(2, -1), np.zeros(12)), -1)
TILTED = PLANE @ np.array([[1.0, 0.0, 1.0], [0.0, 2.0**0.5, 0.0], [-1.0, 0.0, 1.0]]) / 2.0**0.5


def lines_of(
    path: Path, positions: np.ndarray, n_antennas: int | None = None, noise: float = 0.0
) -> list[str]:
    random = np.random.default_rng(2)
    n = n_antennas or len(positions)
    channel = None if n_antennas is None else random.standard_normal((n, len(positions), 2)) @ [1, 1j]
    covariance = np.eye(n)[None] + noise
    seen = Observation(
        random.standard_normal((5, n, 2)) @ [1, 1j], Array(positions, 0.1), channel, noise_power=covariance
    )
    write_measurements(path / "seen.h5", seen)
    with measurement_stream(path / "seen.h5", None) as stream:
        return measurement_lines(stream)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (PLANE, "array 0.1 x 0.15 m in the plane z = 0"),
        (RING, "array 0.1 x 0.1 m in the plane y = 0"),
        (RING + RAISED, "array 0.1 x 0.1 m in the plane y = 0.3"),
        (RING + np.outer(ANGLE, RAISED), "array 0.1 x 1.649 x 0.1 m, not flat"),
        (TILTED, "array 0.07071 x 0.15 x 0.07071 m in a plane across the axes"),
        (PLANE[::4], "array 0.1 m on a line along x"),
        (TILTED[::4], "array 0.07071 x 0.07071 m on a line across the axes"),
    ],
)
def test_where_antennas_stand_is_told(tmp_path: Path, positions: np.ndarray, expected: str) -> None:
    lines = lines_of(tmp_path, positions)
    assert expected in lines
    assert f"1 scenes of 5 snapshots at {len(positions)} antennas, no surface" in lines
    assert any("the identity: the antennas are the elements" in line for line in lines)


def test_whitened_antennas_are_no_surface(tmp_path: Path) -> None:
    assert not [line for line in lines_of(tmp_path, RING, noise=0.2) if "surface to" in line]


def test_a_surface_is_told(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, PLANE, 3)
    assert "1 scenes of 5 snapshots at 3 antennas, surface of 12 elements" in lines
    assert any("surface to antennas" in line for line in lines)
