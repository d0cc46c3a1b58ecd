"""MATLAB files of measurements: the numbers of the HDF5 file, forms that MATLAB has, and what is refused."""

import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

import risolve
from benchmarks.fuzz._hdf5_valid import write_matlab_hdf5
from risolve.errors import MeasurementError
from risolve.files.contents import Look
from risolve.files.measurement_stream import first_looks, measurement_stream
from risolve.files.reader import opened
from risolve.words.inspection import inspect_lines
from tests.localization import localized
from tests.matlab_files import as_matlab, as_matlab_hdf5, variables
from tests.measurement_files import spread_scenes, worlds, write_user_file
from tests.messages import shows

Write = Callable[[Path, dict[str, Any]], Path]


def write_matlab(path: Path, held: dict[str, Any]) -> Path:
    scipy.io.savemat(path, held, do_compression=True)
    return path


@pytest.fixture(params=["5", "7.3"])
def write(request: pytest.FixtureRequest) -> Write:
    """Writes variables."""
    return write_matlab if request.param == "5" else write_matlab_hdf5


@pytest.fixture
def held(tmp_path: Path) -> dict[str, Any]:
    """Variables of measurements without format and version."""
    found = variables(write_user_file(tmp_path / "user.h5", spread_scenes(3)))
    return {name: value for name, value in found.items() if name not in ("format", "version")}


def refusal(path: Path, looks: Mapping[Path, Look] | None = None) -> str:
    """What `localize` says of a file, without its name."""
    with pytest.raises(MeasurementError) as caught, measurement_stream(path, looks) as stream:
        stream.truth()
        stream.chunk(0, stream.sizes.scenes)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", list(worlds()))
@pytest.mark.parametrize("make", [as_matlab, as_matlab_hdf5])
def test_the_same_observation_and_truth_as_of_the_hdf5_file(
    tmp_path: Path, name: str, make: Callable[..., Path]
) -> None:
    path = write_user_file(tmp_path / "user.h5", worlds()[name])
    written = make(path)
    with measurement_stream(path, None) as one, measurement_stream(written, None) as other:
        expected, found = (stream.chunk(0, stream.sizes.scenes).observation for stream in (one, other))
        truth, same = one.truth(), other.truth()
    assert expected is not None and found is not None
    for field in ("snapshots", "channel", "codes", "noise_power"):
        assert torch.equal(getattr(found, field), getattr(expected, field)), field
    assert torch.equal(found.array.elements, expected.array.elements)
    assert (found.array.wavelength, found.source_model) == (expected.array.wavelength, expected.source_model)
    assert truth is not None and same is not None
    np.testing.assert_array_equal(same.n_sources, truth.n_sources)
    np.testing.assert_array_equal(same.sources, truth.sources)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(lambda path: as_matlab(path, do_compression=True), id="packed"),
        pytest.param(lambda path: as_matlab(path, long_field_names=True), id="long names"),
        pytest.param(lambda path: as_matlab_hdf5(path, compression="gzip", chunks=True), id="packed, 7.3"),
    ],
)
def test_packed_files_give_the_same_sources(tmp_path: Path, path: Callable[[Path], Path]) -> None:
    user = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    expected, found = localized(user), localized(path(user))
    np.testing.assert_array_equal(found.sources.values, expected.sources.values)


def test_a_file_of_the_other_byte_order(tmp_path: Path) -> None:
    """A vector of four doubles, byte by byte."""

    def element(kind: int, content: bytes) -> bytes:
        return kind.to_bytes(4) + len(content).to_bytes(4) + content + bytes(-len(content) % 8)

    matrix = (
        element(6, (6).to_bytes(4) + bytes(4))
        + element(5, (1).to_bytes(4) + (4).to_bytes(4))
        + element(1, b"P")
        + element(9, np.arange(4.0).astype(">f8").tobytes())
    )
    path = tmp_path / "big.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI" + element(14, matrix))
    np.testing.assert_array_equal(scipy.io.loadmat(path)["P"], [[0.0, 1.0, 2.0, 3.0]])
    with opened(path, "") as reader:
        values = reader.rows("P", reader.dataset("P", ""), ())
    np.testing.assert_array_equal(values, [[0.0, 1.0, 2.0, 3.0]])


