"""What an observation is made of: NumPy or torch, one scene or many, with channel and codes or without."""

from typing import Any

import numpy as np
import pytest
import torch

from risolve.physics.array import linear, planar
from risolve.physics.observation import Observation
from tests.messages import shows

ARRAY = planar(3, 5, 0.15, 0.3)
RANDOM = np.random.default_rng(3)


def complex_numbers(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal((*shape, 2)).view(complex)[..., 0]


SNAPSHOTS, CHANNEL, CODES = complex_numbers(4, 7, 2), complex_numbers(2, 15), complex_numbers(7, 15)


def made(**changes: Any) -> Observation:
    arguments = {"snapshots": SNAPSHOTS, "array": ARRAY, "channel": CHANNEL, "codes": CODES, **changes}
    return Observation(**arguments)


def test_numpy_and_torch_make_the_same() -> None:
    first = made()
    second = made(
        snapshots=torch.from_numpy(SNAPSHOTS),
        channel=torch.from_numpy(CHANNEL),
        codes=torch.from_numpy(CODES),
    )
    assert torch.equal(first.snapshots, second.snapshots)
    assert torch.equal(first.channel, second.channel)
    assert first.snapshots.dtype == torch.complex128
    assert (first.n_scenes, first.n_snapshots, first.n_antennas, first.n_elements) == (4, 7, 2, 15)


def test_one_scene_may_lack_its_axis() -> None:
    one = made(snapshots=SNAPSHOTS[2], noise_power=0.5)
    assert torch.equal(one.snapshots, made().snapshots[2:3])
    assert one.channel.shape == (1, 2, 15) and one.codes.shape == (1, 7, 15)
    assert one.noise_power is not None and one.noise_power.tolist() == [0.5]


def test_antennas_are_the_elements_where_there_is_no_channel() -> None:
    plain = Observation(complex_numbers(6, 15).astype(np.complex64), ARRAY)
    assert plain.snapshots.dtype == torch.complex64
    assert torch.equal(plain.channel, torch.eye(15, dtype=torch.complex64)[None])
    assert torch.equal(plain.codes, torch.ones((1, 6, 15), dtype=torch.complex64))
    assert (plain.source_model, plain.noise_power) == ("independent", None)


def test_codes_of_one_bit_are_real_numbers() -> None:
    signs = RANDOM.choice([-1, 1], size=(7, 15))
    assert made(codes=signs).codes.dtype == torch.complex128
    assert made(codes=signs).codes[0].real.tolist() == signs.tolist()


def test_the_widest_precision_is_that_of_all() -> None:
    mixed = made(snapshots=SNAPSHOTS.astype(np.complex64))
    assert {values.dtype for values in (mixed.snapshots, mixed.channel, mixed.codes)} == {torch.complex128}


def test_a_noise_power_is_one_or_one_a_scene() -> None:
    stated = made(noise_power=[1.0, 2.0, 3.0, 4.0]).noise_power
    assert stated is not None and stated.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert made(noise_power=np.float32(2.0)).noise_power.tolist() == [2.0] * 4  # type: ignore[union-attr]
    column = made(noise_power=[[1.0], [2.0], [3.0], [4.0]]).noise_power
    assert column is not None and column.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_powers_of_as_many_scenes_as_antennas_have_two_axes() -> None:
    """Of one axis they may be either; tensors are those that an observation holds."""
    square, powers = SNAPSHOTS[:2], np.array([1.0, 4.0])
    for either in (powers, powers.tolist()):
        with pytest.raises(ValueError, match=shows("noise_power ... [2, 1] ... [1, 2] ... got [2]")):
            made(snapshots=square, noise_power=either)
    by_scene = made(snapshots=square, noise_power=powers[:, None])
    assert by_scene.noise_power is not None and by_scene.noise_power.tolist() == [1.0, 4.0]
    assert torch.equal(by_scene.snapshots, made(snapshots=square).snapshots)
    by_antenna = made(snapshots=square, noise_power=powers[None])
    assert by_antenna.noise_power is not None and by_antenna.noise_power.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(by_antenna.snapshots.abs(), np.abs(square) / [1.0, 2.0])
    held = made(snapshots=square, noise_power=by_scene.noise_power)
    assert held.noise_power is not None and held.noise_power.tolist() == [1.0, 4.0]
    assert by_scene.select(torch.tensor([1, 0])).noise_power.tolist() == [4.0, 1.0]  # type: ignore[union-attr]


REFUSED: list[tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = [
    ({"snapshots": SNAPSHOTS.real}, TypeError, ("snapshots", "float64")),
    ({"snapshots": np.array([["a"]])}, TypeError, ("snapshots", "<U1")),
    ({"snapshots": SNAPSHOTS[0, 0]}, ValueError, ("snapshots", "[2]")),
    ({"snapshots": SNAPSHOTS[:, :0]}, ValueError, ("snapshots", "[4, 0, 2]")),
    ({"channel": CHANNEL.T}, ValueError, ("channel", "[4 or 1, 2, 15]", "[1, 15, 2]")),
    ({"channel": np.stack([CHANNEL] * 3)}, ValueError, ("channel", "[3, 2, 15]")),
    ({"channel": None}, ValueError, ("channel", "2 antennas", "15 elements")),
    ({"codes": CODES[:6]}, ValueError, ("codes", "[4 or 1, 7, 15]", "[1, 6, 15]")),
    ({"array": linear(14, 0.1, 0.3)}, ValueError, ("channel", "[4 or 1, 2, 14]", "[1, 2, 15]")),
    ({"source_model": "mixed"}, ValueError, ("independent", "constant", "coherent", "mixed")),
    ({"noise_power": [1.0, 2.0]}, ValueError, ("noise_power", "[4]", "[2]")),
    ({"codes": np.linspace(0.0, 6.0, 105).reshape(7, 15)}, ValueError, ("exp(j phase)", "0 to 6")),
    (
        {"snapshots": np.ma.masked_array(SNAPSHOTS, mask=SNAPSHOTS.real > 0)},
        ValueError,
        ("snapshots", "mask"),
    ),
    ({"array": ARRAY.elements}, TypeError, ("Tensor",)),
    ({"noise_power": torch.tensor(True)}, TypeError, ("noise_power", "bool")),
    ({"noise_power": 1j}, TypeError, ("noise_power", "complex128")),
]


@pytest.mark.parametrize(("changes", "kind", "words"), REFUSED)
def test_what_does_not_fit_is_refused_with_its_numbers(
    changes: dict[str, Any], kind: type[Exception], words: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as refused:
        made(**changes)
    assert [word for word in words if word not in str(refused.value)] == []
