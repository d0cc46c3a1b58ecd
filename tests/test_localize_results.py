"""Located sources as files and as text: every format says the same."""

import contextlib
import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from risolve.files.located_sources import SCENE_VALUES, VALUES
from risolve.files.sources import write_sources
from risolve.words.sources import source_lines, summary_line
from risolve.words.truth import score_lines
from tests.architecture.source import ROOT
from tests.localization import column, localized
from tests.measurement_files import (
    at,
    changed,
    spread_scenes,
    with_values,
    write_user_file,
)
from tests.worlds import WIDE, make_scenes


def test_results_in_every_format_say_the_same(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes())
    changed(path, at("snapshots", 1, 0.0))
    found = localized(path, n_sources=None)
    for suffix in (".csv", ".json", ".h5"):
        write_sources(tmp_path / f"sources{suffix}", found.sources)
    with (tmp_path / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["scene", "source", *VALUES, *SCENE_VALUES]
    assert [int(row["scene"]) for row in rows] == [0, 0, 2, 2, 3, 3]
    assert {row["count_confidence"] for row in rows} == {""}
    document = json.loads((tmp_path / "sources.json").read_text())
    assert {scene["count_confidence"] for scene in document["scenes"]} == {None}
    assert document["left_out"] == [{"file": str(path), "scene": 1, "reason": "snapshots: all zero"}]
    flat = [source for scene in document["scenes"] for source in scene["sources"]]
    with h5py.File(tmp_path / "sources.h5", "r") as stored:
        assert dict(stored.attrs)["format"] == "risolve-sources"
        assert np.isnan(stored["scenes/count_confidence"][()]).all()
        assert stored["left_out/reason"][()].tolist() == [b"snapshots: all zero"]
        for name in VALUES:
            values = stored[f"sources/{name}"][()].tolist()
            assert values == [float(row[name]) for row in rows] == [source[name] for source in flat]


def test_no_name_of_a_file_is_computed_by_a_spreadsheet(tmp_path: Path) -> None:
    found = localized(write_user_file(tmp_path / "user.h5", spread_scenes(1))).sources
    names = ("=HYPERLINK(1)", "+1.h5", "-1.h5", "@a.h5", "\\t=1.h5", "a=b.h5", "../c.h5", "/d.h5")
    n_each = len(found.file)
    for number, name in enumerate(names):
        named = replace(found, files=(*names[:number], name, "z.h5"), file=np.full(n_each, number))
        write_sources(tmp_path / "sources.csv", named)
        with (tmp_path / "sources.csv").open(newline="") as file:
            cells = {row["file"] for row in csv.DictReader(file)}
        assert cells == {f"./{name}" if number < 5 else name}


def test_results_without_a_source_or_with_unknown_numbers(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", make_scenes(WIDE, 0, 0.0, 2))
    nothing = localized(path, n_sources=0).sources
    some = localized(write_user_file(tmp_path / "some.h5", spread_scenes(1))).sources
    unknown = replace(some, values=np.where(some.values < 0.0, np.nan, np.inf))
    for sources in (nothing, unknown):
        for suffix in (".csv", ".json", ".h5"):
            write_sources(tmp_path / f"sources{suffix}", sources)
    text = (tmp_path / "sources.csv").read_text()
    assert ",," in text
    assert "nan" not in text
    row = json.loads((tmp_path / "sources.json").read_text())["scenes"][0]["sources"][0]
    assert row["azimuth_deg"] is None


def test_the_worked_example_prints_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/localize.md").read_text("utf-8")
    program, printed = (
        page.split("```python\n")[1].split("```")[0],
        page.split("```text\n")[1].split("```")[0],
    )
    with contextlib.chdir(tmp_path):
        exec(compile(program, "docs/localize.md", "exec"), {})
        found = localized(Path("measurements.h5"), n_sources=None)
    lines = [*source_lines(found.sources), summary_line(found.sources), "", *score_lines(found.scores, 5.0)]
    assert printed == "\n".join(lines) + "\n"


@pytest.mark.parametrize("noise_power", [True, False])
@pytest.mark.parametrize(
    ("snapshots", "channel"), [(1e-150, 1.0), (1e-45, 1.0), (1e150, 1e150), (1.0, 1e-60)]
)
def test_places_know_no_unit_of_snapshots_or_channel(
    tmp_path: Path, snapshots: float, channel: float, noise_power: bool
) -> None:
    """y -> c y, H -> h H, sigma^2 -> c^2 sigma^2: |s|^2 -> (c / h)^2 |s|^2, ln p -> ln p - 2 L M ln c."""
    scenes = spread_scenes(2)
    path = write_user_file(tmp_path / "user.h5", scenes, noise_power=noise_power)
    own = localized(path, estimator="nomp")
    changed(
        path,
        with_values("snapshots", lambda v: v.astype(np.complex128) * snapshots),
        with_values("channel", lambda v: v.astype(np.complex128) * channel),
    )
    if noise_power:
        changed(path, with_values("noise_power", lambda v: v * snapshots**2))
    scaled = localized(path, estimator="nomp")
    _, n_snapshots, n_antennas = scenes.observation.snapshots.shape
    more_likely = -2.0 * n_snapshots * n_antennas * math.log(snapshots)
    by = {
        "power_db": 20.0 * math.log10(snapshots / channel),
        "log_likelihood": more_likely,
        "rival_log_likelihood": more_likely,
    }
    for name in VALUES:
        expected = column(own, name) + by.get(name, 0.0)
        np.testing.assert_allclose(column(scaled, name), expected, rtol=2e-5, atol=2e-5, err_msg=name)


def test_a_truth_of_any_real_type_is_compared(tmp_path: Path) -> None:
    path = changed(
        write_user_file(tmp_path / "user.h5", spread_scenes(2)),
        *(
            with_values(f"truth/{name}", lambda v, dtype=dtype: v.astype(dtype))
            for name, dtype in (("range_m", "g"), ("azimuth_deg", ">f4"), ("n_sources", "u8"))
        ),
    )
    assert len(localized(path, estimator="nomp").scores) == 2
