import shutil
from pathlib import Path

import pandas as pd
import pytest

from stages.page.figures import method_styles
from stages.page.run_files import STRATA, ReportError
from stages.page.times_page import MODEL, read_times, render_times
from stages.running.durations import keep_durations
from tests.messages import shows
from tests.page.finished_run import FEW, METHODS, evaluation_times, write_run
from tests.page.test_page import Page

FACTS = {"Code version": "0123456789ab", "Processor": "<i>x</i>"}
TRAINING = {"device": "cpu", "processes": 2, "seconds": 166.7, "epochs": 7, "data_wait_share": 0.0086}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), FEW)


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of which all times are known."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / MODEL).write_bytes(b"weights")
    keep_durations("train", tmp_path / MODEL, pd.DataFrame([TRAINING]))
    keep_durations("evaluate", tmp_path / STRATA, evaluation_times())
    return tmp_path


def test_every_time_and_fact_is_shown_and_escaped(run: Path) -> None:
    page = render_times(read_times(run), FACTS)
    parsed = Page(page)
    assert parsed.unbalanced == []
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(parsed.tags)
    assert all(reference.startswith("data:image/svg+xml;base64,") for reference in parsed.references)
    assert all(f">{style.label}<" in page for style in method_styles(METHODS).values())
    assert "seconds 166.7 epochs 7 data_wait_share 0.0086" in parsed.text
    assert "&lt;i&gt;x&lt;/i&gt;" in page
    assert "0123456789ab" in parsed.text


def test_what_is_not_known_is_said_and_is_no_zero(run: Path) -> None:
    """Times are those of the very bytes of a result."""
    (run / MODEL).write_bytes(b"other weights")
    times = read_times(run)
    assert times.training is None and times.are_known
    said = Page(render_times(times, FACTS)).text
    assert f"Not known here: this working copy did not train {MODEL}" in said
    assert "seconds" not in said
    (run / STRATA).unlink()
    assert not read_times(run).are_known
    assert "Table 1" not in Page(render_times(read_times(run), FACTS)).text


def test_the_times_of_an_earlier_result_are_found_again(run: Path) -> None:
    kept = (run / MODEL).read_bytes()
    (run / MODEL).write_bytes(b"other weights")
    keep_durations("train", run / MODEL, pd.DataFrame([{**TRAINING, "seconds": 1.0}]))
    (run / MODEL).write_bytes(kept)
    training = read_times(run).training
    assert training is not None and training["seconds"].tolist() == [166.7]


def test_damaged_times_are_one_line_that_says_what_to_do(run: Path) -> None:
    (path,) = (run / "state/times/train").iterdir()
    path.write_text(path.read_text("utf-8").replace("166.7", "-1"), "utf-8")
    with pytest.raises(
        ReportError, match=shows(f"{path}:2: seconds ... got -1 ... `dvc repro --force --single-item train`")
    ):
        read_times(run)
