"""`risolve convert`: other names, units and signs become the format; what is wrong is one line."""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch

import risolve
from risolve import cli
from risolve.errors import MeasurementError
from tests.localization import localized
from tests.matlab_files import variables
from tests.measurement_files import spread_scenes, write_user_file
from tests.messages import shows

LIGHT = 299_792_458.0


def command(*words: str | Path) -> tuple[list[str], list[str]]:
    """What a command says on standard output, and its remarks."""
    remarks: list[str] = []
    arguments = cli.parser().parse_args(list(map(str, words)))
    lines, status = arguments.command(arguments, remarks.append)
    assert status == 0
    return lines, remarks


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return write_user_file(tmp_path / "user.h5", spread_scenes(2))


@pytest.fixture
def theirs(tmp_path: Path, user: Path) -> Path:
    """The same measurements under other names, in other units, with the other sign of phases."""
    own = variables(user)
    held: dict[str, Any] = {
        "X": own["snapshots"].conj(),
        "H": own["channel"],
        "C": own["codes"],
        "P": own["element_positions_m"] / 0.3,
        "f": LIGHT / 0.3,
        "sigma": {"power": own["noise_power"][None]},
        "ground": own["truth"],
    }
    scipy.io.savemat(tmp_path / "theirs.mat", held)
    return tmp_path / "theirs.mat"


NAMES = (
    "--map",
    "snapshots=X,channel=H,codes=C,positions=P",
    "--map",
    "wavelength_hz=f,noise_power=sigma/power",
)
UNITS = ("--map", "truth=ground", "--positions-in", "wavelengths", "--conjugate")


@pytest.mark.parametrize("ending", ["h5", "npz"])
def test_what_is_called_otherwise_is_converted(user: Path, theirs: Path, ending: str) -> None:
    out = user.with_name(f"out.{ending}")
    lines, _ = command("convert", theirs, out, *NAMES, *UNITS)
    assert lines == [f"2 scenes of 9 snapshots at 6 antennas, 40 elements: {out}"]
    expected, found = risolve.read_measurements(user), risolve.read_measurements(out)
    for field in ("snapshots", "channel", "codes", "noise_power"):
        assert torch.equal(getattr(found, field), getattr(expected, field)), field
    np.testing.assert_allclose(found.array.elements, expected.array.elements, rtol=1e-12)
    assert found.array.wavelength == pytest.approx(0.3, rel=1e-12)
    scored = localized(out)
    assert [len(score.agreement.deviation) for score in scored.scores] == [2, 2]


def test_nothing_that_is_stated_is_lost(tmp_path: Path, user: Path) -> None:
    own = variables(user)
    del own["noise_power"]
    covariance = 0.1 * np.eye(6) + 0.02
    stated = {"background": "static", "amplitude": "spherical", "noise": "equal"}
    stated |= {"noise_covariance": covariance}
    scipy.io.savemat(tmp_path / "stated.mat", own | stated)
    command("convert", tmp_path / "stated.mat", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        names = ("background", "amplitude", "noise")
        assert tuple(file.attrs[name] for name in names) == ("static", "spherical", "equal")
        np.testing.assert_array_equal(file["noise_covariance"][()], covariance[None])


def test_localize_and_inspect_take_the_same_words(user: Path, theirs: Path) -> None:
    command("localize", user, "--sources", "2", "--out", user.with_name("a.csv"))
    command("localize", theirs, "--sources", "2", "--out", user.with_name("b.csv"), *NAMES, *UNITS)
    one, other = (np.genfromtxt(user.with_name(f"{name}.csv"), delimiter=",", skip_header=1) for name in "ab")
    np.testing.assert_allclose(other, one, rtol=1e-6)
    lines, _ = command("inspect", theirs, *NAMES, *UNITS)
    assert "2 scenes of 9 snapshots at 6 antennas, surface of 40 elements" in lines
    assert any(re.match(r"X +complex64 +\(2, 9, 6\)", line) for line in lines)


def test_numbers_that_the_file_does_not_hold_are_stated(tmp_path: Path, user: Path) -> None:
    """Sound of 343 m/s at 1 kHz, positions in a table, one noise power."""
    own = variables(user)
    kept = {name: own[name] for name in ("snapshots", "channel", "codes")}
    scipy.io.savemat(tmp_path / "bare.mat", kept)
    np.savetxt(tmp_path / "places.csv", own["element_positions_m"], delimiter=",")
    stated = ("--frequency-hz", "1000", "--speed", "343", "--positions", tmp_path / "places.csv")
    command("convert", tmp_path / "bare.mat", tmp_path / "out.h5", *stated, "--noise-power", "0.25")
    found = risolve.read_measurements(tmp_path / "out.h5")
    assert found.array.wavelength == pytest.approx(0.343)
    np.testing.assert_array_equal(found.array.elements, own["element_positions_m"])
    assert found.noise_power is not None and found.noise_power.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("words", "law"),
    [
        (("--map", "snapshots=Y"), "theirs.mat: --map snapshots=Y: ... Y ... X (2, 9, 6), H (2, 6, 40)"),
        (("--map", "snapshot=X"), "--map: NAME=THEIRS ... snapshots, samples ... 'snapshot=X'"),
        (("--map", "snapshots"), "--map: NAME=THEIRS ... 'snapshots'"),
        (("--map", "snapshots=X,snapshots=H"), "--map: snapshots ... X ... H"),
        (("--map", "wavelength_m=X"), "--map wavelength_m=X: ... complex64 (2, 9, 6)"),
        ((), "theirs.mat: snapshots: missing; ... X (2, 9, 6)"),
        (("--map", "snapshots=X"), "theirs.mat: element_positions_m: missing; ... P (40, 3)"),
        (("--frequency-hz", "-1"), "--frequency-hz: ... got -1"),
        (("--noise-power", "nan"), "--noise-power: ... got nan"),
        (("--speed", "0"), "--speed: ... got 0"),
        (("--positions", "gone.csv"), "--positions gone.csv: "),
        (("--positions-in", "wavelengths", *NAMES[:2]), "attribute wavelength_m: missing"),
    ],
)
def test_what_is_wrong_is_one_line(theirs: Path, words: tuple[str, ...], law: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        command("convert", theirs, theirs.with_name("out.h5"), *words)
    assert re.search(shows(law), str(caught.value))
    assert "\n" not in str(caught.value)
    assert not theirs.with_name("out.h5").exists()


@pytest.mark.parametrize(("text", "numbers"), [("1 2\n3 4\n", "(2, 2)"), ("", "(0, 3)"), ("a b c\n", "'a'")])
def test_a_wrong_table_of_positions_is_one_line(theirs: Path, text: str, numbers: str) -> None:
    table = theirs.with_name("places.txt")
    table.write_text(text, "utf-8")
    with pytest.raises(MeasurementError, match=shows(f"--positions {table}: ... {numbers}")):
        command("convert", theirs, theirs.with_name("out.h5"), "--positions", table)


def test_no_file_is_replaced(user: Path) -> None:
    for out in (user, user.with_name("there.h5")):
        out.touch()
        with pytest.raises(MeasurementError, match=shows(str(out))):
            command("convert", user, out)
    with pytest.raises(MeasurementError, match=shows(".h5, .hdf5, .npz, got .mat")):
        command("convert", user, user.with_name("out.mat"))