def test_forms_of_a_single_scene(tmp_path: Path, held: dict[str, Any], write: Write) -> None:
    """No axis of scenes, numbers 1 x 1, a truth without a group, real codes and channels as they come."""
    random = np.random.default_rng(3)
    one = {
        "snapshots": held["snapshots"][0],
        "channel": random.standard_normal((6, 40)),
        "codes": random.choice([-1.0, 1.0], (9, 40)),
        "element_positions_m": held["element_positions_m"],
        "wavelength_m": 0.3,
        "noise_power": 0.01,
        "truth_n_sources": 2,
        "truth_azimuth_deg": [10.0, 20.0],
        "truth_elevation_deg": [1.0, 2.0],
        "truth_range_m": [3.0, 4.0],
    }
    path = write(tmp_path / "one.mat", one)
    seen = risolve.read_measurements(path)
    np.testing.assert_array_equal(seen.snapshots.numpy()[0], one["snapshots"])
    np.testing.assert_allclose(seen.channel.numpy()[0], one["channel"], rtol=1e-6)
    np.testing.assert_array_equal(seen.codes.numpy()[0], one["codes"])
    assert seen.noise_power is not None and seen.noise_power.tolist() == [0.01]
    with measurement_stream(path, None) as stream:
        truth = stream.truth()
    assert truth is not None and truth.n_sources.tolist() == [2]
    np.testing.assert_allclose(np.rad2deg(truth.sources[0, :, 0]), [10.0, 20.0])


def test_rows_where_columns_are_meant(tmp_path: Path, held: dict[str, Any], write: Write) -> None:
    own = {
        name: np.asarray(held["truth"][name])[:, :1] for name in ("azimuth_deg", "elevation_deg", "range_m")
    }
    held |= {"noise_power": held["noise_power"][None], "truth": {"n_sources": np.ones((1, 3)), **own}}
    with measurement_stream(write(tmp_path / "rows.mat", held), None) as stream:
        truth = stream.truth()
        assert stream.chunk(0, 3).observation is not None
    assert truth is not None and truth.n_sources.tolist() == [1, 1, 1]


def test_an_array_without_a_surface(tmp_path: Path, held: dict[str, Any], write: Write) -> None:
    snapshots = np.random.default_rng(1).standard_normal((3, 9, 40, 2)) @ [1, 1j]
    kept = {name: held[name] for name in ("element_positions_m", "wavelength_m")}
    seen = risolve.read_measurements(write(tmp_path / "bare.mat", kept | {"snapshots": snapshots}))
    assert torch.equal(seen.channel, torch.eye(40, dtype=seen.channel.dtype)[None])
    assert torch.equal(seen.codes, torch.ones((1, 9, 40), dtype=seen.codes.dtype))


def test_a_frequency_in_place_of_the_wavelength(tmp_path: Path, held: dict[str, Any], write: Write) -> None:
    del held["wavelength_m"]
    path = write(tmp_path / "hertz.mat", held | {"frequency_hz": 1e9})
    assert risolve.read_measurements(path).array.wavelength == pytest.approx(0.299792458)


def test_inspect_lists_variables(tmp_path: Path, held: dict[str, Any], write: Write) -> None:
    lines, fault = inspect_lines(write(tmp_path / "user.mat", held))
    assert fault is None
    assert lines[0].endswith(
        "risolve-measurements 1: measurements: coded snapshots with the system behind them"
    )
    assert "attribute wavelength_m = 0.3" in lines
    assert any(re.match(r"truth/range_m +float64 +\(3, 5\)", line) for line in lines)


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"snapshots": None}, "snapshots: missing; ... channel (3, 6, 40), codes (3, 9, 40)"),
        ({"wavelength_m": None}, "attribute wavelength_m: missing"),
        ({"codes": None}, "codes: missing; ... channel (3, 6, 40)"),
        ({"codes": np.full((1, 9, 40), 3.0)}, "codes: ... -1, 0 and 1; got 3 to 3"),
        ({"snapshots": np.ones((3, 9, 6))}, "snapshots: complex64 (or complex128), got float64"),
        ({"snapshots": "text"}, "snapshots: complex64 (or complex128), got <U4"),
        ({"source_model": 2.0}, "attribute source_model: 'independent' ... 'constant' ... 2.0"),
    ],
)
def test_a_wrong_variable_is_named(
    tmp_path: Path, held: dict[str, Any], write: Write, changes: dict[str, Any], law: str
) -> None:
    kept = {name: value for name, value in (held | changes).items() if value is not None}
    assert re.match(shows(law), refusal(write(tmp_path / "user.mat", kept)))


