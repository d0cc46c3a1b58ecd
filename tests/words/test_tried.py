"""What people get wrong is found by what one source explains of it."""

from pathlib import Path

import numpy as np
import pytest

from risolve.files.measurement_stream import measurement_stream
from risolve.files.measurements import write_measurements
from risolve.physics.array import Array
from risolve.physics.observation import Observation
from risolve.words.tried import tried_lines
from tests.recordings import paths

WAVELENGTH = 0.1


def plane(n_across: int, n_upwards: int) -> np.ndarray:
    x, y = np.meshgrid(
        np.arange(n_across) - 0.5 * (n_across - 1), np.arange(n_upwards) - 0.5 * (n_upwards - 1)
    )
    found: np.ndarray = 0.05 * np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=-1)
    return found


POSITIONS = plane(10, 6)


def tried(
    path: Path, snapshots: np.ndarray, positions: np.ndarray = POSITIONS, **surface: np.ndarray
) -> list[str]:
    write_measurements(path / "seen.npz", Observation(snapshots, Array(positions, WAVELENGTH), **surface))
    with measurement_stream(path / "seen.npz", None) as stream:
        return tried_lines(stream)


def field(n_snapshots: int = 20) -> np.ndarray:
    """A source at 20 degrees to the right, 10 upwards, 0.8 m away, at 26 dB."""
    random = np.random.default_rng(3)
    sent, noise = random.standard_normal((2, n_snapshots, 60, 2)) @ [1, 1j]
    wave = np.exp(-2j * np.pi / WAVELENGTH * paths(POSITIONS, 20.0, 10.0, 0.8))
    received: np.ndarray = sent[:, :1] * wave + 0.05 * noise
    return received


def test_what_is_right_is_left_alone(tmp_path: Path) -> None:
    (line,) = tried(tmp_path, field())
    assert "azimuth 20.0 deg, elevation 10.0 deg, range 0." in line
    assert float(line.split()[3]) < 1.0


def test_the_other_sign_is_found(tmp_path: Path) -> None:
    as_it_is, better = tried(tmp_path, field().conj())
    assert float(as_it_is.split()[3]) > 10.0
    assert "--conjugate" in better
    assert "azimuth 20.0 deg, elevation 10.0 deg" in better


def test_elements_column_by_column_are_found(tmp_path: Path) -> None:
    order = np.lexsort((POSITIONS[:, 1], POSITIONS[:, 0]))
    lines = tried(tmp_path, field()[:, order])
    assert any(
        "column by column" in line and "azimuth 20.0 deg, elevation 10.0 deg" in line for line in lines
    )


def test_positions_in_wavelengths_are_found(tmp_path: Path) -> None:
    lines = tried(tmp_path, field(), POSITIONS / WAVELENGTH)
    assert any("--positions-in wavelengths" in line and "azimuth 20.0 deg" in line for line in lines)


@pytest.mark.parametrize("wrong", ["channel", "codes"])
def test_a_conjugate_surface_is_found(tmp_path: Path, wrong: str) -> None:
    random = np.random.default_rng(5)
    channel = random.standard_normal((8, 60, 2)) @ [1, 1j]
    codes = np.exp(2j * np.pi * random.random((20, 60)))
    snapshots = (codes * field()) @ channel.T
    surface = {"channel": channel, "codes": codes}
    lines = tried(tmp_path, snapshots, **(surface | {wrong: surface[wrong].conj()}))
    assert any(f"conjugate of the {wrong}" in line and "azimuth 20.0 deg" in line for line in lines)


def test_a_mirrored_antenna_order_is_found_where_the_array_tells_it(tmp_path: Path) -> None:
    positions = (
        POSITIONS + 0.01 * np.random.default_rng(1).random(POSITIONS.shape) * np.arange(60)[:, None] / 20
    )
    wave = np.exp(-2j * np.pi / WAVELENGTH * paths(positions, 20.0, 10.0, 0.8))
    random = np.random.default_rng(9)
    snapshots = (random.standard_normal((20, 1, 2)) @ [1, 1j]) * wave
    snapshots = snapshots + 0.05 * (random.standard_normal((20, 60, 2)) @ [1, 1j])
    lines = tried(tmp_path, snapshots[:, ::-1], positions)
    assert any("reverse" in line and "azimuth 20.0 deg" in line for line in lines)
