"""params.yaml: every mistake is named with its line, key, law and numbers."""

from pathlib import Path
from typing import Any

import pytest

from risolve.errors import ParameterError
from stages.params.file import read_params
from tests.messages import shows
from tests.tiny_run import ROOT, write_params


def line_of(path: Path, text: str) -> int:
    """Line number of the first line that holds a text."""
    return next(n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if text in line)


def test_committed_file_is_complete_and_valid() -> None:
    params = read_params(ROOT / "params.yaml")
    assert params.array.n_elements == 144
    assert params.covariance.ls_ridge == 1e-3


@pytest.mark.parametrize("text", ["1e-3", "1e-03", "0.001", "1.0e-3", "1.E-3"])
def test_every_spelling_of_a_number_is_a_number(tmp_path: Path, text: str) -> None:
    path = write_params(tmp_path)
    content = path.read_text("utf-8")
    assert "lr: 2.0e-3" in content
    path.write_text(content.replace("lr: 2.0e-3", f"lr: {text}"), "utf-8")
    assert read_params(path).train.lr == 1e-3


MISTAKES: list[tuple[str, Any, str, str]] = [
    ("train.learning_rate", 0.1, "learning_rate", "train.learning_rate: unknown ... seed, device"),
    ("train.epoch", 3, "epoch:", "train.epoch: unknown ... epochs?"),
    ("reciever", {"n_antennas": 4}, "reciever", "reciever: unknown ... receiver?"),
    ("train.lr", "fast", "lr: fast", 'train.lr: ... number, got "fast"'),
    ("train.epochs", 2.5, "epochs", "train.epochs: ... got 2.5"),
    ("train.flips", 1, "flips", "train.flips: ... boolean, got 1"),
    ("train.lr", float("nan"), "lr: .nan", "train.lr: ... got NaN"),
    (
        "codebook.kind",
        "fourier",
        "kind: fourier",
        "codebook.kind: ... 'random', 'dft2d' or 'hadamard'",
    ),
    (
        "codebook.phase_bits",
        4,
        "phase_bits: 4",
        "codebook.phase_bits: ... 3, got 4",
    ),
    (
        "sources.range_m",
        [10.0, 0.5],
        "range_m:",
        "sources.range_m: ... [lowest, highest], got [10.0, 0.5]",
    ),
    (
        "sources.azimuth_deg",
        [-95.0, 60.0],
        "azimuth_deg:",
        "sources.azimuth_deg: ... (-90, 90) ... got [-95.0, 60.0]",
    ),
    (
        "sources.max_sources",
        4,
        "max_sources:",
        "sources.max_sources = 4 ... receiver.n_antennas = 4",
    ),
    ("sources.range_m", [0.1, 10.0], "range_m:", "wavelength ... 0.15 m ... 0.1 m"),
    ("sources.azimuth_deg", [-89.0, 89.0], "range_m:", "lambda / (2 pi) = 0.04775 m"),
    ("network.channels", 30, "channels:", "channels ... groups (GroupNorm), got 30 ... 8"),
    ("normalize.map_iterations", [3, 0], "map_iterations:", "map_iterations ... got [3, 0]"),
]


@pytest.mark.parametrize(("key", "value", "line", "message"), MISTAKES)
def test_mistake_is_named(tmp_path: Path, key: str, value: object, line: str, message: str) -> None:
    path = write_params(tmp_path, {key: value})
    with pytest.raises(ParameterError, match=shows(message)) as caught:
        read_params(path)
    assert str(caught.value).startswith(f"{path}:{line_of(path, line)}: ")
    assert "\n" not in str(caught.value)


def test_a_mistake_inside_a_stratum_has_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    content = (ROOT / "params.yaml").read_text("utf-8")
    right, wrong = "{n_sources: [5, 5], snr_db: [20.0, 20.0]", "{n_sources: [5, 4], snr_db: [20.0, 20.0]"
    path.write_text(content.replace(right, wrong), "utf-8")
    place = f"{path}:{line_of(path, wrong)}: simulate.test_independent.strata.k5_20db.n_sources"
    with pytest.raises(ParameterError, match=shows(f"{place}: ... [lowest, highest], got [5, 4]")):
        read_params(path)


def test_too_many_sources_in_a_stratum_names_split_and_stratum(tmp_path: Path) -> None:
    strata = {"only": {"n_sources": [0, 9], "snr_db": [0.0, 0.0], "n_scenes": 2}}
    path = write_params(tmp_path, {"simulate.test_constant.strata": strata})
    with pytest.raises(
        ParameterError,
        match=shows("simulate.test_constant.strata.only ... 9 ... sources.max_sources ... 3"),
    ):
        read_params(path)


def test_a_wrong_name_and_an_unknown_key_of_a_stratum_have_their_lines(tmp_path: Path) -> None:
    content = (ROOT / "params.yaml").read_text("utf-8")
    path = tmp_path / "params.yaml"
    for right, wrong, place in (
        ("k5_20db:", "K5-20dB:", "simulate.test_independent.strata.K5-20dB: "),
        (
            "k3_05db: {n_sources",
            "k3_05db: {n_source",
            "strata.k3_05db.n_source: unknown ... n_sources?",
        ),
    ):
        path.write_text(content.replace(right, wrong, 1), "utf-8")
        with pytest.raises(ParameterError, match=shows(f":{line_of(path, wrong)}: ... {place}")):
            read_params(path)


def test_missing_key_points_at_its_section(tmp_path: Path) -> None:
    path = write_params(tmp_path, {"covariance.ls_ridge": None})
    with pytest.raises(ParameterError) as caught:
        read_params(path)
    assert str(caught.value).startswith(
        f"{path}:{line_of(path, 'covariance:')}: covariance.ls_ridge: missing"
    )


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    path = write_params(tmp_path, {"train.lr": -1.0, "train.epochs": 0})
    with pytest.raises(ParameterError, match=r"\(and 1 more\)$"):
        read_params(path)


def test_misspelt_key_is_told_from_a_missing_one(tmp_path: Path) -> None:
    path = write_params(tmp_path, {"train.lr": None, "train.lrr": 1e-3})
    with pytest.raises(ParameterError, match=shows("train.lrr: unknown ... lr? (and 1 more)")):
        read_params(path)


def test_duplicate_key_and_broken_yaml_have_a_line(tmp_path: Path) -> None:
    path = write_params(tmp_path)
    path.write_text(path.read_text("utf-8") + "\nreport:\n  example_scenes: 1\n", "utf-8")
    with pytest.raises(ParameterError, match=r"params\.yaml:\d+: not YAML: .*duplicate key"):
        read_params(path)
    path.write_text("array: [1, 2\nreceiver: {", "utf-8")
    with pytest.raises(ParameterError, match=r"params\.yaml:\d+: not YAML"):
        read_params(path)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "word"])
def test_a_file_without_sections(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ParameterError, match=shows("params.yaml:1: ... array, receiver")):
        read_params(path)


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=shows(f"{tmp_path}/params.yaml: ... root")):
        read_params(tmp_path / "params.yaml")


def test_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\x89HDF\xff\xfe")
    with pytest.raises(ParameterError, match=r"params\.yaml:1: not UTF-8: byte 0x89"):
        read_params(path)