@pytest.mark.parametrize(
    ("value", "law"),
    [
        (np.array([1, "text"], object), "snapshots: numbers, text or one structure, got a cell array"),
        (
            np.array([(1.0,), (2.0,)], [("a", object)]),
            "snapshots: numbers, text or one structure, got a structure array (1, 2)",
        ),
        (
            scipy.sparse.csc_matrix(np.eye(3)),
            "snapshots: numbers, text or one structure, got a sparse matrix",
        ),
        (np.array(["two", "row"]), "snapshots: text in one row, got (2, 3)"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(
    tmp_path: Path, held: dict[str, Any], value: Any, law: str
) -> None:
    path = write_matlab(tmp_path / "user.mat", held | {"snapshots": value})
    assert refusal(path).startswith(law)
    kept = risolve.read_measurements(write_matlab(path, held | {"mine": value}))
    assert kept.n_scenes == 3


def test_references_of_a_file_are_not_followed(tmp_path: Path, held: dict[str, Any]) -> None:
    path = write_matlab_hdf5(tmp_path / "user.mat", held)
    with h5py.File(path, "r+") as file:
        del file["snapshots"]
        cell = file.create_dataset("snapshots", (2, 1), h5py.ref_dtype)
        cell[0, 0] = file["codes"].ref
    assert refusal(path).startswith("snapshots: numbers, text or one structure, got object")
    with h5py.File(path, "r+") as file:
        del file["snapshots"]
        file["snapshots"] = h5py.ExternalLink("other.h5", "snapshots")
    assert refusal(path).startswith("snapshots: an external link")


def test_an_empty_array_of_version_7_3(tmp_path: Path, held: dict[str, Any]) -> None:
    path = write_matlab_hdf5(tmp_path / "user.mat", held)
    with h5py.File(path, "r+") as file:
        del file["snapshots"]
        file["snapshots"] = np.array([0, 9, 6], np.uint64)
        file["snapshots"].attrs["MATLAB_empty"] = np.uint8(1)
    assert re.match(shows("snapshots: ... got float64"), refusal(path))


def packed(content: bytes) -> bytes:
    return (
        b"MATLAB 5.0 MAT-file".ljust(124)
        + b"\0\1IM"
        + (15).to_bytes(4, "little")
        + len(content).to_bytes(4, "little")
        + content
    )


def test_declared_sizes_are_compared_with_the_bytes(tmp_path: Path, held: dict[str, Any]) -> None:
    """A shape of 2^31 letters, of 2^40 numbers and a variable beyond the end of the file."""
    path = tmp_path / "user.mat"
    scipy.io.savemat(path, {"snapshots": np.ones((3, 7))})
    content = path.read_bytes()
    shape = np.array([3, 7], np.int32).tobytes()
    assert content.count(shape) == 1
    path.write_bytes(content.replace(shape, np.array([2**31 - 1, 2**10], np.int32).tobytes()))
    assert re.match(shows(f"snapshots: at most {2**28} bytes, got {8 * 2**10 * (2**31 - 1)}"), refusal(path))
    path.write_bytes(content.replace(shape, np.array([3, 8], np.int32).tobytes()))
    assert re.match(shows("snapshots: f8 (3, 8), got 168 bytes ... 168"), refusal(path, first_looks([path])))
    path.write_bytes(content[:-8])
    assert re.search(shows(f"at byte 128 of {len(content) - 8}"), refusal(path))


def test_packed_sizes_are_compared_with_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "user.mat"
    scipy.io.savemat(path, {"snapshots": np.ones((3, 7))})
    matrix = path.read_bytes()[128:]
    path.write_bytes(packed(zlib.compress(matrix + bytes(2**20))))
    assert re.match(shows("snapshots: ... bytes"), refusal(path, first_looks([path])))
    path.write_bytes(packed(zlib.compress(matrix)[:-2]))
    assert re.match(shows("snapshots: ... bytes"), refusal(path, first_looks([path])))
    declared = matrix[:4] + (2**31).to_bytes(4, "little") + matrix[8:]
    path.write_bytes(packed(zlib.compress(declared)))
    assert re.match(shows(f"{2**31} bytes in"), refusal(path))


@pytest.mark.slow
def test_much_that_is_packed_in_little_is_read(tmp_path: Path, held: dict[str, Any]) -> None:
    """Unpacking takes more time than the bytes of the file say."""
    path = tmp_path / "user.mat"
    scipy.io.savemat(path, held | {"beside": np.zeros(25_000_000)}, do_compression=True)
    assert path.stat().st_size < 300_000
    assert first_looks([path])[path].unread == {}


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, held: dict[str, Any], write: Write, kept: float) -> None:
    path = write(tmp_path / "user.mat", held)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert refusal(path)
