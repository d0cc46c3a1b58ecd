"""Sizes that no machine has room for are refused by `check`; large ones that some machine has are not."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from risolve.errors import ParameterError
from stages import check as check_verb
from stages.params import room
from stages.params.file import read_params
from tests.messages import shows
from tests.tiny_run import call_verb, write_params

SURFACE = {
    "array.n_horizontal": 64,
    "array.n_vertical": 64,
    "receiver.n_antennas": 16,
    "receiver.n_snapshots": 16,
}


def strata(n_scenes: int) -> dict[str, Any]:
    return {"only": {"n_sources": [0, 3], "snr_db": [-5.0, 20.0], "n_scenes": n_scenes}}


def test_a_large_surface_and_millions_of_scenes_have_room(tmp_path: Path) -> None:
    sizes = {**SURFACE, "simulate.train.strata": strata(5_000_000), "network.head": "factor"}
    write_params(tmp_path, sizes)
    call_verb(tmp_path, check_verb.main)


def test_a_disk_that_is_smaller_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = read_params(write_params(tmp_path))
    for short, said in ((0, ""), (1, "check: scenes and covariances take ")):
        size = SimpleNamespace(total=room.data_bytes(params) - short)
        monkeypatch.setattr(room.shutil, "disk_usage", lambda folder, size=size: size)
        call_verb(tmp_path, check_verb.main)
        assert capsys.readouterr().err.startswith(said)
        assert (tmp_path / check_verb.CODE / "report.txt").is_file()


def test_bytes_are_those_of_the_files(tmp_path: Path) -> None:
    """Snapshots, channel, codes, factor and map of every scene, complex64 and float32, by hand."""
    params = read_params(write_params(tmp_path))
    L, M, N, P = 7, 4, 15, 7 * 5 * 3
    independent, constant = 10 + 5 + 9, 6 + 3 + 6
    scene = 8 * (L * M + M * N + L * N) + 4 * P
    assert room.data_bytes(params) == independent * (scene + 8 * L * N) + constant * (scene + 8 * N)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({**SURFACE, "simulate.train.strata": strata(10**9)}, "simulate"),
        ({"array.n_horizontal": 2048, "array.n_vertical": 2048}, "array"),
        ({**SURFACE, "receiver.n_snapshots": 10**6, "receiver.n_antennas": 10**4}, "receiver"),
        ({"network.channels": 4096, "network.blocks": 256}, "network.channels"),
    ],
)
def test_what_no_machine_has_room_for_is_refused(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    path = write_params(tmp_path, changes)
    with pytest.raises(ParameterError, match=shows(f"{key}: ... at most")) as caught:
        call_verb(path.parent, check_verb.main)
    assert re.match(r"params\.yaml:\d+: ", str(caught.value)) and "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("array.n_horizontal", 10**6),
        ("receiver.n_snapshots", 10**9),
        ("network.blocks", 10**8),
        ("network.loops", 10**8),
        ("network.rank", 10**8),
        ("normalize.map_iterations", [10**9]),
        ("train.epochs", 10**7),
        ("train.processes", 10**6),
        ("evaluate.workers", 10**6),
        ("evaluate.genie_starts", 10**9),
        ("grid.n_u", 10**9),
        ("search.n_trials", 10**12),
        ("threshold.draws", 10**12),
        ("simulate.seed", 2**63),
        ("simulate.train.strata", strata(10**30)),
    ],
)
def test_every_size_has_a_limit(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=shows(f": {key} ... got")) as caught:
        read_params(write_params(tmp_path, {key: value}))
    assert re.match(rf"{tmp_path}/params\.yaml:\d+: ", str(caught.value))
