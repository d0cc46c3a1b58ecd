"""The command line from outside: exit status, what goes to which stream, and every kind of file explained."""

import contextlib
import io
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from risolve import cli
from risolve.estimators.registry import REGISTRY
from risolve.files import estimates as estimates_file
from risolve.files import hdf5
from risolve.networks.counting import CountRule
from risolve.networks.trained import Calibration, uncalibrated
from stages import bound as bound_verb
from stages import clone
from stages import normalize as normalize_verb
from stages import simulate as simulate_verb
from stages.params.file import read_params
from tests.architecture.source import ROOT
from tests.checkpoints import write_untrained
from tests.measurement_files import (
    at,
    attribute,
    changed,
    spread_scenes,
    with_values,
    worlds,
    write_user_file,
)
from tests.messages import shows
from tests.tiny_run import call_verb, environment, write_params


def risolve(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["risolve", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    status = ended.value.code
    assert isinstance(status, int)
    return status, out.getvalue(), err.getvalue()


def test_the_console_script_is_the_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"risolve": "risolve.cli:main"}
    command = [sys.executable, "-m", "risolve.cli", "estimators"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(REGISTRY)
    assert lines[0].split() == ["name", "covariance", "model"]
    assert all(
        line.split("  ")[-1].strip().removesuffix("(default)").strip().endswith(".") for line in lines[1:]
    )
    assert next(line for line in lines if line.startswith("ml ")).endswith("(default)")


def test_localize_prints_sources_and_errors(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(3))
    status, out, err = risolve("localize", path)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["scene", "source", "azimuth", "deg"]
    assert lines[7] == "6 sources in 3 scenes"
    assert "Found 6 of 6 (100.0 %), 0 located where there is none" in out
    assert "Error over standard deviation" in out
    assert f"{path}: ml searches azimuth -60 to 60 degrees, elevation -30 to 30 degrees" in err
    assert "localize user.h5: 3 of 3 scenes" in err


def test_localize_writes_and_says_where(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(3), truth=False)
    for name in ("sources.csv", "sources.json", "sources.h5"):
        status, out, _ = risolve("localize", path, "--out", tmp_path / name, "--sources", "2")
        assert status == 0
        assert out == f"6 sources in 3 scenes: {tmp_path / name}\n"
        assert (tmp_path / name).is_file()
    assert len(pd.read_csv(tmp_path / "sources.csv")) == 6
    both = tmp_path / "both.csv"
    status, _, _ = risolve("localize", path, path, "--out", both)
    assert status == 0
    assert list(pd.read_csv(both).columns[:3]) == ["file", "scene", "source"]


def test_localize_says_what_it_leaves_out_by_its_status(tmp_path: Path) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes(3)), at("snapshots", 1, np.nan))
    status, out, err = risolve("localize", path, "--out", tmp_path / "sources.csv")
    assert status == 3
    assert f"{path}: scene 1 is left out: snapshots: 54 of 54 numbers are not finite" in err.splitlines()
    assert "4 sources in 2 scenes; 1 scenes left out" in out
    assert pd.read_csv(tmp_path / "sources.csv")["scene"].tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "sources.txt"], "error: sources.txt: ... .csv, .json, .h5, got .txt"),
        (["--out", "gone/sources.csv"], "error: gone/sources.csv: ... gone ... directory"),
        (["--out", "user.h5"], "error: user.h5: ... measurements"),
        (["--sources", "9"], "error: ... got 9"),
        (["--estimator", "learned"], "learned.pt: ... `train`"),
        (["--model", "learned.pt"], "error: --model: ml ... --model"),
        (
            ["--model", "learned.pt", "--estimator", "music_blend+ml"],
            "learned.pt: ... `train`",
        ),
        (
            ["--field-of-view", "-60", "60", "-30", "30", "5", "1"],
            "error: field of view: range ... 1e-09 <= nearest ... 5 to 1",
        ),
        (["--azimuth", "1", "2", "3"], "--azimuth"),
        (["--elevation", "20", "10"], "20 to 10"),
        (["--field-of-view", "-60", "60", "-30", "30", "1", "5", "--range", "3"], "--range"),
    ],
)
def test_an_error_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(1))
    with contextlib.chdir(tmp_path):
        status, out, err = risolve("localize", path, *arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.search(shows(message), err)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["user.h5"]


def test_a_file_behind_limits_is_told_where_it_belongs(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(1))
    status, out, err = risolve("localize", "--azimuth", "-75", "75", path)
    assert (status, out) == (2, "")
    assert re.search(shows("--azimuth: ... user.h5' ... --"), err.splitlines()[-1])
    status, out, err = risolve("localize", "--azimuth", "-75", "75", "--", path)
    assert status == 0


def test_warnings_go_to_standard_error(tmp_path: Path) -> None:
    path = changed(
        write_user_file(tmp_path / "user.h5", spread_scenes(2)), with_values("codes", lambda v: 0.8 * v)
    )
    status, out, err = risolve("localize", path, "--sources", "2")
    assert status == 0
    assert re.search(shows("codes: |c| ... 0.8 to 0.8"), err)
    assert "Found 4 of 4" in out


def test_a_reader_that_has_enough_is_no_fault(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    command = [sys.executable, "-m", "risolve.cli", "inspect", str(path)]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True, timeout=120, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


# inspect


def test_commands_of_a_clone_are_those_of_its_stages(tmp_path: Path) -> None:
    """In a clone they go on as its own program; elsewhere one line says so."""
    command = [sys.executable, "-P", "-m", "risolve.cli", "trials", "--top=1"]
    here, elsewhere = (
        subprocess.run(command, env=environment(), cwd=folder, capture_output=True, text=True, check=False)
        for folder in (ROOT, tmp_path)
    )
    assert (here.returncode, len(here.stdout.splitlines())) == (0, 2), here.stderr
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")
    assert elsewhere.stderr.startswith("error: risolve trials: ")
    assert str(tmp_path) in elsewhere.stderr


@pytest.mark.parametrize("name", cli.OF_CLONE)
def test_a_clone_explains_its_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        clone.parser().parse_args([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: risolve {name}" in capsys.readouterr().out


def test_inspect_measurements(tmp_path: Path) -> None:
    status, out, _ = risolve("inspect", write_user_file(tmp_path / "user.h5", worlds()["another array"]))
    assert status == 0
    for line in (
        "3 scenes of 24 snapshots at 12 antennas, surface of 128 elements",
        "wavelength 0.01 m (29.98 GHz)",
        "array 0.075 x 0.035 m in the plane z = 0",
        "elements 0.005 m apart, 0.5 wavelengths; aperture 0.08276 m",
        "Fresnel distance 0.148 m, Fraunhofer distance 1.37 m: range can be told this side of the second",
        "sources: independent, amplitudes free in every snapshot",
        "at most 11 sources can be determined (2 L min(M, N) >= (2 L + 3) K; the channel of rank 12)",
        "channel: one a scene, surface to antennas",
        "codes: one a scene, unit modulus, phases of 3 bits",
        "truth: sources a scene: 2 in 3",
        "azimuth -28.6 to 20.1 deg, elevation -17.2 to 11.5 deg, range 0.2 to 0.3 m",
        "snapshots            complex64  (3, 24, 12)",
    ):
        assert line in out.splitlines()
    assert "noise power stated; SNR estimated from it in 3 scenes: median " in out


def test_inspect_an_antenna_array(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", worlds()["no surface"], truth=False, noise_power=False)
    status, out, _ = risolve("inspect", path)
    assert status == 0
    for line in (
        "channel: one for all scenes, the identity: the antennas are the elements",
        "codes: one for all scenes, all 1: no coding",
        "noise power unknown: it is estimated with the sources",
        "no truth",
    ):
        assert line in out.splitlines()


def test_inspect_tells_a_plane_wave_without_a_warning(tmp_path: Path) -> None:
    path = changed(
        write_user_file(tmp_path / "user.h5", spread_scenes()), at("truth/range_m", (0, 0), np.inf)
    )
    status, out, err = risolve("inspect", path)
    assert (status, err) == (0, "")
    assert " to inf m" in out


def test_inspect_explains_a_faulty_file_and_says_what_is_wrong(tmp_path: Path) -> None:
    path = changed(write_user_file(tmp_path / "user.h5", spread_scenes()), attribute("wavelength_m", 300.0))
    status, out, err = risolve("inspect", path)
    assert status == 2
    assert "wavelength_m = 300 with elements 0.15 m apart: millimetres?" in err
    assert "snapshots" in out


def test_inspect_tells_bad_scenes_and_lossy_codes(tmp_path: Path) -> None:
    path = changed(
        write_user_file(tmp_path / "user.h5", spread_scenes()),
        at("snapshots", 1, 0.0),
        with_values("codes", lambda v: v * np.linspace(0.5, 1.0, 40)),
    )
    status, out, _ = risolve("inspect", path)
    assert status == 0
    assert "scene 1 cannot be located: snapshots: all zero" in out
    assert "modulus 0.5 to 1: elements that lose power" in out


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run up to the bounds, and a model of initial weights."""
    directory = tmp_path_factory.mktemp("run")
    params = read_params(write_params(directory))
    for split in ("test_independent", "test_constant"):
        for verb in (simulate_verb, normalize_verb, bound_verb):
            call_verb(directory, verb.main, "--split", split)
    write_untrained(directory / "data/models/covariance.pt", uncalibrated(0.3), params)
    rule = CountRule(0.0625, 0.5, (0.75, 0.125, 2.0, 1.0, 4.0), (0.5, 0.0, 3.0, -0.25, 5.0), 90.0)
    other = replace(rule, network=0.25)
    calibration = Calibration(rule, other, 0.05)
    write_untrained(directory / "calibrated.pt", calibration, params)
    places = {name: np.zeros((2, 3, 3)) for name in ("sources", "deviations")}
    stated = {name: np.zeros(2) for name in ("log_likelihood", "count_confidence")}
    parts = {**places, **stated, "resolved": np.array([True, False]), "cpu_s": np.array([0.5])}
    hdf5.write(
        directory / "estimates.h5",
        {"format": estimates_file.FORMAT, "version": estimates_file.VERSION, "methods": "known/music"},
        {f"known/music/{name}": values for name, values in parts.items()},
    )
    return directory


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("data/scenes/test_independent", "3 shards; the first of them:"),
        ("data/scenes/test_constant/shard-0000.h5", "one amplitude for all snapshots"),
        (
            "data/covariances/test_independent",
            "maps after 0 iterations on 7 x 5 directions (u, v) and 3 planes",
        ),
        ("data/covariances/test_constant", " scenes of constant sources, 15 elements; R_samp"),
        ("data/bounds/test_independent.h5", "unconditional, median: azimuth"),
        ("data/bounds/test_constant.h5", "6 scenes of constant sources"),
        ("data/models/covariance.pt", "a trained network of "),
        ("data/models/covariance.pt", "  receiver: n_antennas 4, n_snapshots 7"),
        ("data/models/covariance.pt", "counts sources by the network alone; `calibrate` adds the likelihood"),
        (
            "calibrated.pt",
            "counts sources by P(K) = (1 - q) softmax_K S_K + q P_net(K), S_K = a log P_net(K) + "
            "sum_{j<K} [b h(D_j) + c / (1 + exp(-(D_j - 10) / 3)) - d - e s] - f log(1 + K), "
            "D_j = V_j - V_{j+1}, s = log(1 + SNR)",
        ),
        (
            "calibrated.pt",
            "  noise power known: q 0.0625, a 0.5; independent b 0.75, c 0.125, d 2, e 1, f 4; "
            "constant b 0.5, c 0, d 3, e -0.25, f 5",
        ),
        (
            "calibrated.pt",
            "  noise power not known: q 0.0625, a 0.25; independent b 0.75, c 0.125, d 2, e 1, f 4;",
        ),
        ("calibrated.pt", "(1 - beta) R_pred + beta R_samp, beta 0.05"),
        ("data/models/covariance.pt", "(1 - beta) R_pred + beta R_samp, beta 0.3"),
        ("estimates.h5", "known/music: 2 scenes, up to 3 sources, 1 scenes resolved, 0.5 s"),
    ],
)
def test_inspect_explains_what_the_stages_write(run_directory: Path, file: str, words: str) -> None:
    status, out, err = risolve("inspect", run_directory / file)
    assert (status, err) == (0, "")
    assert words in out


def test_inspect_explains_results_states_and_strangers(tmp_path: Path) -> None:
    path = write_user_file(tmp_path / "user.h5", spread_scenes(2))
    risolve("localize", path, "--out", tmp_path / "sources.h5")
    status, out, _ = risolve("inspect", tmp_path / "sources.h5")
    assert status == 0
    assert "4 sources in 2 scenes by ml, 0 scenes left out; from " in out
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["pixels"] = np.zeros((3, 2))
    status, out, _ = risolve("inspect", tmp_path / "other.h5")
    assert status == 0
    assert "an HDF5 file, of no format known here" in out
    assert "pixels  float64    (3, 2)" in out
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    (tmp_path / "text.csv").write_text("a,b\n")
    for name, law in (
        ("other.pt", "content, format"),
        ("text.csv", "HDF5"),
        ("gone", "file"),
    ):
        status, out, err = risolve("inspect", tmp_path / name)
        assert (status, out) == (2, "")
        assert re.search(shows(f"{name}: ... {law}"), err)
