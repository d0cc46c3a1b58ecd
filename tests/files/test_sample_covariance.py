"""A covariance in place of snapshots: the same likelihoods, and one line for what is no covariance."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from risolve.errors import MeasurementError
from risolve.files.measurement_stream import first_looks, measurement_stream
from risolve.files.naming import Naming
from tests.localization import column, localized
from tests.messages import shows
from tests.recordings import elements, paths

N_SNAPSHOTS = 30
POSITIONS = elements(4, 0.05)


def received(n_scenes: int = 2) -> np.ndarray:
    """Snapshots of two sources in every scene."""
    random = np.random.default_rng(6)
    places = ((-20.0, 5.0, 1.0), (25.0, -10.0, 0.6))
    waves = np.exp(-2j * np.pi / 0.1 * np.array([paths(POSITIONS, *place) for place in places]))
    sent = random.standard_normal((n_scenes, N_SNAPSHOTS, 2, 2)) @ [1, 1j]
    noise = random.standard_normal((n_scenes, N_SNAPSHOTS, 16, 2)) @ [1, 1j]
    seen: np.ndarray = sent @ waves + 0.1 * noise
    return seen


def covariance(snapshots: np.ndarray) -> np.ndarray:
    found: np.ndarray = snapshots.swapaxes(1, 2) @ snapshots.conj() / snapshots.shape[1]
    return found


def write(path: Path, **held: Any) -> Path:
    common = {"element_positions_m": POSITIONS, "wavelength_m": 0.1}
    scipy.io.savemat(path, {name: value for name, value in (common | held).items() if value is not None})
    return path


def test_snapshots_have_the_covariance(tmp_path: Path) -> None:
    expected = covariance(received())
    path = write(tmp_path / "R.mat", covariance=expected, n_snapshots=float(N_SNAPSHOTS))
    with measurement_stream(path, None) as stream:
        assert stream.sizes == (2, N_SNAPSHOTS, 16, 16)
        seen = stream.chunk(0, 2).observation
    assert seen is not None
    np.testing.assert_allclose(covariance(seen.snapshots.numpy()), expected, atol=1e-5)
    np.testing.assert_allclose(seen.snapshots.numpy().mean(1), 0.0, atol=1e-5)


@pytest.mark.parametrize("estimator", ["ml", "music+ml"])
@pytest.mark.parametrize("noise_power", [0.02, None])
def test_sources_and_likelihoods_are_those_of_the_snapshots(
    tmp_path: Path, estimator: str, noise_power: float | None
) -> None:
    held = {"noise_power": noise_power}
    one = write(tmp_path / "y.mat", snapshots=received(), **held)
    other = write(tmp_path / "R.mat", covariance=covariance(received()), n_snapshots=N_SNAPSHOTS, **held)
    expected, found = localized(one, estimator=estimator), localized(other, estimator=estimator)
    for name in ("azimuth_deg", "range_m", "power_db", "azimuth_std_deg", "log_likelihood"):
        np.testing.assert_allclose(column(found, name), column(expected, name), rtol=2e-3, err_msg=name)


def test_the_number_of_snapshots_is_stated_outside(tmp_path: Path) -> None:
    path = write(tmp_path / "R.mat", covariance=covariance(received())[0])
    with measurement_stream(path, first_looks([path], Naming(n_snapshots=N_SNAPSHOTS))) as stream:
        assert stream.sizes == (1, N_SNAPSHOTS, 16, 16)


def test_few_snapshots_have_a_covariance_of_low_rank(tmp_path: Path) -> None:
    expected = covariance(received()[:, :5])
    with measurement_stream(write(tmp_path / "R.mat", covariance=expected, n_snapshots=5), None) as stream:
        seen = stream.chunk(0, 2).observation
    assert seen is not None and seen.n_snapshots == 5
    np.testing.assert_allclose(covariance(seen.snapshots.numpy()), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("held", "law"),
    [
        ({"n_snapshots": None}, "attribute n_snapshots: missing"),
        ({"n_snapshots": 2.5}, "attribute n_snapshots: ... got 2.5"),
        ({"codes": np.ones((1, 30, 16))}, "covariance: ... codes"),
        ({"covariance": np.ones((2, 16, 15), complex)}, "covariance: ... complex128 (2, 16, 15)"),
    ],
)
def test_what_is_no_covariance_is_one_line(tmp_path: Path, held: dict[str, Any], law: str) -> None:
    path = write(tmp_path / "R.mat", **({"covariance": covariance(received()), "n_snapshots": 30} | held))
    with pytest.raises(MeasurementError, match=shows(law)), measurement_stream(path, None):
        pass


def test_a_scene_that_is_no_covariance_is_left_out(tmp_path: Path) -> None:
    matrices = covariance(received(5))
    matrices[0, 2, 3] += 0.5
    matrices[1] -= 0.3 * np.eye(16)
    matrices[3, 0, 0] = np.nan
    path = write(tmp_path / "R.mat", covariance=matrices, n_snapshots=N_SNAPSHOTS)
    with measurement_stream(path, None) as stream:
        chunk = stream.read(range(5))
    assert chunk.scenes == (2, 4)
    for scene, law in ((0, "0.5"), (1, "-0.2"), (3, "finite")):
        assert law in chunk.left_out[scene], scene
    loaded = write(path, covariance=covariance(received(1)), n_snapshots=3)
    with measurement_stream(loaded, None) as stream:
        assert re.search(shows("3 ... got 16"), stream.read(range(1)).left_out[0])
