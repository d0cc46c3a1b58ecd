"""The bound verb: every source of every scene gets the bound that the library computes for it."""

from pathlib import Path

import h5py
import pytest
import torch

from risolve.bounds.cramer_rao import conditional_bound, constant_bound, unconditional_bound
from risolve.errors import MeasurementError
from risolve.files.bounds import read_bounds
from risolve.files.measurements import read_scenes
from stages import bound as bound_verb
from stages import simulate as simulate_verb
from tests import tolerances
from tests.messages import shows
from tests.tiny_run import call_verb, write_params

SPLITS = ("test_independent", "test_constant")
COLUMNS = ("azimuth", "elevation", "range", "inverse_range", "position")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    write_params(directory)
    for split in SPLITS:
        call_verb(directory, simulate_verb.main, "--split", split)
        call_verb(directory, bound_verb.main, "--split", split)
    return directory


@pytest.mark.parametrize("split", SPLITS)
def test_empty_slots_are_nan_and_sources_are_not(finished: Path, split: str) -> None:
    scenes = read_scenes(finished / "data/scenes" / split, False)
    found = read_bounds(finished / f"data/bounds/{split}.h5")
    present = torch.arange(3) < scenes.n_sources[:, None]
    for deviations in (found.conditional, found.unconditional):
        if deviations is not None:
            for name in COLUMNS:
                assert torch.equal(torch.isfinite(getattr(deviations, name)), present), name
    assert (found.unconditional is None) == (split == "test_constant")


def test_each_scene_alone_has_the_same_bound(finished: Path) -> None:
    """Scenes of one shard differ in their number of sources; each is compared with a call of its own."""
    for split in SPLITS:
        scenes = read_scenes(finished / "data/scenes" / split, False)
        found = read_bounds(finished / f"data/bounds/{split}.h5")
        assert scenes.observation.noise_power is not None
        for i, k in enumerate(scenes.n_sources.tolist()):
            if k == 0:
                continue
            observation = scenes.observation.select(slice(i, i + 1))
            noise_power = scenes.observation.noise_power[i : i + 1]
            sources = scenes.sources[i : i + 1, :k]
            amplitudes = scenes.amplitudes[i : i + 1, :, :k].to(torch.complex128)
            if split == "test_constant":
                known = constant_bound(observation, sources, amplitudes[:, 0], noise_power)
            else:
                known = conditional_bound(observation, sources, amplitudes, noise_power)
                power = scenes.power[i : i + 1, :k]
                gaussian = unconditional_bound(observation, sources, power, noise_power)
                assert found.unconditional is not None
                expected = gaussian.standard_deviations()[0, :, 0]
                torch.testing.assert_close(found.unconditional.azimuth[i, :k], expected, rtol=1e-6, atol=0.0)
            deviations = known.standard_deviations()[0]
            for name, expected in (
                ("azimuth", deviations[:, 0]),
                ("elevation", deviations[:, 1]),
                ("inverse_range", deviations[:, 2]),
                ("range", deviations[:, 2] / sources[0, :, 2] ** 2),
                ("position", known.position_deviation()[0]),
            ):
                stored = getattr(found.conditional, name)[i, :k]
                torch.testing.assert_close(stored, expected, rtol=1e-6, atol=0.0)


def test_file_is_in_degrees_and_complete(finished: Path) -> None:
    path = finished / "data/bounds/test_independent.h5"
    found = read_bounds(path)
    with h5py.File(path, "r") as file:
        for kind in ("conditional", "unconditional"):
            assert sorted(file[kind]) == [
                "azimuth_deg",
                "elevation_deg",
                "inverse_range_per_m",
                "position_m",
                "range_m",
            ]
        stored = torch.from_numpy(file["conditional/azimuth_deg"][()])
    torch.testing.assert_close(
        torch.deg2rad(stored), found.conditional.azimuth, rtol=tolerances.DOUBLE, atol=0.0, equal_nan=True
    )
    assert not list((finished / "state/bound-test_independent").glob("*/shard-*"))


def test_sources_at_one_place_are_named(finished: Path, tmp_path: Path) -> None:
    write_params(tmp_path)
    call_verb(tmp_path, simulate_verb.main, "--split", "test_constant")
    with h5py.File(tmp_path / "data/scenes/test_constant/shard-0000.h5", "r+") as file:
        for name in ("azimuth_deg", "elevation_deg", "range_m"):
            file[f"truth/{name}"][3, 1] = file[f"truth/{name}"][3, 0]
    with pytest.raises(
        MeasurementError, match=shows("shard-0000.h5: ... 2 sources, [2, 3]: ... eigenvalue ... scenes [1]")
    ):
        call_verb(tmp_path, bound_verb.main, "--split", "test_constant")
    assert not (tmp_path / "data/bounds").exists()


def test_wrong_bound_files_are_named(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "bounds.h5"
    with pytest.raises(MeasurementError, match=shows("bounds.h5: ... `bound`")):
        read_bounds(path)
    path.write_bytes((finished / "data/bounds/test_independent.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["conditional/range_m"][4, 0] = -1.0
    with pytest.raises(MeasurementError, match=shows("bounds.h5: conditional/range_m: ... finite")):
        read_bounds(path)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "risolve-covariances"
    with pytest.raises(
        MeasurementError,
        match=shows("attribute format: 'risolve-bounds' ... 'risolve-covariances'"),
    ):
        read_bounds(path)
