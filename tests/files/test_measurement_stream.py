"""Files of any array: what is read, scene by scene, and the one line that says what is wrong."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from risolve.errors import MeasurementError
from risolve.files.measurement_stream import measurement_stream
from risolve.physics.geometry import nearest_spacing
from tests.matlab_files import as_matlab, as_matlab_hdf5
from tests.measurement_files import (
    Change,
    as_npz,
    at,
    attribute,
    changed,
    in_turn,
    spread_scenes,
    with_values,
    without,
    worlds,
    write_user_file,
)
from tests.messages import shows

Stored = Callable[[Path], Path]


FORMATS: dict[str, Stored] = {
    "h5": lambda path: path,
    "npz": as_npz,
    "MATLAB 5": as_matlab,
    "MATLAB 7.3": as_matlab_hdf5,
}


@pytest.fixture(params=FORMATS)
def stored(request: pytest.FixtureRequest) -> Stored:
    """A file in one of the formats, of the content of an HDF5 file."""
    return FORMATS[request.param]


def test_positions_that_may_be_in_wavelengths_are_remarked(tmp_path: Path) -> None:
    """Neighbours half a metre and 5 / 3 wavelengths apart."""
    path = write_user_file(tmp_path / "user.h5", worlds()["no surface"])
    with h5py.File(path, "r+") as file:
        apart = nearest_spacing(torch.from_numpy(file["element_positions_m"][:]))
        file["element_positions_m"][...] *= 0.5 / apart
        file.attrs["wavelength_m"] = 0.3
    with measurement_stream(path, None) as stream:
        assert any("1.67" in line and "--positions-in wavelengths" in line for line in stream.warnings)


@pytest.mark.parametrize(
    "name", ["another array", "one channel and one code set", "constant sources", "no surface"]
)
def test_reads_what_was_written_in_chunks_of_any_size(tmp_path: Path, name: str, stored: Stored) -> None:
    scenes = worlds()[name]
    path = write_user_file(tmp_path / "user.h5", scenes)
    with measurement_stream(stored(path), None) as stream:
        assert stream.warnings == []
        n_scenes, n_snapshots, n_antennas = scenes.observation.snapshots.shape
        assert stream.sizes == (n_scenes, n_snapshots, n_antennas, scenes.observation.n_elements)
        chunks = [stream.chunk(first, min(first + 2, n_scenes)) for first in range(0, n_scenes, 2)]
        parts = [chunk.observation for chunk in chunks if chunk.observation is not None]
        truth = stream.truth()
    assert [scene for chunk in chunks for scene in chunk.scenes] == list(range(n_scenes))
    assert torch.equal(torch.cat([part.snapshots for part in parts]), scenes.observation.snapshots)
    shared = scenes.observation.channel.shape[0] == 1
    channel = parts[0].channel if shared else torch.cat([part.channel for part in parts])
    assert torch.equal(channel, scenes.observation.channel)
    assert parts[0].source_model == scenes.observation.source_model
    assert truth is not None
    np.testing.assert_allclose(truth.sources[:, :2], scenes.sources[:, :2].numpy(), rtol=1e-12)


def test_double_precision_and_whole_numbers_are_taken(tmp_path: Path, stored: Stored) -> None:
    scenes = spread_scenes()
    path = changed(
        write_user_file(tmp_path / "user.h5", scenes),
        *(with_values(name, lambda v: v.astype(np.complex128)) for name in ("snapshots", "channel", "codes")),
        with_values("element_positions_m", lambda v: v.astype(np.float32)),
        with_values("noise_power", lambda v: v.astype(np.float32)),
        with_values("truth/n_sources", lambda v: v.astype(np.int64)),
        with_values("truth/range_m", lambda v: v.astype(np.float32)),
    )
    with measurement_stream(stored(path), None) as stream:
        observation = stream.chunk(0, 4).observation
        assert stream.truth() is not None
    assert observation is not None
    assert torch.equal(observation.snapshots, scenes.observation.snapshots)


def test_noise_power_source_model_and_truth_are_optional(tmp_path: Path, stored: Stored) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(), truth=False, noise_power=False)
    with h5py.File(path, "r+") as file:
        del file.attrs["source_model"]
    with measurement_stream(stored(path), None) as stream:
        observation = stream.chunk(0, 4).observation
        assert (stream.source_model, stream.truth()) == ("independent", None)
    assert observation is not None
    assert observation.noise_power is None


def pair(values: np.ndarray, names: tuple[str, str]) -> np.ndarray:
    """Complex numbers as compounds of two parts."""
    return np.stack((values.real, values.imag), -1).view([(name, "f4") for name in names])[..., 0]


FORMS: dict[str, Change] = {
    "a last axis of two": with_values("codes", lambda v: np.stack((v.real, v.imag), -1)),
    "one noise power": with_values("noise_power", lambda v: v[:1].reshape(())),
    "an array of one noise power": with_values("noise_power", lambda v: v[:1]),
    "a matrix of one noise power": with_values("noise_power", lambda v: v[:1, None]),
    "a row of noise powers": with_values("noise_power", lambda v: v[None]),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_meant_in_one_way_alone_is_taken_so(tmp_path: Path, form: str, stored: Stored) -> None:
    scenes = spread_scenes()
    path = changed(write_user_file(tmp_path / "user.h5", scenes), FORMS[form])
    with measurement_stream(stored(path), None) as stream:
        seen = stream.chunk(0, 4).observation
    assert seen is not None and seen.noise_power is not None
    for name in ("snapshots", "channel", "codes"):
        assert torch.equal(getattr(seen, name), getattr(scenes.observation, name)), name
    power = scenes.observation.noise_power
    assert power is not None
    assert torch.equal(seen.noise_power, power[:1].expand(4) if "one" in form else power)


@pytest.mark.parametrize("names", [("real", "imag"), ("re", "im"), ("x", "y")])
@pytest.mark.parametrize("form", ["h5", "npz"])
def test_compounds_of_two_parts_are_complex_by_their_names(
    tmp_path: Path, names: tuple[str, str], form: str
) -> None:
    scenes = spread_scenes()
    change = with_values("codes", lambda v: pair(v, names))
    path = FORMATS[form](changed(write_user_file(tmp_path / "user.h5", scenes), change))
    if names == ("x", "y"):
        law = f"{path}: codes: complex64 (or complex128), got ... ('x', '<f4'), ('y', '<f4') ... x, y"
        with pytest.raises(MeasurementError, match=shows(law)), measurement_stream(path, None):
            pass
        return
    with measurement_stream(path, None) as stream:
        seen = stream.chunk(0, 4).observation
    assert seen is not None
    assert torch.equal(seen.codes, scenes.observation.codes)


@pytest.mark.parametrize("name", ["snapshots", "channel", "codes"])
def test_one_scene_may_lack_its_axis(tmp_path: Path, name: str, stored: Stored) -> None:
    scenes = spread_scenes(1)
    path = changed(write_user_file(tmp_path / "user.h5", scenes), with_values(name, lambda v: v[0]))
    with measurement_stream(stored(path), None) as stream:
        seen = stream.chunk(0, 1).observation
    assert seen is not None
    assert torch.equal(getattr(seen, name), getattr(scenes.observation, name))


BAD_SCENES: dict[str, tuple[Change, str]] = {
    "zeros": (at("snapshots", 2, 0.0), "snapshots: all zero"),
    "NaN": (at("snapshots", (2, 3, 1), np.nan), "snapshots: 1 of 54 numbers are not finite"),
    "infinite channel": (at("channel", (2, 0), np.inf), "channel: 40 of 240 numbers are not finite"),
    "no channel": (at("channel", 2, 0.0), "channel: all zero"),
    "no noise": (at("noise_power", 2, 0.0), "noise_power: positive and finite, got 0"),
    "decibels": (at("noise_power", 2, -90.0), "noise_power: positive and finite, got -90: decibels?"),
    "amplifying codes": (
        with_values("codes", lambda v: v.astype(np.complex128) * np.array([1, 1, 1e39, 1])[:, None, None]),
        "codes: |c| about 1, or less where elements lose power, got 2^130",
    ),
    "no power beside the noise": (
        with_values(
            "snapshots", lambda v: v.astype(np.complex128) * np.array([1, 1, 1e-160, 1])[:, None, None]
        ),
        "noise_power: nothing beside |snapshots|^2, or all",
    ),
}


@pytest.mark.parametrize("case", BAD_SCENES)
def test_a_bad_scene_is_left_out_with_a_reason(tmp_path: Path, case: str, stored: Stored) -> None:
    change, reason = BAD_SCENES[case]
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes()), change)
    with measurement_stream(stored(path), None) as stream:
        chunk = stream.chunk(0, 4)
        assert stream.chunk(2, 3).observation is None
    assert chunk.scenes == (0, 1, 3)
    assert chunk.left_out == {2: reason}


WRONG: dict[str, tuple[Change, str]] = {
    "no channel": (without("channel"), "channel: missing; ... codes (4, 9, 40), element_positions_m (40, 3)"),
    "antennas before snapshots": (
        with_values("snapshots", lambda v: v.swapaxes(1, 2)),
        "snapshots: [scene, snapshot, antenna] ... (4, 6, 9): ... swapped ... [scene, antenna, snapshot]",
    ),
    "the channel the other way": (
        with_values("channel", lambda v: v.swapaxes(1, 2)),
        "channel: [scene or 1, antenna, element] ... (4, 40, 6): ... antenna ... element ... swapped",
    ),
    "the codes the other way": (
        with_values("codes", lambda v: v.swapaxes(1, 2)),
        "codes: [scene or 1, snapshot, element] ... (4, 40, 9): ... snapshot ... element ... swapped",
    ),
    "columns first": (
        with_values("codes", lambda v: v.transpose(2, 1, 0)),
        "codes: [scene or 1, snapshot, element] ... (40, 9, 4): ... scene ... element ... swapped",
    ),
    "all columns first": (
        in_turn(
            *(
                with_values(name, lambda v: v.transpose())
                for name in ("snapshots", "channel", "codes", "element_positions_m")
            )
        ),
        "snapshots: [scene, snapshot, antenna] ... (6, 9, 4): ... swapped ... [antenna, snapshot, scene]; "
        "... channel, codes, element_positions_m",
    ),
    "positions the other way": (
        with_values("element_positions_m", lambda v: v.T),
        "element_positions_m: [element, 3] ... (3, 40): ... element and 3 ... swapped",
    ),
    "a code too few": (
        with_values("codes", lambda v: v[:, 1:]),
        "codes: [scene or 1, snapshot, element] = (4 or 1, 9, 40) ... (4, 9, 6), channel (4, 6, 40)",
    ),
    "channels of two scenes": (
        with_values("channel", lambda v: v[:2]),
        "channel: [scene or 1, antenna, element] = (4 or 1, 6, 40)",
    ),
    "nothing agrees": (
        in_turn(with_values("codes", lambda v: v[:, 1:, 2:]), with_values("channel", lambda v: v[:, 1:, 3:])),
        "snapshots: ... snapshots, antennas ... elements ... got snapshots",
    ),
    "real snapshots": (
        with_values("snapshots", lambda v: v.real),
        "snapshots: complex64 (or complex128), got float32: ... imaginary",
    ),
    "complex positions": (
        with_values("element_positions_m", lambda v: v + 0j),
        "element_positions_m: ... (float64), got complex128",
    ),
    "text": (with_values("codes", lambda v: "random"), "codes: complex64 (or complex128), got "),
    "no snapshot": (
        with_values("snapshots", lambda v: v[:, :0]),
        "snapshots: ... snapshot, got (4, 0, 6)",
    ),
    "no scene": (with_values("snapshots", lambda v: v[:0]), "snapshots: ... scene, got (0, 9, 6)"),
    "NaN positions": (
        at("element_positions_m", (3, 0), np.nan),
        "element_positions_m: ... finite; 1 of 120 ... (3, 0)",
    ),
    "elements at one place": (
        with_values("element_positions_m", lambda v: v[[1, *range(1, 40)]]),
        "element_positions_m: ... 39 places ... 40 elements",
    ),
    "no wavelength": (lambda file: file.attrs.__delitem__("wavelength_m"), "attribute wavelength_m: missing"),
    "a negative wavelength": (attribute("wavelength_m", -0.3), "attribute wavelength_m: ... got -0.3"),
    "millimetres": (
        attribute("wavelength_m", 300.0),
        "attribute wavelength_m: ... 0.05 to 5 ... wavelength_m = 300 ... 0.15 m ... millimetres?",
    ),
    "centimetres": (attribute("wavelength_m", 20.0), "attribute wavelength_m: ... 0.05 to 5 ... 20"),
    "equal gains of independent sources": (attribute("gains", "equal"), "gains = equal: ... independent"),
    "hertz": (attribute("wavelength_m", 1e9), "attribute wavelength_m: ... 0.05 to 5 ... 1e+09"),
    "positions in millimetres": (
        with_values("element_positions_m", lambda v: 1000.0 * v),
        "attribute wavelength_m: ... 0.05 to 5 ... wavelength_m = 0.3 ... 150 m ... element_positions_m",
    ),
    "another format": (
        attribute("format", "photographs"),
        "attribute format: 'risolve-measurements' ... 'photographs'",
    ),
    "another version": (attribute("version", 2), "attribute version: 1 ... got 2"),
    "an unknown source model": (
        attribute("source_model", "moving"),
        "attribute source_model: 'independent' ... 'constant' ... 'moving'",
    ),
    "too few noise powers": (
        with_values("noise_power", lambda v: v[:3]),
        "noise_power: ... [scene ... 4 ... 3",
    ),
    "half a truth": (without("truth/range_m"), "truth/range_m: missing"),
    "a truth of other scenes": (
        with_values("truth/n_sources", lambda v: v[:3]),
        "truth/n_sources: ... [scene] ... scene = 4 ... (3,)",
    ),
    "sources counted in halves": (
        with_values("truth/n_sources", lambda v: v / 4),
        "truth/n_sources: ... [scene] ... 0.5",
    ),
    "a truth without a place": (
        at("truth/azimuth_deg", (1, 1), np.nan),
        "truth/azimuth_deg: -180 to 180 ... n_sources ... got nan ... scene 1, slot 1",
    ),
    "a true range of 0": (
        at("truth/range_m", (0, 0), 0.0),
        "truth/range_m: 1e-09 to inf ... n_sources ... got 0 ... scene 0, slot 0",
    ),
    "more sources than slots": (
        at("truth/n_sources", 2, 6),
        "truth/n_sources: 0 to 5 ... truth/range_m",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_named_in_one_line(tmp_path: Path, case: str, stored: Stored) -> None:
    change, message = WRONG[case]
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes()), change)
    with pytest.raises(MeasurementError) as caught, measurement_stream(stored(path), None) as stream:
        stream.truth()
    assert re.match(shows(f"{stored(path)}: {message}"), str(caught.value))
    assert "\n" not in str(caught.value)


def test_units_that_would_fit_are_offered(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    frequency = "hertz? lambda = c / f = 0.2998 m"
    for value, unit in (
        (20.0, "centimetres?"),
        (1e9, frequency),
        (1e3, f"mega{frequency}"),
        (3e5, "a frequency in megahertz?"),
    ):
        changed(path, attribute("wavelength_m", value))
        with pytest.raises(MeasurementError) as caught, measurement_stream(path, None):
            pass
        assert str(caught.value).endswith(f"0.15 m apart: {unit}")


@pytest.mark.parametrize(("content", "law"), [(b"", "HDF5"), (b"text" * 99, "HDF5")])
def test_other_files_are_named(tmp_path: Path, content: bytes, law: str) -> None:
    path = tmp_path / "user.h5"
    path.write_bytes(content)
    with pytest.raises(MeasurementError, match=shows(f"user.h5: ... {law}")), measurement_stream(path, None):
        pass
    with (
        pytest.raises(MeasurementError, match=shows("gone.h5: ")),
        measurement_stream(tmp_path / "gone.h5", None),
    ):
        pass


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(MeasurementError, match=shows("user.h5: truncated")), measurement_stream(path, None):
        pass


def test_codes_that_lose_power_are_a_warning(tmp_path: Path, stored: Stored) -> None:
    path = changed(
        write_user_file(tmp_path / "user.h5", spread_scenes()), with_values("codes", lambda v: 0.8 * v)
    )
    with measurement_stream(stored(path), None) as stream:
        warnings = stream.warnings
    assert len(warnings) == 1
    assert re.match(shows(f"{stored(path)}: codes: |c| ... 0.8 to 0.8"), warnings[0])


def test_an_array_beside_the_origin_is_a_warning(tmp_path: Path) -> None:
    path = changed(
        write_user_file(tmp_path / "user.h5", spread_scenes()),
        with_values("element_positions_m", lambda v: v + np.array([0.3, 0.525, 0.0])),
    )
    with measurement_stream(path, None) as stream:
        warnings = stream.warnings
    assert len(warnings) == 1
    assert "(0.3, 0.525, 0) m" in warnings[0]


def test_a_bad_channel_of_all_scenes_is_a_wrong_file(tmp_path: Path, stored: Stored) -> None:
    scenes = worlds()["one channel and one code set"]
    path = changed(write_user_file(tmp_path / "user.h5", scenes), at("channel", (0, 0, 0), np.nan))
    with (
        pytest.raises(MeasurementError, match=shows("channel: ... finite")),
        measurement_stream(stored(path), None),
    ):
        pass
    changed(path, at("channel", 0, 0.0))
    with (
        pytest.raises(MeasurementError, match=shows("channel: ... zero")),
        measurement_stream(stored(path), None),
    ):
        pass


def test_chunks_are_bounded_in_memory(tmp_path: Path) -> None:
    scenes = spread_scenes(2)
    path = write_user_file(tmp_path / "user.h5", replace(scenes))
    with measurement_stream(path, None) as stream:
        assert stream.chunk_size == 64
        stream.sizes = stream.sizes._replace(elements=4096, antennas=256)
        assert stream.chunk_size == 1
