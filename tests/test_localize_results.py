"""Located sources as files and as text: every format says the same."""

import contextlib
import csv
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from stages.artifacts.sources_file import VALUES, write_sources
from stages.artifacts.sources_text import source_lines, summary_line
from stages.artifacts.truth_table import score_lines
from tests.architecture.source import ROOT
from tests.localization import localized
from tests.measurement_files import (
    at,
    changed,
    spread_scenes,
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
    assert list(rows[0]) == ["scene", "source", *VALUES, "count_confidence"]
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
