"""Commands that change params.yaml: it differs in its values alone, and is valid or untouched."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from risolve.errors import ParameterError
from stages import clone
from stages.adopt import TRIALS, adopt
from stages.params.file import read_params
from stages.params.model import Params
from stages.trials.tables import read_trial, trial_lines
from tests.messages import shows
from tests.tiny_run import write_params

ROWS = [
    {
        "trial": 0,
        "state": "complete",
        "found_rate": 0.5,
        "train.lr": 1e-3,
        "train.flips": True,
        "network.channels": 16,
    },
    {
        "trial": 1,
        "state": "pruned",
        "found_rate": None,
        "train.lr": 2e-3,
        "train.flips": True,
        "network.channels": 32,
    },
    {
        "trial": 3,
        "state": "complete",
        "found_rate": 0.7,
        "train.lr": 4.25e-5,
        "train.flips": False,
        "network.channels": 48,
    },
    {
        "trial": 4,
        "state": "complete",
        "found_rate": 0.7,
        "train.lr": 5e-3,
        "train.flips": True,
        "network.channels": 20,
    },
]

SPACE = {
    "search.space.train": {
        "lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "flips": {"choices": [True, False]},
    },
    "search.space.network": {"channels": {"low": 16, "high": 48, "log": False}},
    "network.channels": 32,
    "network.groups": 8,
}


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    return read_params(write_params(tmp_path_factory.mktemp("params"), SPACE))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, SPACE)
    TRIALS.parent.mkdir(parents=True)
    pd.DataFrame(ROWS).to_csv(TRIALS, index=False)
    return tmp_path


def test_the_best_trial_enters_params_yaml_and_nothing_else_changes(run: Path) -> None:
    before = (run / "params.yaml").read_text("utf-8").splitlines()
    number, difference = adopt(None)
    after = (run / "params.yaml").read_text("utf-8").splitlines()
    assert number == 3
    changed = {b.split(":")[0].strip(): a for a, b in zip(after, before, strict=True) if a != b}
    assert changed == {"lr": "  lr: 4.25e-05", "flips": "  flips: false", "channels": "  channels: 48"}
    params = read_params(run / "params.yaml")
    assert (params.train.lr, params.train.flips, params.network.channels) == (4.25e-5, False, 48)
    assert sum(line.startswith("+") for line in difference.splitlines()) == 4
    assert adopt(None) == (3, "")


def test_another_trial_may_be_chosen(run: Path) -> None:
    assert adopt(0)[0] == 0
    assert read_params(run / "params.yaml").train.lr == 1e-3


@pytest.mark.parametrize("number", [1, 2, 9])
def test_a_trial_that_is_not_complete_is_refused(run: Path, number: int) -> None:
    with pytest.raises(ParameterError, match=shows(f"0, 3, 4; got --trial {number}")):
        adopt(number)


def test_what_breaks_a_law_leaves_the_file_as_it_is(run: Path) -> None:
    before = (run / "params.yaml").read_bytes()
    with pytest.raises(ParameterError, match=shows("network.channels: ... groups ... got 20 ... 8")):
        adopt(4)
    assert (run / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["data", "params.yaml"]


def test_no_results_are_named(run: Path) -> None:
    TRIALS.unlink()
    with pytest.raises(ParameterError, match=shows("trials.csv: ... `dvc repro search`")):
        adopt(None)


def test_complete_trials_are_listed_best_first(run: Path) -> None:
    names, *rows = trial_lines(TRIALS, None)
    assert names.split()[:2] == ["trial", "found_rate"]
    assert [row.split()[0] for row in rows] == ["3", "4", "0"]
    assert [row.split()[0] for row in trial_lines(TRIALS, 1)[1:]] == ["3"]
    with pytest.raises(ParameterError, match=shows("--top: 1 ... got 0")):
        trial_lines(TRIALS, 0)
    TRIALS.unlink()
    with pytest.raises(ParameterError, match=shows("trials.csv: ... `dvc repro search`")):
        trial_lines(TRIALS, None)


@pytest.mark.parametrize(
    "name, value",
    [
        ("train.speed", 1.0),
        ("train.epochs", 9),  # a key, but none that is searched
        ("evaluate.seed", 3),
        ("", 3),
        ("train.lr", 0.02),  # above the interval
        ("train.lr", "nan"),
        ("train.lr", "=1+1"),
        ("train.lr", "0.001\nseed: 2"),
        ("train.lr", "\x1b[31m0.001"),
        ("train.flips", "perhaps"),
        ("network.channels", 16.5),
        ("found_rate", "inf"),
        ("trial", "1; 2"),
    ],
)
def test_only_values_of_the_space_are_taken(params: Params, tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "trials.csv"
    rows: list[dict[str, Any]] = [{**ROWS[2], name: value}]
    pd.DataFrame(rows).to_csv(path, index=False)
    with pytest.raises(ParameterError, match=r"trials\.csv: "):
        read_trial(path, None, params)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\xff\xfe\0\0",
        b"name,place\nada,1\n",
        b"trial,state,found_rate\n0,complete\n",
        b"trial,state,found_rate\n0,complete,0.5\n",  # no hyperparameter
        b"trial,state,found_rate,trial\n0,complete,0.5,1\n",
        b'trial,state,found_rate,train.lr\n0,complete,0.5,"1e-3\n',
        b"trial,state,found_rate,train.lr\n0,pruned,,1e-3\n",
    ],
)
def test_a_file_that_no_search_wrote_is_named(params: Params, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trials.csv"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"trials\.csv: "):
        read_trial(path, None, params)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_other_byte_stays(run: Path, end: str) -> None:
    """Line ends, a mark of the byte order, blanks at the ends of lines, and no end of the last line."""
    text = "\ufeff" + (run / "params.yaml").read_text("utf-8").rstrip("\n").replace("\n", f"  {end}")
    (run / "params.yaml").write_bytes(text.encode())
    adopt(None)
    after = (run / "params.yaml").read_bytes().decode().split(end)
    changed = [new for old, new in zip(text.split(end), after, strict=True) if old != new]
    assert [line.strip() for line in changed] == ["channels: 48", "lr: 4.25e-05", "flips: false"]


def test_set_writes_values_into_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)

    def set_values(*changes: str) -> str:
        monkeypatch.setattr("sys.argv", ["risolve", "set", *changes])
        clone.main()
        return capsys.readouterr().out

    lines = [
        line.partition("  #")[0].rstrip()
        for line in set_values("train.epochs=4", "search.n_trials=20").splitlines()
    ]
    assert {"+  epochs: 4", "+  n_trials: 20"} <= set(lines)
    assert set_values("train.epochs=4") == "params.yaml holds these values already\n"
    with pytest.raises(SystemExit) as ended:
        set_values("train.epoch=4")
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"error: params\.yaml: train\.epoch: .* train\.epochs\?\n", said)
