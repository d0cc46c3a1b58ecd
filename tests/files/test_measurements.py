"""Scenes in files: they come back as they went, equal content is equal bytes, wrong files are named."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from risolve.errors import MeasurementError, StateError
from risolve.files.hdf5 import shard_name
from risolve.files.measurements import read_observation, read_scenes, read_truth, write_scenes
from risolve.physics.scenario import Scenes
from tests import tolerances
from tests.messages import shows
from tests.worlds import SMALL, make_scenes


def scene_file(directory: Path, name: str = "scenes.h5") -> Path:
    path = directory / name
    write_scenes(path, make_scenes(SMALL, 2, 10.0, 4))
    return path


def assert_same(found: Scenes, expected: Scenes) -> None:
    for name in ("snapshots", "channel", "codes", "array.elements", "noise_power"):
        value = attrgetter(name)
        assert torch.equal(value(found.observation), value(expected.observation)), name
    assert found.observation.array.wavelength == expected.observation.array.wavelength
    assert found.observation.source_model == expected.observation.source_model
    assert torch.equal(found.n_sources, expected.n_sources)
    assert torch.equal(found.snr_db, expected.snr_db)
    exact = {"rtol": 0.0, "atol": 0.0, "equal_nan": True}
    torch.testing.assert_close(found.power, expected.power, **exact)
    torch.testing.assert_close(found.amplitudes, expected.amplitudes, **exact)
    # angles pass through degrees, ranges through 1 / (1 / r)
    torch.testing.assert_close(
        found.sources, expected.sources, rtol=tolerances.DOUBLE, atol=0.0, equal_nan=True
    )


@pytest.mark.parametrize("source_model", ["independent", "constant"])
@pytest.mark.parametrize("n_sources", [0, 2])
def test_round_trip(tmp_path: Path, source_model: str, n_sources: int) -> None:
    scenes = make_scenes(
        SMALL, n_sources, 10.0, 3, "constant" if source_model == "constant" else "independent"
    )
    write_scenes(tmp_path / "scenes.h5", scenes)
    assert_same(read_scenes(tmp_path / "scenes.h5", False), scenes)


def test_equal_scenes_make_equal_bytes_at_another_time(tmp_path: Path) -> None:
    first = scene_file(tmp_path, "first.h5").read_bytes()
    time.sleep(1.1)
    assert scene_file(tmp_path, "second.h5").read_bytes() == first


def test_data_sets_are_contiguous_and_plain(tmp_path: Path) -> None:
    with h5py.File(scene_file(tmp_path), "r") as file:
        found: list[str] = []

        def check(name: str, node: h5py.Dataset | h5py.Group) -> None:
            if isinstance(node, h5py.Dataset):
                found.append(name)
                assert node.chunks is None, name
                assert node.compression is None, name
                assert node.id.get_offset() is not None, name

        file.visititems(check)
        assert len(found) == 12
        assert dict(file.attrs) == {
            "format": "risolve-measurements",
            "version": 1,
            "wavelength_m": 0.3,
            "source_model": "independent",
        }


def test_shards_are_joined_in_order(tmp_path: Path) -> None:
    scenes = make_scenes(SMALL, 2, 10.0, 12)
    for number in range(3):
        write_scenes(tmp_path / shard_name(number), scenes.select(slice(4 * number, 4 * number + 4)))
    assert_same(read_scenes(tmp_path, False), scenes)
    assert torch.equal(read_truth(tmp_path).n_sources, scenes.n_sources)


def test_shared_channel_stays_one_row(tmp_path: Path) -> None:
    scenes = make_scenes(SMALL, 1, 10.0, 3, shared_channel=True)
    for number in range(2):
        write_scenes(tmp_path / shard_name(number), scenes)
    observation = read_observation(tmp_path, False)
    assert observation.n_scenes == 6
    assert torch.equal(observation.channel, scenes.observation.channel)
    assert observation.codes.shape[0] == 6


def test_different_shared_channels_become_one_a_scene(tmp_path: Path) -> None:
    parts = [make_scenes(SMALL, 1, 10.0, 3, shared_channel=True, seed=seed) for seed in (1, 2)]
    for number, scenes in enumerate(parts):
        write_scenes(tmp_path / shard_name(number), scenes)
    channel = read_observation(tmp_path, False).channel
    assert channel.shape[0] == 6
    assert torch.equal(channel[2], parts[0].observation.channel[0])
    assert torch.equal(channel[3], parts[1].observation.channel[0])


def test_noise_power_and_source_model_are_optional(tmp_path: Path) -> None:
    path = scene_file(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["noise_power"], file["truth"], file.attrs["source_model"]
    observation = read_observation(path, False)
    assert observation.noise_power is None
    assert observation.source_model == "independent"
    with pytest.raises(MeasurementError, match=shows("truth/n_sources: missing")):
        read_truth(path)


def damage(field: str, index: tuple[int, ...], value: float) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[field][index] = value

    return change


def exchange(field: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        values = make(file[field][()])
        del file[field]
        file[field] = values

    return change


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def removal(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        else:
            del file.attrs[name]

    return change


WRONG: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "another format": (
        attribute("format", "photographs"),
        "attribute format: 'risolve-measurements' ... 'photographs'",
    ),
    "no format": (removal("format"), "attribute format: ... risolve-measurements"),
    "another version": (attribute("version", 2), "attribute version: 1 ... got 2"),
    "no wavelength": (removal("wavelength_m"), "attribute wavelength_m: missing"),
    "wavelength of 0": (
        attribute("wavelength_m", 0.0),
        "attribute wavelength_m: ... got 0.0",
    ),
    "odd source model": (
        attribute("source_model", "moving"),
        "attribute source_model: 'independent' ... 'constant'",
    ),
    "no snapshots": (
        removal("snapshots"),
        "snapshots: missing; ... channel ... codes ... element_positions_m",
    ),
    "NaN": (
        damage("snapshots", (2, 3, 1), np.nan),
        "scene 2: snapshots: 1 of 14 ... finite",
    ),
    "infinite channel": (
        damage("channel", (0, 0, 0), np.inf),
        "scene 0: channel: 1 of 30 ... finite",
    ),
    "double precision": (
        exchange("snapshots", lambda v: v.astype(np.complex128)),
        "snapshots: complex64 here, got complex128",
    ),
    "one axis too few": (
        exchange("snapshots", lambda v: v[0]),
        "snapshots: 3 axes [scene, snapshot, antenna], got 2: (7, 2)",
    ),
    "codes of another length": (
        exchange("codes", lambda v: v[:, :-1]),
        "codes: [scene or 1, snapshot, element] = (4 or 1, 7, 15) ... snapshots (4, 7, 2)",
    ),
    "codes of three scenes": (
        exchange("codes", lambda v: v[:3]),
        "codes: [scene or 1, snapshot, element] = (4 or 1, 7, 15) ... snapshots (4, 7, 2)",
    ),
    "positions in two dimensions": (
        exchange("element_positions_m", lambda v: v[:, :2]),
        "element_positions_m: [element, 3] = (15, 3) ... snapshots (4, 7, 2)",
    ),
    "noise power of 0": (
        damage("noise_power", (1,), 0.0),
        "scene 1: noise_power: positive ... got 0",
    ),
    "no scene": (exchange("snapshots", lambda v: v[:0]), "snapshots: ... scene"),
    "more sources than slots": (
        damage("truth/n_sources", (0,), 6),
        "truth/n_sources: 0 to 5 ... truth/range_m ... 2 to 6",
    ),
    "source without azimuth": (
        damage("truth/azimuth_deg", (3, 1), np.nan),
        "truth/azimuth_deg: -180 to 180 ... got nan ... scene 3, slot 1",
    ),
    "truth of fewer scenes": (
        exchange("truth/n_sources", lambda v: v[:3]),
        "truth/n_sources: real numbers [scene] ... scene = 4, got (3,)",
    ),
    "a source without power": (
        damage("truth/power", (2, 0), 0.0),
        "truth/power: positive ... got [0.0, 1.0, nan, nan, nan] in scene 2",
    ),
    "range of 0": (
        damage("truth/range_m", (0, 0), 0.0),
        "truth/range_m: 1e-09 to inf ... got 0 in scene 0, slot 0",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_file_is_named(tmp_path: Path, case: str) -> None:
    change, message = WRONG[case]
    path = scene_file(tmp_path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(MeasurementError) as caught:
        read_scenes(path, False)
    assert re.match(shows(f"{path}: {message}"), str(caught.value))


def test_a_group_is_no_data_set(tmp_path: Path) -> None:
    path = scene_file(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["snapshots"]
        file.create_group("snapshots")
    with pytest.raises(MeasurementError, match=shows("snapshots: ... group")):
        read_observation(path, False)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_truncated_file(tmp_path: Path, kept: float) -> None:
    path = scene_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(MeasurementError, match=r"scenes\.h5: (truncated|.*HDF5)"):
        read_observation(path, False)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "notes.h5"
    path.write_text("azimuth 12, elevation 3\n" * 100, "utf-8")
    with pytest.raises(MeasurementError, match=shows("notes.h5: ... HDF5 ... `simulate`")):
        read_observation(path, False)
    with pytest.raises(MeasurementError, match=shows("gone.h5: ... `simulate`")):
        read_observation(tmp_path / "gone.h5", False)
    with pytest.raises(MeasurementError, match=shows(f"{tmp_path}: ... shard-*.h5")):
        read_observation(tmp_path, False)


def test_missing_shard_is_named(tmp_path: Path) -> None:
    for number in (0, 2):
        scene_file(tmp_path, shard_name(number))
    with pytest.raises(MeasurementError, match=shows("shard-0001.h5 ... missing")):
        read_observation(tmp_path, False)


def test_files_of_different_arrays_are_not_mixed(tmp_path: Path) -> None:
    scene_file(tmp_path, shard_name(0))
    wider = replace(SMALL, spacing=0.2)
    write_scenes(tmp_path / shard_name(1), make_scenes(wider, 1, 10.0, 2))
    with pytest.raises(MeasurementError, match=shows("shard-0001.h5: element_positions_m: ")):
        read_observation(tmp_path, False)


def test_unwritable_place_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = scene_file(tmp_path)
    content = path.read_bytes()
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StateError, match=shows("file/scenes.h5: ... (File exists)")):
        scene_file(tmp_path / "file")
    broken = make_scenes(SMALL, 2, 10.0, 4)
    broken = replace(broken, observation=replace(broken.observation, noise_power=None))
    with pytest.raises(ValueError, match=shows("noise power ... got None")):
        write_scenes(path, broken)
    assert path.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "scenes.h5"]
