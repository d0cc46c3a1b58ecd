"""Files of several wavelengths: written and read back, located, drawn and inspected, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io.wavfile

import risolve
from risolve import cli
from risolve.errors import MeasurementError
from risolve.files.banded_stream import BandedStream, any_stream
from risolve.files.measurement_stream import first_looks, stream_of
from risolve.files.naming import Naming
from risolve.files.reader import opened
from risolve.physics.observation import Observation
from risolve.words.inspection import inspect_lines
from tests.messages import shows

WAVELENGTHS = (0.09, 0.1, 0.112)
AZIMUTH_DEG = 20.0


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return (random.standard_normal(shape) + 1j * random.standard_normal(shape)) / np.sqrt(2.0)


def in_bands(model: str = "independent", n_scenes: int = 3, *, surface: bool = True) -> list[Observation]:
    """One far source seen by a line of 8 elements, through a surface with 5 antennas or directly."""
    random = np.random.default_rng(2)
    held = []
    for wavelength in WAVELENGTHS:
        line = risolve.linear(8, spacing=0.05, wavelength=wavelength)
        sines = np.sin(np.deg2rad(AZIMUTH_DEG)) * line.elements[:, 0].numpy()
        wave = np.exp(2j * np.pi / wavelength * sines)
        s = normal(random, n_scenes, 1 if model == "constant" else 6, 1) * np.ones((n_scenes, 6, 1))
        H, C = normal(random, 5, 8), np.exp(0.25j * np.pi * random.integers(8, size=(6, 8)))
        clean = (C * s * wave) @ H.T if surface else s * wave
        y = clean + 0.2 * normal(random, *clean.shape)
        through = {"channel": H, "codes": C} if surface else {}
        held.append(Observation(y, line, source_model=model, noise_power=0.04, **through))
    return held


@pytest.mark.parametrize(
    ("ending", "model", "surface"),
    [("h5", "independent", True), ("h5", "constant", True), ("npz", "constant", False)],
)
def test_bands_come_back_as_they_were(tmp_path: Path, ending: str, model: str, surface: bool) -> None:
    held, file = in_bands(model, surface=surface), tmp_path / f"bands.{ending}"
    risolve.write_measurements(file, held)
    found, expected = (
        risolve.locate(seen, sources=1, elevation=0, range=np.inf)
        for seen in (risolve.read_measurements(file), risolve.bands(held))
    )
    # complex64 in the file reader
    np.testing.assert_allclose(found["azimuth_deg"], expected["azimuth_deg"], atol=1e-4)
    np.testing.assert_allclose(found["power_db"], expected["power_db"], atol=1e-4)
    assert np.allclose(found["azimuth_deg"], AZIMUTH_DEG, atol=1.0)


def test_what_a_file_holds_is_in_order(tmp_path: Path) -> None:
    """That equal observations make equal bytes."""
    risolve.write_measurements(tmp_path / "bands.npz", in_bands(n_scenes=1))
    names = list(np.load(tmp_path / "bands.npz"))
    of_band = ["snapshots", "channel", "codes", "noise_power"]
    assert [name for name in names if name.startswith("bands/")] == [
        f"bands/{number}/{name}" for number in range(3) for name in of_band
    ]


def test_one_band_is_a_file_of_one_wavelength(tmp_path: Path) -> None:
    (first, *_), (alone, listed) = in_bands(), (tmp_path / "alone.h5", tmp_path / "listed.h5")
    risolve.write_measurements(alone, first)
    risolve.write_measurements(listed, [first])
    assert alone.read_bytes() == listed.read_bytes()


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["risolve", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_commands_read_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = tmp_path / "bands.h5", tmp_path / "found.csv"
    held = in_bands()
    risolve.write_measurements(file, held)
    told = ["--sources", "1", "--elevation", "0", "--range", "inf"]
    assert command(monkeypatch, "localize", str(file), *told, "--out", str(out)) == 0
    rows = np.genfromtxt(out, delimiter=",", names=True)
    expected = risolve.locate(risolve.bands(held), sources=1, elevation=0, range=np.inf)
    np.testing.assert_allclose(rows["azimuth_deg"], expected["azimuth_deg"], atol=1e-4)
    drawn = tmp_path / "scene.svg"
    assert command(monkeypatch, "plot", str(file), *told, "--scene", "0", "--out", str(drawn)) == 0
    assert drawn.stat().st_size > 1000
    lines, fault = inspect_lines(file)
    assert fault is None
    assert [line for line in lines if line.startswith("band 2: wavelength 0.112")]
    assert any(line.startswith("at most 4 sources") for line in lines)


def test_what_stands_beside_the_bands_is_of_all_and_a_truth_is_read(tmp_path: Path) -> None:
    file = tmp_path / "bands.h5"
    held = in_bands(surface=False)
    with h5py.File(file, "w") as own:
        own.attrs.update(format="risolve-measurements", version=2)
        own["wavelengths_m"] = WAVELENGTHS
        own["element_positions_m"] = held[0].array.elements.numpy()
        own["noise_power"] = np.full(3, 0.04)
        for number, band in enumerate(held):
            own[f"bands/{number}/snapshots"] = band.snapshots.numpy()
        own["truth/n_sources"] = np.ones(3, np.int32)
        for name, value in (("azimuth_deg", AZIMUTH_DEG), ("elevation_deg", 0.0), ("range_m", np.inf)):
            own[f"truth/{name}"] = np.full((3, 1), value)
    with any_stream(file, first_looks([file])) as stream:
        truth = stream.truth()
        assert truth is not None
        np.testing.assert_allclose(np.rad2deg(truth.sources[:, 0, 0]), AZIMUTH_DEG)
        assert (stream.knows_noise_power, stream.n_snapshots, stream.n_antennas) == (True, 18, 8)
    found = risolve.locate(risolve.read_measurements(file), sources=1, elevation=0, range=np.inf)
    expected = risolve.locate(risolve.bands(held), sources=1, elevation=0, range=np.inf)
    np.testing.assert_allclose(found["azimuth_deg"], expected["azimuth_deg"], atol=1e-4)


def replaced(name: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    def change(own: h5py.File) -> None:
        del own[name]
        own[name] = values

    return change


def without(name: str) -> Callable[[h5py.File], None]:
    return lambda own: own.__delitem__(name)


def stated(name: str, value: str) -> Callable[[h5py.File], None]:
    return lambda own: own.attrs.__setitem__(name, value)


WRONG: dict[str, Callable[[h5py.File], None]] = {
    "wavelengths_m ... 0.1": replaced("wavelengths_m", np.array([0.1])),
    "wavelengths_m ... -1.0": replaced("wavelengths_m", np.array([0.1, -1.0, 0.2])),
    "wavelengths_m ... nan": replaced("wavelengths_m", np.array([0.1, np.nan, 0.2])),
    "wavelengths_m ... [band] ... (1, 3)": replaced("wavelengths_m", np.array([WAVELENGTHS])),
    "wavelengths_m": without("wavelengths_m"),
    "bands/3/snapshots ... band 3": replaced("wavelengths_m", np.array([*WAVELENGTHS, 0.12])),
    "band 1: attribute wavelength_m ... 100": replaced("wavelengths_m", np.array([0.09, 100.0, 0.112])),
    "bands/1/snapshots": without("bands/1"),
    "band 1: snapshots ... (1, 3, 6)": replaced("bands/1/snapshots", np.ones((3, 6), np.complex64)),
    "band 1: snapshots ... float64": replaced("bands/1/snapshots", np.ones((3, 6, 5))),
    "band 2: channel ... (1, 8, 5)": replaced("bands/2/channel", np.ones((1, 8, 5), np.complex64)),
    "band 2: noise_power ... (2,)": replaced("bands/2/noise_power", np.ones(2)),
    "bands ... scenes ... 3 ... band 1 ... 2": replaced("bands/1/snapshots", np.ones((2, 6, 5), complex)),
    "bands ... noise_power ... True ... band 1 ... False": without("bands/1/noise_power"),
    "bands ... noise = antennas": stated("noise", "antennas"),
    "source_model ... mixed": stated("source_model", "mixed"),
    "bands/3 ... 0 to 2 ... got 3": lambda own: own.copy("bands/1", own["bands"], "3"),
    "attribute wavelength_m ... wavelengths_m": lambda own: own.attrs.__setitem__("wavelength_m", 0.1),
}


@pytest.mark.parametrize("parts", WRONG)
def test_what_breaks_the_format_is_refused_by_name(tmp_path: Path, parts: str) -> None:
    file = tmp_path / "bands.h5"
    risolve.write_measurements(file, in_bands())
    with h5py.File(file, "a") as own:
        if "antennas" in parts:
            for number in range(3):
                del own[f"bands/{number}/noise_power"]
        if "scenes" in parts:
            del own["bands/1/noise_power"]
            own["bands/1/noise_power"] = np.ones(2)
        WRONG[parts](own)
    with opened(file, "") as reader, pytest.raises(MeasurementError, match=shows(f"{file} ... {parts}")):
        BandedStream(reader)


def test_a_scene_that_lacks_a_band_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "bands.h5"
    risolve.write_measurements(file, in_bands(n_scenes=4))
    with h5py.File(file, "a") as own:
        own["bands/1/snapshots"][1, 2] = np.nan
        own["bands/2/snapshots"][2] *= 1e40
        own["bands/2/noise_power"][3] = 1e-20
    with any_stream(file, first_looks([file])) as stream:
        chunk = stream.read(range(4))
    assert chunk.scenes == (0,)
    assert chunk.left_out[1].startswith("band 1: snapshots")
    assert chunk.left_out[2].startswith("band 2: ")
    assert "1e+12" in chunk.left_out[3]
    with pytest.raises(MeasurementError, match=shows("scene 1 ... band 1")):
        risolve.read_measurements(file)


def test_one_wavelength_for_all_and_other_commands_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bands.h5"
    held = in_bands()
    risolve.write_measurements(file, held)
    with (
        pytest.raises(MeasurementError, match=shows("wavelengths_m ... frequency-hz")),
        any_stream(file, first_looks([file], Naming(frequency_hz=3e9))),
    ):
        pass
    assert command(monkeypatch, "finetune", str(file), "--out", str(tmp_path / "tuned.pt")) == 2
    capsys.readouterr()
    with pytest.raises(MeasurementError, match=shows("version ... 1 ... 2")), opened(file, "") as reader:
        stream_of(reader, None)
    with pytest.raises(ValueError, match=shows("3")):
        risolve.write_measurements(tmp_path / "together.h5", risolve.bands(held))
    assert not (tmp_path / "together.h5").exists()


def test_convert_writes_bands_in_either_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "bands.h5", tmp_path / "again.npz"
    risolve.write_measurements(first, in_bands())
    assert command(monkeypatch, "convert", str(first), str(second)) == 0
    one, other = (risolve.read_measurements(file) for file in (first, second))
    np.testing.assert_array_equal(one.snapshots, other.snapshots)
    np.testing.assert_array_equal(one.channel, other.channel)


RATE, SPEED, WINDOW = 8000.0, 343.0, 256
TONES = (1500.0, 1750.0, 2100.0)


def recorded_sound(folder: Path) -> list[str]:
    """Tones of three frequencies from 30 degrees, at four microphones 15 cm apart, and the options."""
    random = np.random.default_rng(4)
    places = 0.15 * np.outer(np.arange(4) - 1.5, [1.0, 0.0, 0.0])
    time = np.arange(int(RATE)) / RATE
    delays = -places[:, 0] * np.sin(np.deg2rad(30.0)) / SPEED
    sound = sum(np.cos(2.0 * np.pi * tone * (time[:, None] - delays) + tone) for tone in TONES)
    sound = sound + 0.1 * random.standard_normal(sound.shape)
    scipy.io.wavfile.write(folder / "sound.wav", int(RATE), sound.astype(np.float32))
    np.savetxt(folder / "places.txt", places)
    return [
        *("--speed", str(SPEED), "--positions", str(folder / "places.txt"), "--window", str(WINDOW)),
        *("--frequency-hz", ",".join(f"{tone:g}" for tone in TONES)),
    ]


def test_frequencies_of_recorded_sound_are_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each alone 15 cm are more than half a wavelength, and another direction answers alike."""
    said = recorded_sound(tmp_path)
    out = tmp_path / "sound.h5"
    assert command(monkeypatch, "convert", str(tmp_path / "sound.wav"), str(out), *said) == 0
    seen = risolve.read_measurements(out)
    assert (seen.array.n_bands, seen.n_snapshots) == (3, 3 * int(RATE / WINDOW))
    found = risolve.locate(seen, sources=1, elevation=0, range=np.inf)
    assert abs(found["azimuth_deg"][0] - 30.0) < 0.5
    assert not found["log_likelihood"][0] - found["rival_log_likelihood"][0] < 7.0


@pytest.mark.parametrize(
    ("frequencies", "parts"),
    [("1500,1590", "--frequency-hz ... 93.75 ... 90"), ("1500,-1", "--frequency-hz ... -1")],
)
def test_frequencies_that_a_window_does_not_tell_apart_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    frequencies: str,
    parts: str,
) -> None:
    said = [*recorded_sound(tmp_path)[:-1], frequencies]
    assert command(monkeypatch, "convert", str(tmp_path / "sound.wav"), str(tmp_path / "o.h5"), *said) == 2
    assert re.search(shows(parts), capsys.readouterr().err)


def test_frequencies_of_what_is_no_sound_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.h5"
    risolve.write_measurements(file, in_bands()[0])
    assert command(monkeypatch, "localize", str(file), "--frequency-hz", "1e9,2e9") == 2
    assert re.search(shows("--frequency-hz ... 2"), capsys.readouterr().err)
