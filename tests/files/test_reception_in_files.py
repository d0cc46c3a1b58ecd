"""What a file says of amplitudes, background and noise, and what an option says in place of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import risolve
from risolve.errors import MeasurementError
from risolve.files.measurement_stream import first_looks, measurement_stream
from risolve.files.naming import Naming
from tests.measurement_files import attribute, changed, write_user_file
from tests.messages import shows
from tests.worlds import SMALL, make_scenes

SCENES = make_scenes(SMALL, 1, 20.0, 3)


def held(path: Path) -> risolve.Observation:
    return risolve.read_measurements(path)


def with_noise(name: str, values: Any) -> Any:
    def change(file: Any) -> None:
        if "noise_power" in file:
            del file["noise_power"]
        file[name] = values

    return change


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return write_user_file(tmp_path / "user.h5", SCENES)


def test_the_amplitude_is_that_of_the_array_and_comes_back(user: Path) -> None:
    assert not held(user).array.spherical_amplitude
    changed(user, attribute("amplitude", "spherical"))
    own = held(user)
    assert own.array.spherical_amplitude
    again = user.with_name("again.npz")
    risolve.write_measurements(again, own)
    assert held(again).array.spherical_amplitude
    changed(user, attribute("amplitude", "round"))
    with pytest.raises(MeasurementError, match=shows("amplitude ... 'plane' ... 'spherical' ... 'round'")):
        held(user)


def test_noise_of_each_antenna_and_its_covariance_whiten(user: Path) -> None:
    M = SCENES.observation.n_antennas
    power = np.linspace(0.5, 2.0, 3 * M).reshape(3, M)
    by_antenna = held(changed(user, with_noise("noise_power", power)))
    seen = SCENES.observation.snapshots / torch.from_numpy(power**0.5)[:, None]
    torch.testing.assert_close(by_antenna.snapshots, seen.to(torch.complex64))
    assert by_antenna.noise_power is not None and by_antenna.noise_power.tolist() == [1.0] * 3
    write_user_file(user, SCENES)
    matrices = power[:, :, None] * np.eye(M)
    by_matrix = held(changed(user, with_noise("noise_covariance", matrices)))
    torch.testing.assert_close(by_matrix.snapshots, by_antenna.snapshots)
    torch.testing.assert_close(by_matrix.channel, by_antenna.channel)
    # in another unit, in which the snapshots leave single precision
    write_user_file(user, SCENES)

    def weak(file: Any) -> None:
        values = file["snapshots"][()].astype(np.complex128) * 1e-60
        del file["snapshots"]
        file["snapshots"] = values

    weakest = held(changed(user, with_noise("noise_power", 1e-120 * power), weak))
    torch.testing.assert_close(weakest.to(torch.complex64).snapshots.abs(), by_antenna.snapshots.abs())


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("noise_power", np.ones((3, 3)), "noise_power ... (3, 3)"),
        ("noise_power", -np.ones((1, SMALL.n_antennas)), "noise_power ... scene 0 is -1"),
        ("noise_covariance", np.ones((3, 3, 3)), "noise_covariance ... (3, 3, 3)"),
        ("noise_covariance", np.zeros((1, *2 * (SMALL.n_antennas,))), "noise_covariance ... scene 0 is 0"),
    ],
)
def test_noise_that_is_none_is_refused(user: Path, name: str, values: Any, told: str) -> None:
    with pytest.raises(MeasurementError, match=shows(told)):
        held(changed(user, with_noise(name, values)))


def test_no_noise_at_all_is_no_statement(user: Path) -> None:
    with pytest.warns(UserWarning, match=shows("noise_power: 0")):
        assert held(changed(user, with_noise("noise_power", np.zeros(3)))).noise_power is None


def test_a_static_background_leaves_a_snapshot_less(tmp_path: Path) -> None:
    constant = make_scenes(SMALL, 1, 20.0, 2, source_model="constant")
    user = write_user_file(tmp_path / "user.h5", constant)
    n_snapshots = held(user).n_snapshots
    changed(user, attribute("background", "static"))
    assert held(user).n_snapshots == n_snapshots - 1
    changed(user, attribute("source_model", "independent"))
    with pytest.raises(MeasurementError, match=shows("background ... `constant` ... codes")):
        held(user)


def test_unknown_noise_of_the_antennas_comes_back(user: Path) -> None:
    """An option states it in place of a noise power of the file; both in one file are refused."""
    with pytest.raises(MeasurementError, match=shows("noise = antennas ... noise_power")):
        held(changed(user, attribute("noise", "antennas")))
    changed(user, lambda file: file.__delitem__("noise_power"))
    own = held(user)
    assert own.noise == "antennas" and own.noise_power is None
    again = user.with_name("again.npz")
    risolve.write_measurements(again, own)
    assert held(again).noise == "antennas"
    naming = Naming(attributes=(("noise", "antennas"),))
    write_user_file(user, SCENES)
    with measurement_stream(user, first_looks([user], naming)) as stream:
        chunk = stream.chunk(0, 3)
        assert chunk.observation is not None and not stream.knows_noise_power
        assert chunk.observation.noise == "antennas"
    changed(user, attribute("noise", "loud"))
    with pytest.raises(MeasurementError, match=shows("noise ... 'equal' ... 'antennas' ... 'loud'")):
        held(user)


def test_coherent_sources_of_a_file_are_one_snapshot(user: Path) -> None:
    def one_code(file: Any) -> None:
        codes = file["codes"][()]
        del file["codes"]
        file["codes"] = np.repeat(codes[:1, :1], codes.shape[1], axis=1)

    own = held(changed(user, attribute("source_model", "coherent"), one_code))
    assert own.n_snapshots == 1 and own.source_model == "constant"


def test_equal_gains_come_back(user: Path) -> None:
    """Of `constant` sources, or stated by an option; `independent` ones are refused."""
    changed(user, attribute("gains", "equal"))
    with pytest.raises(MeasurementError, match=shows("gains = equal ... independent")):
        held(user)
    changed(user, attribute("source_model", "constant"))
    own = held(user)
    assert own.gains == "equal"
    again = user.with_name("again.npz")
    risolve.write_measurements(again, own)
    assert held(again).gains == "equal"
    naming = Naming(attributes=(("gains", "free"),))
    with measurement_stream(user, first_looks([user], naming)) as stream:
        chunk = stream.chunk(0, 3)
        assert chunk.observation is not None and chunk.observation.gains == "free"
    changed(user, attribute("gains", "alike"))
    with pytest.raises(MeasurementError, match=shows("gains ... 'free' ... 'equal' ... 'alike'")):
        held(user)
