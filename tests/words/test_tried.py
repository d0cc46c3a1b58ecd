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
    return tried_of(path, Observation(snapshots, Array(positions, WAVELENGTH), **surface))


def tried_of(path: Path, seen: Observation, **truth: list[list[float]]) -> list[str]:
    """Lines about a file; truth: azimuth_deg, elevation_deg and range_m as they stand in it."""
    write_measurements(path / "seen.npz", seen)
    if truth:
        with np.load(path / "seen.npz") as held:
            stated = {f"truth/{name}": np.array(values) for name, values in truth.items()}
            np.savez(path / "seen.npz", **held, **stated, **{"truth/n_sources": np.array([1])})
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


def better(lines: list[str], word: str) -> bool:
    """Whether a trial of this name is told, with the place of the source."""
    return any(word in line and "azimuth 20.0 deg" in line for line in lines)


def through(codes: np.ndarray, snapshots: np.ndarray, said: np.ndarray) -> Observation:
    """What 8 antennas behind a surface receive under codes, and the codes that the file says."""
    channel = np.random.default_rng(5).standard_normal((8, 60, 2)) @ [1, 1j]
    return Observation((codes * snapshots) @ channel.T, Array(POSITIONS, WAVELENGTH), channel, said)


@pytest.mark.parametrize("step", [1.0, 22.5])
def test_phases_in_degrees_are_found(tmp_path: Path, step: float) -> None:
    degrees = step * np.random.default_rng(6).integers(round(360.0 / step), size=(20, 60))
    codes = np.exp(1j * np.deg2rad(degrees))
    lines = tried_of(tmp_path, through(codes, field(), np.exp(1j * degrees)))
    assert better(lines, "phases in degrees")
    assert not any("phases" in line for line in tried_of(tmp_path, through(codes, field(), codes)))


def test_phases_that_were_made_radians_twice_are_found(tmp_path: Path) -> None:
    phases = 2.0 * np.pi * np.random.default_rng(6).random((20, 60))
    said = np.exp(1j * np.deg2rad(phases))
    assert better(tried_of(tmp_path, through(np.exp(1j * phases), field(), said)), "180 / pi")


def test_axes_of_equal_sizes_are_exchanged(tmp_path: Path) -> None:
    assert better(tried(tmp_path, field(60).mT), "snapshots and antennas of the snapshots exchanged")
    codes = np.exp(2j * np.pi * np.random.default_rng(7).random((60, 60)))
    lines = tried_of(tmp_path, through(codes, field(60), codes.T))
    assert better(lines, "snapshots and elements of the codes exchanged")


def test_a_frequency_in_place_of_the_wavelength_is_found(tmp_path: Path) -> None:
    """0.9 GHz, of a spacing that 0.9 m would have as well."""
    wavelength = 0.299792458 / 0.9
    places = 3.0 * POSITIONS
    random = np.random.default_rng(9)
    wave = np.exp(-2j * np.pi / wavelength * paths(places, 20.0, 10.0, 3.0))
    sent, noise = random.standard_normal((2, 20, 60, 2)) @ [1, 1j]
    lines = tried_of(tmp_path, Observation(sent[:, :1] * wave + 0.05 * noise, Array(places, 0.9)))
    assert better(lines, "gigahertz, 0.3331 m")


@pytest.mark.parametrize(
    ("azimuth", "elevation", "word"),
    [
        (np.deg2rad(20.0), np.deg2rad(10.0), "radians"),
        (-20.0, 10.0, "mirrored in x"),
        (20.0, -10.0, "mirrored in y"),
        (10.0, 20.0, "exchanged"),
        (70.0, 10.0, "from the x axis"),
        (20.0, 80.0, "from the y axis"),
    ],
)
def test_what_true_places_may_mean_is_tried(
    tmp_path: Path, azimuth: float, elevation: float, word: str
) -> None:
    seen = Observation(field(), Array(POSITIONS, WAVELENGTH))
    lines = tried_of(tmp_path, seen, azimuth_deg=[[azimuth]], elevation_deg=[[elevation]], range_m=[[0.8]])
    told = [float(line.split(" % ")[0].split()[-1]) for line in lines if "true" in line]
    (best,) = (line for line in lines if word in line and "true" in line)
    assert told[0] > 5.0
    assert float(best.split(" % ")[0].split()[-1]) == min(told) < 1.0


def test_true_places_that_are_right_are_left_alone(tmp_path: Path) -> None:
    seen = Observation(field(), Array(POSITIONS, WAVELENGTH))
    lines = tried_of(tmp_path, seen, azimuth_deg=[[20.0]], elevation_deg=[[10.0]], range_m=[[0.8]])
    (line,) = (line for line in lines if "true" in line)
    assert float(line.split(" % ")[0].split()[-1]) < 1.0
