"""SigMF recordings and sound of microphones: the source that was recorded, and one line for what is wrong."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io.wavfile

import risolve
from risolve.convert import convert_files
from risolve.errors import MeasurementError
from risolve.files.contents import Look
from risolve.files.extents import stamp_of_path
from risolve.files.measurement_stream import measurement_stream
from risolve.files.naming import LIGHT, Naming
from risolve.files.reader import opened
from risolve.localize import localization_key
from risolve.words.inspection import inspect_lines
from tests.localization import OPTIONS
from tests.messages import shows
from tests.recordings import elements, geometry, paths, write_sigmf, write_wav

PLACE = (20.0, -10.0, 1.5)
WAVELENGTH = LIGHT / 1e9
POSITIONS = elements(4, WAVELENGTH / 2)


def baseband(n_samples: int = 40) -> np.ndarray:
    """Samples [sample, channel] of one source, in counts of eight bits."""
    random = np.random.default_rng(4)
    sent, noise = random.standard_normal((2, n_samples, 16, 2)) @ [1, 1j]
    wave = np.exp(-2j * np.pi / WAVELENGTH * paths(POSITIONS, *PLACE))
    received: np.ndarray = 20.0 * sent[:, :1] * wave + noise
    return received


def convert(out: Path, *files: Path, **naming: Any) -> Path:
    remarks: list[str] = []
    convert_files(files, out, Naming(**naming), remarks.append)
    return out


def refusal(path: Path, **naming: Any) -> str:
    """What `localize` says of a recording."""
    look = {path: Look(stamp_of_path(path), {}, Naming(**naming))}
    with pytest.raises(MeasurementError) as caught, measurement_stream(path, look) as stream:
        stream.chunk(0, 1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


CAPTURE = {"core:sample_start": 0, "core:frequency": 1e9, "spatial:element_geometry": geometry(POSITIONS)}


@pytest.mark.parametrize(
    "datatype", ["cf32_le", "cf32_be", "cf64_le", "ci16_le", "ci16_be", "ci32_le", "ci8", "cu8"]
)
def test_a_source_is_found_in_samples_of_any_type(tmp_path: Path, datatype: str) -> None:
    path = write_sigmf(tmp_path / "rec.sigmf-meta", baseband(), datatype, captures=[CAPTURE])
    with measurement_stream(path, None) as stream:
        snapshots = stream.chunk(0, 1).observation
    assert snapshots is not None
    located = risolve.locate(snapshots, sources=1, range=(0.5, 10)).to_pandas().iloc[0]
    assert located.azimuth_deg == pytest.approx(20.0, abs=1.0)
    assert located.elevation_deg == pytest.approx(-10.0, abs=1.0)
    worst = np.abs(snapshots.snapshots.numpy()[0] - baseband()).max()
    assert worst <= (0.71 if datatype[1] in "iu" else 1e-4)


def test_snapshots_are_chosen(tmp_path: Path) -> None:
    path = write_sigmf(tmp_path / "rec.sigmf-meta", baseband(), "cf64_le", captures=[CAPTURE])
    out = convert(tmp_path / "out.h5", path, n_snapshots=7, first=11)
    np.testing.assert_array_equal(
        risolve.read_measurements(out).snapshots.numpy()[0], baseband()[11:18].astype(np.complex64)
    )
    assert re.search(
        shows("samples: --from 30 --snapshots 11: ... 40 ... 10"),
        refusal(path, n_snapshots=11, first=30),
    )
    assert re.search(shows("samples: --from 50 ... 40"), refusal(path, first=50))


def test_one_file_a_channel(tmp_path: Path) -> None:
    """Channels out of phase by what the spatial extension states, in the order in which files are named."""
    received, files = baseband(), []
    for channel in range(16):
        capture = CAPTURE | {"spatial:phase_offset": 30.0 * channel}
        turned = received[:, channel : channel + 1] * np.exp(1j * np.radians(30.0 * channel))
        extension = {"spatial:num_elements": 16, "spatial:channel_index": channel}
        path = tmp_path / f"rec-{channel:02d}.sigmf-meta"
        files.append(write_sigmf(path, turned, "cf64_le", captures=[capture], **extension))
    out = convert(tmp_path / "out.h5", *files)
    observation = risolve.read_measurements(out)
    np.testing.assert_allclose(observation.snapshots.numpy()[0], received, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(observation.array.elements.numpy(), POSITIONS, atol=1e-12)


def test_receivers_by_their_geolocation(tmp_path: Path) -> None:
    """1e-6 degrees are 0.1113 m to the north, as much times the cosine of the latitude to the east."""
    files = []
    for number, (east, north) in enumerate([(0, 0), (2, 0), (0, 2)]):
        place = {"type": "Point", "coordinates": [11.0 + 1e-6 * east, 60.0 + 1e-6 * north, 100.0]}
        path = tmp_path / f"{number}.sigmf-meta"
        files.append(write_sigmf(path, baseband()[:, :1], "cf32_le", **{"core:geolocation": place}))
    positions = risolve.read_measurements(convert(tmp_path / "out.h5", *files)).array.elements.numpy()
    np.testing.assert_allclose(positions.mean(0), 0.0, atol=1e-9)
    np.testing.assert_allclose(positions[1] - positions[0], [0.1116, 0.0, 0.0], atol=2e-4)
    np.testing.assert_allclose(positions[2] - positions[0], [0.0, 0.0, 0.2228], atol=2e-4)


def test_recordings_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    one = write_sigmf(tmp_path / "one.sigmf-meta", baseband()[:, :8], "cf32_le")
    for changes, law in (
        ({"samples": baseband(39)[:, 8:]}, "other.sigmf-meta: samples: ... 39 ... 40"),
        ({"core:sample_rate": 2e6}, "attribute sample_rate_hz: ... 2000000.0 ... 1000000.0"),
        (
            {"captures": [{"core:frequency": 2e9}]},
            "attribute frequency_hz: ... 2000000000.0 ... 1000000000.0",
        ),
    ):
        samples = changes.pop("samples", baseband()[:, 8:])
        other = write_sigmf(tmp_path / "other.sigmf-meta", samples, "cf32_le", **changes)
        with pytest.raises(MeasurementError, match=shows(law)):
            convert(tmp_path / "out.h5", one, other)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another type": ({"core:datatype": "cf16_le"}, "samples: core:datatype ... 'cf16_le'"),
    "no type": ({"core:datatype": None}, "samples: core:datatype ... 'None'"),
    "channels": ({"core:num_channels": -3}, "samples: core:num_channels ... 4096, got -3"),
    "half a sample": ({"core:num_channels": 7}, "samples: rec.sigmf-data: ... 7 cf32_le, got 5120"),
    "elsewhere": ({"core:dataset": "../other.bin"}, "samples: ... core:dataset"),
    "a header": ({"captures": [{"core:header_bytes": 64}]}, "samples: ... core:header_bytes"),
    "two frequencies": (
        {"captures": [CAPTURE, CAPTURE | {"core:frequency": 2e9}]},
        "attribute frequency_hz: ... got 1e+09 to 2e+09",
    ),
    "two offsets": (
        {"captures": [CAPTURE | {"spatial:phase_offset": value} for value in (1.0, 2.0)]},
        "samples: ... spatial:phase_offset ... [1.0, 2.0]",
    ),
    "no positions": (
        {"captures": [{"core:frequency": 1e9}]},
        "element_positions_m: missing; ... `--positions FILE`",
    ),
    "no place": ({"core:geolocation": [1, 2]}, "samples: core:geolocation ... [1, 2]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_recording_is_one_line(tmp_path: Path, case: str) -> None:
    changes, law = WRONG[case]
    path = write_sigmf(tmp_path / "rec.sigmf-meta", baseband(20)[:, :16], "cf32_le", captures=[CAPTURE])
    stated = json.loads(path.read_text("utf-8"))
    captures = changes.get("captures", stated["captures"])
    stated["global"] |= {name: value for name, value in changes.items() if name != "captures"}
    path.write_text(json.dumps(stated | {"captures": captures}), "utf-8")
    if case != "half a sample":
        write_sigmf(tmp_path / "data.sigmf-meta", baseband(), "cf32_le")
        (tmp_path / "data.sigmf-data").rename(tmp_path / "rec.sigmf-data")
    else:
        (tmp_path / "rec.sigmf-data").write_bytes(bytes(5120))
    assert re.search(shows(law), refusal(path))


def test_other_samples_are_other_work(tmp_path: Path) -> None:
    path = write_sigmf(tmp_path / "rec.sigmf-meta", baseband(), "cf32_le", captures=[CAPTURE])
    first = localization_key([path], OPTIONS)
    assert localization_key([path], OPTIONS) == first
    write_sigmf(path, 2 * baseband(), "cf32_le", captures=[CAPTURE])
    assert localization_key([path], OPTIONS) != first


def test_samples_that_are_gone_are_named(tmp_path: Path) -> None:
    path = write_sigmf(tmp_path / "rec.sigmf-meta", baseband(), "cf32_le")
    path.with_suffix(".sigmf-data").unlink()
    assert re.search(shows("rec.sigmf-meta: samples: ... rec.sigmf-data"), refusal(path))
    for text in ("[" * 100_000, "{", '{"global": 1}', '{"global": {}, "captures": 3}'):
        path.write_text(text, "utf-8")
        assert str(path) in refusal(path)


RATE, TONE, SPEED = 16_000, 1234.5, 343.0
MICROPHONES = elements(3, 0.1)


def sound(n_samples: int = 8000) -> np.ndarray:
    """A tone of changing phase at 1234.5 Hz, between two bins of any window, as nine microphones hear it."""
    random = np.random.default_rng(8)
    delays = paths(MICROPHONES, 25.0, 5.0, 0.8) / SPEED
    time = np.arange(n_samples)[:, None] / RATE
    tone = 0.3 * np.cos(2 * np.pi * TONE * (time - delays) + 0.4)
    heard: np.ndarray = tone + 0.01 * random.standard_normal((n_samples, 9))
    return heard


HEARD = {
    "frequency_hz": TONE,
    "speed": SPEED,
    "positions": tuple(map(tuple, MICROPHONES.tolist())),
    "window": 512,
}


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 4])
def test_a_source_is_heard(tmp_path: Path, n_bytes: int) -> None:
    path = write_wav(tmp_path / "sound.wav", sound(), RATE, n_bytes)
    out = convert(tmp_path / "out.npz", path, **HEARD)
    observation = risolve.read_measurements(out)
    assert observation.n_snapshots == 8000 // 512
    located = risolve.locate(observation, sources=1, range=(0.3, 5)).to_pandas().iloc[0]
    assert located.azimuth_deg == pytest.approx(25.0, abs=0.5)
    assert located.elevation_deg == pytest.approx(5.0, abs=0.5)
    assert located.range_m == pytest.approx(0.8, rel=0.1)


def test_the_amplitude_of_a_tone_is_kept(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "sound.wav", sound(), RATE, 4)
    out = convert(tmp_path / "out.h5", path, **HEARD)
    amplitude = np.abs(risolve.read_measurements(out).snapshots.numpy()) / 2**31
    np.testing.assert_allclose(amplitude, 0.3, rtol=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_samples_are_those_of_another_reader(tmp_path: Path, dtype: type, n_channels: int) -> None:
    random = np.random.default_rng(2)
    numbers = (100 * random.random((50, n_channels))).astype(dtype)
    scipy.io.wavfile.write(tmp_path / "sound.wav", RATE, numbers)
    with opened(tmp_path / "sound.wav", "") as reader:
        assert reader.positive("sample_rate_hz") == RATE
        samples = reader.rows("samples", reader.dataset("samples", ""), slice(10, 30))
    zero = 128.0 if dtype is np.uint8 else 0.0
    np.testing.assert_array_equal(samples, numbers[10:30].astype(samples.dtype) - zero)


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"frequency_hz": 9000.0}, "attribute frequency_hz: ... 8000 Hz, got 9000"),
        ({"frequency_hz": None}, "attribute frequency_hz: missing; ... `--frequency-hz F`"),
        ({"window": 9000}, "samples: --from 0 ... 9000 ... 8000"),
        ({"positions": None}, "element_positions_m: missing"),
    ],
)
def test_sound_that_tells_no_snapshots_is_one_line(tmp_path: Path, changes: dict[str, Any], law: str) -> None:
    path = write_wav(tmp_path / "sound.wav", sound(), RATE)
    assert re.search(shows(law), refusal(path, **(HEARD | changes)))


def test_inspect_lists_a_recording_that_lacks_something(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "sound.wav", sound(), RATE)
    lines, fault = inspect_lines(path)
    assert "attribute sample_rate_hz = 16000.0" in lines
    assert any(re.match(r"samples +float32 +\(8000, 9\)", line) for line in lines)
    assert fault is not None and fault.startswith(f"{path}: attribute frequency_hz: missing")
    lines, fault = inspect_lines(path, Naming(**HEARD))
    assert fault is None
    assert "1 scenes of 15 snapshots at 9 antennas, no surface" in lines


def test_a_damaged_sound_is_one_line(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "sound.wav", sound(100), RATE)
    content = path.read_bytes()
    for damaged, law in (
        (content[:-1], f"b'data' ... 1800 ... {len(content) - 1}"),
        (content.replace(b"data", b"dada"), "got 2"),
        (content.replace(b"\x01\x00\x09\x00", b"\x07\x00\x09\x00"), "format 7"),
        (content[:36] + b"fmt " + content[40:], "b'fmt '"),
    ):
        path.write_bytes(damaged)
        assert re.search(shows(law), refusal(path, **HEARD))
