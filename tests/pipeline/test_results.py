"""What a finished run leaves: every declared output, a report that stands alone, health, few metrics."""

import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from stages import report
from stages.page.figures import method_styles
from stages.params.model import SPLITS, TEST_SPLITS
from tests.pipeline.working_copy import WorkingCopy
from tests.tiny_run import call_verb

pytestmark = pytest.mark.slow


def declared_outputs(working_copy: WorkingCopy) -> set[str]:
    """Outputs of every stage that ran, as dvc.lock names them."""
    lock = YAML(typ="safe").load((working_copy.root / "dvc.lock").read_text("utf-8"))
    return {out["path"] for stage in lock["stages"].values() for out in stage["outs"]}


def test_every_stage_ran_and_every_output_is_there(finished: WorkingCopy) -> None:
    lock = YAML(typ="safe").load((finished.root / "dvc.lock").read_text("utf-8"))
    assert set(lock["stages"]) == {
        *(f"{verb}@{split}" for verb in ("simulate", "normalize") for split in SPLITS),
        *(f"bound@{split}" for split in TEST_SPLITS),
        "check",
        "threshold",
        "train",
        "calibrate",
        "evaluate",
        "report",
        # results that are committed, and not made again here
        "search",
        "sweep",
    }
    outputs = declared_outputs(finished)
    assert {"data/models/covariance.pt", "data/calibration/learned.pt"} <= outputs
    assert {"data/evaluation/metrics.json", "data/report/report.html"} <= outputs
    for path in outputs:
        out = finished.root / path
        files = [out] if out.is_file() else sorted(out.glob("[!.]*"))
        assert files, path
        assert all(file.stat().st_size > 0 for file in files), path


def test_data_holds_nothing_but_declared_outputs(finished: WorkingCopy) -> None:
    """What no stage declares is stale after the next run, and nobody sees it."""
    files = {
        path.relative_to(finished.root) for path in (finished.root / "data").rglob("*") if path.is_file()
    }
    outputs = declared_outputs(finished)
    loose = [
        str(path)
        for path in files
        if path.name != ".gitignore" and not {str(path), *map(str, path.parents)} & outputs
    ]
    assert loose == []


def test_no_result_has_a_date_or_a_version(finished: WorkingCopy) -> None:
    named = re.compile(rf"\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d|Matplotlib v|{re.escape(torch.__version__)}")
    texts = [
        finished.root / path
        for path in sorted(declared_outputs(finished))
        if Path(path).suffix in {".csv", ".json", ".svg", ".html", ".txt"} and not path.startswith("data/s")
    ]
    assert len(texts) > 12
    found = {path.name: named.findall(path.read_text("utf-8")) for path in texts}
    assert {name: words for name, words in found.items() if words} == {}


def test_no_unfinished_work_is_left(finished: WorkingCopy) -> None:
    left = (finished.root / "state").glob("*/*")
    assert [path for path in left if path.suffix != ".lock" and path.parent.name != "times"] == []


class Page(HTMLParser):
    """What a page loads, links to and says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name.rpartition(":")[2] in {"src", "href", "srcset", "data", "action", "poster", "background"}:
                self.references.append(value or "")
            self.references += re.findall(r"url\(\s*['\"]?([^'\")]*)", value or "")

    def handle_data(self, data: str) -> None:
        self.words += f" {data}"
        self.references += re.findall(r"url\(\s*['\"]?([^'\")]*)", data)
        self.references += re.findall(r"@import\s+(\S+)", data)


def test_the_report_stands_alone_and_names_every_method(finished: WorkingCopy) -> None:
    text = (finished.root / "data/report/report.html").read_text("utf-8")
    page = Page(text)
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text
    assert page.references
    assert [link for link in page.references if not link.startswith(("#", "data:"))] == []
    assert not {"link", "script", "iframe", "object", "embed", "base"} & page.tags
    methods = set(pd.read_csv(finished.root / "data/evaluation/strata.csv")["method"])
    assert {
        "learned",
        "learned_peaks",
        "learned_peaks+ml",
        "music",
        "music_blend",
        "mvdr",
        "mvdr_blend+ml",
    } <= methods
    labels = {style.label for style in method_styles(methods).values()}
    assert len(labels) == len(methods)
    said = " ".join(page.words.split())
    assert [label for label in sorted(labels) if label not in said] == []
    assert all(name in said for name in ("learned", "peaks of the network + ML", "MUSIC", "MVDR"))


def test_the_short_table_is_printed(finished: WorkingCopy, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished.root / "data/report/report.html").stat().st_mtime_ns
    call_verb(finished.root, report.main, "--show")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Times: {finished.root.resolve() / 'state/times/times.html'}"
    assert lines[-2] == f"Report: {finished.root.resolve() / 'data/report/report.html'}"
    assert "learned" in "".join(lines)
    # A row a cell that has sources: K and SNR.
    cells = {tuple(line.split()[:2]) for line in lines}
    assert {("1", "0"), ("1", "20"), ("2", "5"), ("2", "10")} <= cells
    assert (finished.root / "data/report/report.html").stat().st_mtime_ns == before


def test_the_training_was_healthy(finished: WorkingCopy) -> None:
    health = json.loads((finished.root / "data/models/health.json").read_text("utf-8"))
    assert health["gates"] == dict.fromkeys(
        (
            "trace_law",
            "norm_law",
            "gradients_finite",
            "losses_finite",
            "training_loss_fell",
            "validation_same_order",
            "no_warnings",
        ),
        True,
    )
    assert health["warnings"] == {}
    assert len(health["epochs"]) == 2
    r_samp = health["training_split"]["r_samp_norm_independent"]
    assert math.sqrt(20) <= r_samp["min"] <= r_samp["mean"] <= r_samp["max"] <= 20.0 * (1.0 + 1e-5)


def numbers(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a tree of dictionaries, by dotted keys."""
    if isinstance(tree, dict):
        for key, branch in tree.items():
            yield from numbers(branch, f"{path}.{key}".removeprefix("."))
    else:
        yield path, tree


def test_metrics_are_few_numbers_and_absence_is_an_absent_key(finished: WorkingCopy) -> None:
    """Cells of this run are K=1 at 0 and 20 dB and K=2 at 5 dB; the headline also asks for K=3."""
    tree = json.loads((finished.root / "data/evaluation/metrics.json").read_text("utf-8"))
    metrics = dict(numbers(tree))
    assert 2 <= len(metrics) <= 10
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in metrics.values())
    assert metrics["n_scenes"] == 18
    strata = pd.read_csv(finished.root / "data/evaluation/strata.csv")
    own = strata[strata["split"] == "test_independent"]
    own = own.set_index(["count", "method", "n_sources", "snr_db"])
    named = [re.fullmatch(r"(.+)\.(\w+)_k(\d)_([\d.]+)db", key) for key in metrics]
    cells = [match for match in named if match]
    for match in cells:
        method, column, count, snr_db = match.groups()
        told = "estimated" if column == "count_accuracy" else "known"
        expected = own.loc[(told, method, int(count), float(snr_db)), column]
        assert metrics[match[0]] == pytest.approx(expected, rel=1e-9)
    assert {(match[3], match[4]) for match in cells} == {("1", "0"), ("2", "5")}
