import json
import platform
import re
import shutil
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.page.blocks import AT_MOST, spectra_figure
from stages.page.figures import method_styles
from stages.page.page import render
from stages.page.run_files import (
    CALIBRATION,
    COUNTS,
    EXAMPLES,
    HEALTH,
    RANGE_STRATA,
    STRATA,
    ReportError,
    read_inputs,
)
from stages.params.file import read_params
from tests.page.finished_run import FEW, METHODS, write_run

VOID = {"meta", "img", "br", "path", "rect", "circle"}


class Page(HTMLParser):
    """Tags, what they refer to, and their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.anchors: set[str] = set()
        self.words: list[str] = []
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attributes:
            if name in {"src", "href", "action", "data", "srcset", "poster"}:
                self.references.append(value or "")
            if name == "id":
                self.anchors.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and (not self._open or self._open.pop() != tag):
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), FEW)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _page(run: Path, params_text: str) -> str:
    return render(read_inputs(run), read_params(run / "params.yaml"), params_text)


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return _page(finished, (finished / "params.yaml").read_text("utf-8"))


def test_the_page_asks_nothing_of_a_network(page: str) -> None:
    parsed = Page(page)
    assert parsed.unbalanced == []
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(parsed.tags)
    assert parsed.tags.count("img") > 10
    for reference in parsed.references:
        assert (
            reference.startswith("data:image/svg+xml;base64,")
            or reference.removeprefix("#") in parsed.anchors
        )
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_every_figure_and_table_says_where_it_is_from(page: str) -> None:
    text = Page(page).text
    for number in range(1, page.count("<figure>") + 1):
        assert text.count(f"Figure {number}.") == 1
    assert page.count("Drawn from <code>data/") == page.count("<figure>")
    assert page.count('<p class="caption"><b>Table') == page.count("<table>")
    assert page.count(".</b>") >= page.count("<figure>") + page.count("<table>")


def test_pictures_are_described(page: str) -> None:
    assert page.count("<img ") == page.count(' alt="') - page.count(' alt=""')


def test_both_splits_and_the_gates_are_shown(page: str) -> None:
    text = Page(page).text
    assert "Independent amplitudes in every snapshot" in text
    assert "One constant amplitude a source" in text
    assert "genie (started at the truth, no method)" in text
    assert "noise alone · ML, K not told" in text
    assert "noise alone · MUSIC" not in text
    assert text.count("✓ held") == 7
    assert "training loss fell" in text
    assert "found_rate.learned.k2.5db 0.962" in text
    assert "3.46e+12" in text
    assert "No warnings in training." in text


def test_the_page_follows_from_its_inputs(finished: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, on another machine, at another time, with other versions."""
    for name in ("processor", "release", "machine", "python_version"):
        monkeypatch.setattr(platform, name, lambda: "another")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert _page(finished, (finished / "params.yaml").read_text("utf-8")) == page
    assert "ms" not in Page(page).text.split()


def test_what_is_new_broken_or_hostile_is_seen_and_escaped(run: Path) -> None:
    """A new estimator, markup in a name and in parameters, a broken gate, a warning."""
    name = "<b>new&improved</b>"
    table = pd.read_csv(run / STRATA)
    table["method"] = table["method"].replace({"mvdr": name}).str.replace("mvdr_blend", "esprit")
    table.to_csv(run / STRATA, index=False)
    health = json.loads((run / HEALTH).read_text("utf-8"))
    health["gates"]["training_loss_fell"] = False
    health["warnings"] = {"the scheduler stepped <first>": 2}
    (run / HEALTH).write_text(json.dumps(health), "utf-8")
    page = _page(run, "# </pre><script>alert(1)</script>")
    text = Page(page).text
    assert name not in page
    assert name in text
    assert "<script" not in page
    assert "alert(1)" in text
    assert "esprit + ML" in text
    assert "✗ broken training loss fell" in text
    assert "the scheduler stepped <first>" in text
    assert "No warnings" not in text


def test_what_a_run_does_not_have_is_said_or_left_out(run: Path) -> None:
    """No example scenes and one split: a sentence, no empty section, and another method on the cards."""
    with np.load(run / EXAMPLES) as archive:
        np.savez(run / EXAMPLES, **{name: archive[name][:0] for name in archive.files})
    table = pd.read_csv(run / STRATA)
    table[table["split"] == "test_constant"].to_csv(run / STRATA, index=False)
    page = _page(run, "")
    text = Page(page).text
    assert "No example scenes" in text
    assert "Independent amplitudes" not in page
    assert "The cards show ML, unconditional" in text


def test_a_run_that_counts_nothing_and_has_no_genie_nor_one_independent_source_says_so(
    run: Path, page: str
) -> None:
    for path in (STRATA, RANGE_STRATA, COUNTS, CALIBRATION):
        table = pd.read_csv(run / path)
        table = table[~table["method"].str.startswith("genie")]
        if path == STRATA:
            table = table[(table["n_sources"] != 1) | (table["split"] == "test_constant")]
        if path == COUNTS:
            table = table.iloc[:0]
        elif "count" in table:
            table = table[table["count"] == "known"]
        table.to_csv(run / path, index=False)
    text = Page(_page(run, "")).text
    assert "genie (from the truth)" not in text
    assert "No method of this split was run without being told the number of sources." in text
    assert "noise alone ·" not in text
    assert "Threshold of one source" in page
    assert "Threshold of one source" not in text


def test_figures_show_the_strongest_and_tables_all(page: str) -> None:
    """Unrefined methods are rows of tables, not lines of figures; every method stands in the first table."""
    legends = re.findall(r'<div class="legend methods">(.*?)</div>', page, re.DOTALL)
    assert legends and not any("MUSIC, R_samp<" in legend for legend in legends)
    assert max(legend.count('class="key"') for legend in legends) <= AT_MOST + 3
    first = page.partition("<tbody>")[2].partition("</tbody>")[0]
    assert all(f">{style.label}<" in first for style in method_styles(METHODS).values())


def test_examples_of_another_grid_are_refused(finished: Path) -> None:
    examples = read_inputs(finished).examples
    cut = replace(examples, spectra={name: values[:, 1:] for name, values in examples.spectra.items()})
    params = read_params(finished / "params.yaml")
    with pytest.raises(ReportError, match=r"spectra .* params\.yaml, \[\d+, \d+\], got \[\d+, \d+\]"):
        spectra_figure(cut, params)
