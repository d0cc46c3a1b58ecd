"""The door of the library: NumPy in, sources out; the page that explains it runs."""

import contextlib
import io
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import risolve
from risolve.errors import CheckpointError, MeasurementError
from risolve.estimators.registry import REGISTRY
from risolve.files.located_sources import SCENE_VALUES, VALUES
from risolve.networks.trained import uncalibrated
from risolve.physics.observation import Observation
from risolve.words.sources import estimator_lines
from stages.params.file import read_params
from tests.architecture.source import ROOT
from tests.checkpoints import write_untrained
from tests.localization import localized
from tests.measurement_files import at, changed, spread_scenes, write_user_file
from tests.messages import shows
from tests.tiny_run import environment, write_params
from tests.worlds import SMALL, SPREAD_SOURCES, WIDE, make_scenes

PAGE = ROOT / "docs/python.md"


def test_the_page_runs_block_by_block() -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) > 8
    assert said.getvalue() == "azimuth is in degrees; -1.0472 is -60 degrees in radians\n"


def test_every_recipe_runs() -> None:
    """The page from its first block to its last."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/recipes.md").read_text("utf-8"), re.M | re.S)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in blocks:
            exec(compile(block, "docs/recipes.md", "exec"), names)
    assert len(blocks) > 10


def test_public_names_are_there_and_typed() -> None:
    declared = re.findall(r" as (\w+)$", (ROOT / "risolve/__init__.pyi").read_text("utf-8"), re.M)
    assert sorted(declared) == sorted(risolve.PUBLIC)
    for name in risolve.PUBLIC:
        assert getattr(risolve, name).__name__ == name
        assert getattr(risolve, name).__doc__
    with pytest.raises(AttributeError, match="estimate"):
        risolve.estimate  # type: ignore[attr-defined]  # noqa: B018


def test_the_import_alone_loads_no_torch() -> None:
    program = "import sys, risolve; print(sorted({'torch', 'pandas', 'pydantic'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_arrays_give_what_their_file_gives(tmp_path: Path) -> None:
    """The same numbers, through NumPy and through HDF5."""
    scenes = spread_scenes(3)
    of_file = localized(write_user_file(tmp_path / "user.h5", scenes)).sources
    one = scenes.observation
    assert one.noise_power is not None
    seen = risolve.Observation(
        one.snapshots.numpy(),
        risolve.Array(one.array.elements.numpy(), one.array.wavelength),
        channel=one.channel.numpy(),
        codes=one.codes.numpy(),
        noise_power=one.noise_power.numpy(),
    )
    found = risolve.locate(seen)
    np.testing.assert_array_equal(found.values, of_file.values)
    np.testing.assert_array_equal(found.scenes, of_file.scenes)


def test_one_scene_is_the_first_of_many() -> None:
    scenes = spread_scenes(3)
    many = risolve.locate(scenes.observation, sources=2, estimator="music+ml")
    one = risolve.locate(scenes.observation.select(slice(1, 2)), sources=2, estimator="music+ml")
    np.testing.assert_allclose(one.values, many.values[many.scene == 1], rtol=1e-6)


@pytest.fixture(scope="module")
def located() -> risolve.LocatedSources:
    return risolve.locate(make_scenes(WIDE, 2, 20.0, 2, sources=SPREAD_SOURCES[:2]).observation, sources=2)


def test_columns_have_names_and_units(located: risolve.LocatedSources) -> None:
    table = located.to_pandas()
    assert list(table.columns) == ["scene", "source", *VALUES, *SCENE_VALUES]
    assert table.scene.tolist() == [0, 0, 1, 1] and table.source.tolist() == [0, 1, 0, 1]
    for name in VALUES:
        np.testing.assert_array_equal(located[name], table[name])
    angles = np.deg2rad(table[["azimuth_deg", "elevation_deg"]].to_numpy())
    x = table.range_m * np.sin(angles[:, 0]) * np.cos(angles[:, 1])
    np.testing.assert_allclose(table.x_m, x, rtol=1e-9)
    with pytest.raises(KeyError, match="azimuth_deg"):
        located["azimuth"]


def test_a_result_reads_as_a_table(located: risolve.LocatedSources) -> None:
    lines = repr(located).splitlines()
    assert lines[0] == "4 sources in 2 scenes, by ml"
    columns = ["scene", "source", "azimuth_deg", "elevation_deg", "range_m", "power_db", "explained", "fits"]
    assert lines[1].split() == columns
    assert len(lines) == 6
    quiet = make_scenes(WIDE, 1, 20.0, 1).observation
    with pytest.warns(UserWarning, match=shows("fits ... 1 scenes ... 0 %")):
        none = risolve.locate(quiet, sources=0)
    assert repr(none) == "0 sources in 1 scenes, by ml"
    assert none.explained.tolist() == [0.0] and none.fits[0] < 0.001


def test_limits_are_those_of_the_search() -> None:
    scenes = make_scenes(WIDE, 1, 20.0, 2, sources=SPREAD_SOURCES[:1])
    azimuth = np.rad2deg(SPREAD_SOURCES[0][0])
    found = risolve.locate(scenes.observation, sources=1, azimuth=(azimuth - 5.0, azimuth + 5.0))
    np.testing.assert_allclose(found["azimuth_deg"], azimuth, atol=2.0)


def scene(**changes: Any) -> Observation:
    own = make_scenes(WIDE, 1, 20.0, 2).observation
    return Observation(
        **{
            "snapshots": own.snapshots,
            "array": own.array,
            "channel": own.channel,
            "codes": own.codes,
            "noise_power": own.noise_power,
            **changes,
        }
    )


SNAPSHOTS = scene().snapshots
REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ({"snapshots": torch.where(SNAPSHOTS.real > 10.0, SNAPSHOTS, torch.nan)}, {}, ValueError, "of scene 1"),
    ({"array": risolve.Array(WIDE.array().elements * 1e3, 0.3)}, {}, ValueError, "500 wavelengths"),
    ({"snapshots": torch.zeros_like(SNAPSHOTS)}, {}, ValueError, "0.0"),
    ({"noise_power": 0.0}, {}, ValueError, "noise power"),
    ({}, {"sources": 9}, ValueError, "got 9"),
    ({}, {"sources": -1}, ValueError, "got -1"),
    ({}, {"azimuth": (30, -30)}, ValueError, "got 30 to -30"),
    ({}, {"azimuth": (-100, 30)}, ValueError, "got -100 to 30"),
    ({}, {"azimuth": (-np.pi / 3, np.pi / 3)}, ValueError, "-60 degrees ... radians"),
    ({}, {"elevation": (-np.pi / 4, 30)}, ValueError, "-45 degrees ... radians"),
    ({}, {"range": (2, 1)}, ValueError, "got 2 to 1"),
    ({}, {"range": "3.0"}, TypeError, "3.0"),
    ({}, {"sources": True}, TypeError, "True"),
    ({}, {"azimuth": (False, True)}, TypeError, "(False, True)"),
    ({"array": risolve.Array(WIDE.array().elements[[0, *range(39)]], 0.3)}, {}, ValueError, "39 places"),
    ({}, {"azimuth": (1, 2, 3)}, TypeError, "(1, 2, 3)"),
    ({}, {"false_alarm": 1.0}, ValueError, "got 1"),
    ({}, {"estimator": "musik"}, ValueError, "musik"),
    ({}, {"estimator": "learned"}, ValueError, "model="),
    ({}, {"model": "learned.pt"}, ValueError, "model"),
    ({}, {"estimator": "learned", "model": "gone.pt"}, CheckpointError, "gone.pt"),
]


@pytest.mark.parametrize(("changes", "options", "kind", "words"), REFUSED)
def test_bad_input_is_refused_with_law_and_numbers(
    changes: Any, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=shows(words)):
        risolve.locate(scene(**changes), **options)


def test_limits_may_be_arrays_and_a_source_at_one_is_a_warning() -> None:
    observation = make_scenes(WIDE, 1, 20.0, 1, sources=SPREAD_SOURCES[:1]).observation
    azimuth, elevation = np.rad2deg(SPREAD_SOURCES[0][:2])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = risolve.locate(
            observation, sources=1, azimuth=np.array([azimuth + 4.0, 60.0]), elevation=elevation, range=2.0
        )
    np.testing.assert_allclose(found["azimuth_deg"], azimuth + 4.0)
    assert any("1 sources are at a limit" in str(one.message) for one in said)


def test_codes_that_lose_power_are_a_warning() -> None:
    own = make_scenes(WIDE, 1, 20.0, 1).observation
    with pytest.warns(UserWarning) as said:
        risolve.locate(scene(codes=0.8 * own.codes, noise_power=None), sources=1)
    assert any("|c| from 0.8 to 0.8" in str(one.message) for one in said)


def test_a_network_is_of_one_amplitude_law(tmp_path: Path) -> None:
    params = read_params(write_params(tmp_path))
    write_untrained(tmp_path / "learned.pt", uncalibrated(0.3), params)
    model = risolve.load_model(tmp_path / "learned.pt")
    own = make_scenes(SMALL, 1, 20.0, 1).observation
    array = risolve.Array(
        own.array.elements, 0.3, spherical_amplitude=not model.params.array.spherical_amplitude
    )
    with pytest.raises(CheckpointError, match="spherical_amplitude"):
        risolve.locate(
            Observation(own.snapshots, array, own.channel, own.codes), estimator="learned", model=model
        )


def test_a_tensor_may_carry_gradients() -> None:
    with_gradients = risolve.locate(scene(snapshots=SNAPSHOTS.clone().requires_grad_()), sources=1)
    np.testing.assert_array_equal(with_gradients.values, risolve.locate(scene(), sources=1).values)


def test_a_result_has_length_and_columns(located: risolve.LocatedSources) -> None:
    assert len(located) == 4
    assert "range_m" in located and "count_confidence" in located and "azimuth" not in located
    assert located["scene"].tolist() == [0, 0, 1, 1]
    with pytest.raises(TypeError):
        iter(located)


def test_what_is_no_observation_is_refused() -> None:
    with pytest.raises(TypeError):
        risolve.locate(np.zeros((4, 5)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got none"):
        risolve.locate(scene().select(slice(0, 0)))


def same(first: Observation, second: Observation) -> bool:
    names = ("snapshots", "channel", "codes", "noise_power")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


@pytest.mark.parametrize("ending", ["h5", "npz"])
def test_a_file_holds_what_was_written(tmp_path: Path, ending: str) -> None:
    seen = scene()
    risolve.write_measurements(tmp_path / f"seen.{ending}", seen)
    again = risolve.read_measurements(tmp_path / f"seen.{ending}")
    assert same(seen, again)
    assert torch.equal(seen.array.elements, again.array.elements)
    assert again.source_model == "independent"
    risolve.write_measurements(tmp_path / f"unknown.{ending}", scene(noise_power=None))
    assert risolve.read_measurements(tmp_path / f"unknown.{ending}").noise_power is None


@pytest.mark.parametrize("ending", ["h5", "npz"])
@pytest.mark.parametrize("scale", [1e-40, 1e40])
def test_numbers_beyond_single_precision_come_back(tmp_path: Path, scale: float, ending: str) -> None:
    seen = scene().to(torch.complex128)
    wide = scene(snapshots=scale * seen.snapshots, noise_power=scale**2 * seen.noise_power)  # type: ignore[operator]
    risolve.write_measurements(tmp_path / f"wide.{ending}", wide)
    again = risolve.read_measurements(tmp_path / f"wide.{ending}")
    assert again.snapshots.dtype == torch.complex128
    torch.testing.assert_close(again.snapshots / scale, seen.snapshots, rtol=1e-6, atol=0.0)
    assert again.noise_power is not None and seen.noise_power is not None
    torch.testing.assert_close(again.noise_power / scale**2, seen.noise_power, rtol=1e-9, atol=0.0)


def test_a_scene_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    broken = scene(snapshots=SNAPSHOTS * torch.tensor([1.0, torch.nan])[:, None, None])
    with pytest.raises(ValueError, match="of scene 1"):
        risolve.write_measurements(tmp_path / "broken.h5", broken)
    changed(write_user_file(tmp_path / "broken.h5", spread_scenes(2)), at("snapshots", 1, np.nan))
    with pytest.raises(MeasurementError, match="broken.h5: scene 1"):
        risolve.read_measurements(tmp_path / "broken.h5")
    with pytest.raises(ValueError, match="notes.txt"):
        risolve.write_measurements(tmp_path / "notes.txt", scene())
    with pytest.raises(TypeError, match="ndarray"):
        risolve.write_measurements(tmp_path / "seen.h5", np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match="gone.h5"):
        risolve.read_measurements(tmp_path / "gone.h5")


def test_the_amplitude_law_goes_to_a_file_and_back(tmp_path: Path) -> None:
    array = risolve.Array(scene().array.elements, 0.3, spherical_amplitude=True)
    risolve.write_measurements(tmp_path / "seen.h5", scene(array=array))
    assert risolve.read_measurements(tmp_path / "seen.h5").array.spherical_amplitude


def test_every_estimator_of_a_covariance_or_none_is_told_from_the_others() -> None:
    lines = [line.split(maxsplit=1)[1] for line in estimator_lines()]
    assert len(set(lines)) == len(lines)


def test_estimators_have_names() -> None:
    assert risolve.estimator_names() == list(REGISTRY)
