"""Files of bands with a common delay: written, read back, located, drawn, inspected and refused."""

from pathlib import Path

import numpy as np
import pytest

import risolve
from risolve import cli
from risolve.errors import MeasurementError
from risolve.files.banded_stream import any_stream
from risolve.files.measurement_stream import first_looks
from risolve.files.naming import Naming
from risolve.physics.observation import Observation
from risolve.words.inspection import inspect_lines
from tests.messages import shows

WAVELENGTHS = (0.1 / np.linspace(0.95, 1.05, 5)).tolist()
AWAY = 2.7
TOLD = ("--sources", "1", "--elevation", "0")


def in_bands(model: str = "independent") -> list[Observation]:
    """Two scenes of a source at 20 degrees and 2.7 m, far from a line of 6 elements: 0.5 m across."""
    random = np.random.default_rng(2)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)) / np.sqrt(2.0)

    s, held = normal(2, 1 if model == "constant" else 4, 1), []
    azimuth = np.deg2rad(20.0)
    place = AWAY * np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    for wavelength in WAVELENGTHS:
        line = risolve.linear(6, spacing=0.05, wavelength=wavelength)
        wave = np.exp(-2j * np.pi / wavelength * np.linalg.norm(place - line.elements.numpy(), axis=-1))
        y = s * wave + 0.1 * normal(2, 4, 6)
        held.append(Observation(y, line, source_model=model, noise_power=0.01))
    return held


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["risolve", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(("ending", "model"), [("h5", "independent"), ("npz", "constant")])
def test_a_common_delay_comes_back(tmp_path: Path, ending: str, model: str) -> None:
    held, file = in_bands(model), tmp_path / f"bands.{ending}"
    risolve.write_measurements(file, held, delay="common")
    again, expected = risolve.read_measurements(file), risolve.bands(held, delay="common")
    assert (again.n_snapshots, again.n_antennas) == (expected.n_snapshots, expected.n_antennas) == (4, 30)
    assert again.source_model == model
    found, own = (risolve.locate(seen, sources=1, elevation=0) for seen in (again, expected))
    np.testing.assert_allclose(found["range_m"], own["range_m"], atol=1e-4)
    assert np.allclose(found["range_m"], AWAY, atol=0.1)


def test_commands_read_a_common_delay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stated in the file, or of a file in which it is not."""
    file, free, again = (tmp_path / name for name in ("bands.h5", "free.h5", "again.npz"))
    risolve.write_measurements(file, in_bands(), delay="common")
    risolve.write_measurements(free, in_bands())
    assert command(monkeypatch, "convert", str(file), str(again)) == 0
    for path, stated in ((again, ()), (free, ("--delay", "common"))):
        out = tmp_path / f"{path.stem}.csv"
        assert command(monkeypatch, "localize", str(path), *TOLD, *stated, "--out", str(out)) == 0
        rows = np.genfromtxt(out, delimiter=",", names=True)
        assert np.allclose(rows["range_m"], AWAY, atol=0.1)
        assert (rows["range_std_m"] < 0.1).all()
    drawn = tmp_path / "scene.svg"
    assert command(monkeypatch, "plot", str(file), *TOLD, "--scene", "0", "--out", str(drawn)) == 0
    assert drawn.stat().st_size > 1000
    lines, fault = inspect_lines(file)
    assert fault is None
    # 0.1 m over 0.125 and over 0.025 of the carrier
    assert [line for line in lines if "0.8 m" in line and "4 m" in line and "delay" in line]


def test_a_delay_that_cannot_be_common_is_refused(tmp_path: Path) -> None:
    alone, file = tmp_path / "alone.h5", tmp_path / "bands.h5"
    risolve.write_measurements(alone, in_bands()[0])
    risolve.write_measurements(file, in_bands())
    common = ("delay", "common")
    for path, attributes, parts in (
        (alone, (common,), "delay = common ... 2"),
        (file, (common, ("source_model", "coherent")), "delay = common ... band 0"),
        (file, (("delay", "tied"),), "delay ... free ... common ... tied"),
    ):
        looks = first_looks([path], Naming(attributes=attributes))
        with pytest.raises(MeasurementError, match=shows(parts)), any_stream(path, looks):
            pass
    with pytest.raises(ValueError, match=shows("delay = common ... got 1")):
        risolve.write_measurements(tmp_path / "none.h5", in_bands()[:1], delay="common")
    assert not (tmp_path / "none.h5").exists()
