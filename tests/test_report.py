import shutil
import sys
from pathlib import Path

import pytest

from risolve.running.entry import run as run_verb
from stages import report
from stages.page import provenance
from stages.page.run_files import HEALTH, PICTURE, REPORT, STRATA
from stages.running.durations import keep_durations
from tests.page.finished_run import FEW, evaluation_times, write_run


@pytest.fixture
def working_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path, FEW)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    run_verb(report.main)


def _placeholder(working_copy: Path) -> Path:
    path = working_copy / REPORT
    path.parent.mkdir(parents=True)
    path.write_text("an earlier report", "utf-8")
    return path


def test_the_report_is_written(working_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _command(monkeypatch)
    text = (working_copy / REPORT).read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert "wavelength_m: 0.3" in text
    assert set((working_copy / REPORT).parent.iterdir()) == {working_copy / REPORT, working_copy / PICTURE}
    drawing = (working_copy / PICTURE).read_text("utf-8")
    assert drawing.count("<svg") == 1 and "</svg>" in drawing


def test_show_prints_a_short_table_and_the_path(
    working_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _placeholder(working_copy)
    _command(monkeypatch, "--show")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines[:-2])) <= 110
    assert lines[-2] == f"Report: {path.resolve()}"
    assert lines[-1].startswith("Times: not known here")
    assert path.read_text("utf-8") == "an earlier report"
    assert not (working_copy / "state").exists()


def test_show_writes_the_page_of_times_of_these_results_alone(
    working_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _placeholder(working_copy)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    keep_durations("evaluate", STRATA, evaluation_times())
    _command(monkeypatch, "--show")
    page = working_copy / "state/times/times.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"Times: {page.resolve()}"
    assert "CPU time a scene" in page.read_text("utf-8")
    (working_copy / STRATA).write_text((working_copy / STRATA).read_text("utf-8") + "\n", "utf-8")
    _command(monkeypatch, "--show")
    assert capsys.readouterr().out.splitlines()[-1].startswith("Times: not known here")
    assert not page.exists()
    keep_durations("evaluate", STRATA, evaluation_times())
    for times in (working_copy / "state/times/evaluate").iterdir():
        times.write_text("", "utf-8")
    _command(monkeypatch, "--show")
    *table, last = capsys.readouterr().out.splitlines()
    assert len(table) > 5 and last.startswith("Times: not shown (")


@pytest.mark.parametrize(
    ("absent", "arguments", "named"),
    [
        (REPORT, ["--show"], "no report"),
        (STRATA, ["--show"], str(STRATA)),
        (STRATA, [], str(STRATA)),
        (HEALTH, [], str(HEALTH)),
        (Path("params.yaml"), [], "params.yaml"),
    ],
)
def test_a_missing_input_is_one_line_and_keeps_the_earlier_report(
    working_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    absent: Path,
    arguments: list[str],
    named: str,
) -> None:
    path = _placeholder(working_copy)
    (working_copy / absent).unlink()
    with pytest.raises(SystemExit) as ended:
        _command(monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.count("\n") == 1
    assert named in error
    assert absent == REPORT or path.read_text("utf-8") == "an earlier report"


def test_outside_a_working_copy_the_version_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.code_version(tmp_path) == "unknown: not a git working copy with a commit"


def test_without_git_the_version_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code_version(tmp_path) == "unknown: git is not installed"


def test_the_version_is_the_commit_and_says_when_code_differs(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "code.py").write_text("a = 1\n", "utf-8")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        provenance.git_output(git, tmp_path, *arguments)
    commit = provenance.git_output(git, tmp_path, "rev-parse", "--short=12", "HEAD")
    assert commit
    assert provenance.code_version(tmp_path) == commit
    (tmp_path / "notes.txt").write_text("a note", "utf-8")
    assert provenance.code_version(tmp_path) == commit
    (tmp_path / "stages" / "code.py").write_text("a = 2\n", "utf-8")
    assert (
        provenance.code_version(tmp_path) == f"{commit}, with uncommitted changes in stages/ or params.yaml"
    )


def test_every_fact_has_a_value(tmp_path: Path) -> None:
    facts = provenance.provenance(tmp_path)
    assert {"Code version", "Processor", "Cores", "Python", "torch", "Written"} <= facts.keys()
    assert all(facts.values())
