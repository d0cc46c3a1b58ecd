"""The bound in Python: of the core, in degrees and metres; what cannot have one is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import risolve
from risolve.bounds.cramer_rao import constant_bound, unconditional_bound
from tests.messages import shows
from tests.worlds import WIDE, make_scenes

SCENE = make_scenes(WIDE, 1, 20.0, 2).observation


def test_the_bound_is_that_of_the_core() -> None:
    scenes = make_scenes(WIDE, 2, 10.0, 3)
    observation, sources, power = scenes.observation, scenes.sources[:, :2], scenes.power[:, :2]
    assert observation.noise_power is not None
    found = risolve.bound(observation, **places_of(sources), power=power.numpy())
    double = observation.to(torch.complex128)
    expected = unconditional_bound(double, sources, power, observation.noise_power)
    deviations = expected.standard_deviations().numpy()
    np.testing.assert_allclose(found.azimuth_std_deg, np.rad2deg(deviations[..., 0]), rtol=1e-9)
    np.testing.assert_allclose(found.elevation_std_deg, np.rad2deg(deviations[..., 1]), rtol=1e-9)
    np.testing.assert_allclose(found.range_std_m, expected.range_deviation().numpy(), rtol=1e-9)
    np.testing.assert_allclose(found.position_std_m, expected.position_deviation().numpy(), rtol=1e-9)
    table = found.to_pandas()
    assert table.scene.tolist() == [0, 0, 1, 1, 2, 2] and table.source.tolist() == [0, 1] * 3
    assert isinstance(table, pd.DataFrame)


def places_of(sources: torch.Tensor) -> dict[str, Any]:
    """Degrees and metres."""
    azimuth, elevation, inverse_range = sources.numpy().transpose(2, 0, 1)
    return {"azimuth": np.rad2deg(azimuth), "elevation": np.rad2deg(elevation), "range": 1.0 / inverse_range}


def test_the_bound_of_constant_sources_is_of_their_amplitudes() -> None:
    scenes = make_scenes(WIDE, 2, 10.0, 2, "constant")
    observation, sources = scenes.observation, scenes.sources[:, :2]
    assert observation.noise_power is not None
    amplitudes = scenes.amplitudes[:, 0, :2].to(torch.complex128)
    found = risolve.bound(observation, **places_of(sources), amplitude=amplitudes.numpy())
    expected = constant_bound(observation.to(torch.complex128), sources, amplitudes, observation.noise_power)
    np.testing.assert_allclose(found.range_std_m, expected.range_deviation().numpy(), rtol=1e-9)


ANGLE = 2.0 * np.pi * np.arange(8) / 8
RING = 0.05 * np.stack((np.sin(ANGLE), 0.0 * ANGLE, np.cos(ANGLE)), -1)


@pytest.mark.parametrize("n_sources", [1, 2])
@pytest.mark.parametrize(
    ("elements", "elevation", "enough"),
    [
        (RING, 0.0, ["elevation"]),
        (RING, 20.0, []),
        (np.outer(np.arange(6), [0.05, 0.0, 0.0]), 0.0, ["elevation"]),
        (np.outer(np.arange(6), [0.05, 0.0, 0.0]), 20.0, ["azimuth", "elevation"]),
    ],
)
def test_a_bound_says_what_is_to_be_known(
    elements: np.ndarray, elevation: float, enough: list[str], n_sources: int
) -> None:
    """A circle does not tell small elevations in its plane, nor a line one angle from the other."""
    array = risolve.Array(elements, 0.1)
    seen = risolve.Observation(np.ones((9, len(elements))) + 1j, array, noise_power=0.1)
    places = {
        "azimuth": [30.0, -40.0][:n_sources],
        "elevation": [elevation],
        "range": [1.0],
        "power": [1.0],
    }
    if enough:
        words = " ... ".join(f'known=["{name}"]' for name in enough)
        with pytest.raises(ValueError, match=shows(words)) as refused:
            risolve.bound(seen, **places)
        assert str(refused.value).count("known=") == len(enough)
    for name in enough or [None]:
        found = risolve.bound(seen, **places, known=[name] if name else [])
        assert np.isfinite(found.range_std_m).all()


def test_sources_at_one_place_have_no_bound_whatever_is_known() -> None:
    places = {"azimuth": [5.0, 5.0], "elevation": [1.0], "range": [1.0], "power": [1.0]}
    with pytest.raises(ValueError, match=shows("0 ... 1e-12")) as refused:
        risolve.bound(SCENE, **places)
    assert "known=" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"range": [0.0]}, ValueError, "0"),
        ({"azimuth": [1.0, 2.0], "range": [1.0, 2.0, 3.0]}, ValueError, "[3]"),
        ({"azimuth": np.zeros((5, 1))}, ValueError, "[5, 1]"),
        ({"azimuth": [1j]}, TypeError, "complex128"),
        ({"power": ["1"]}, TypeError, "<U1"),
        ({"azimuth": [160.0]}, ValueError, "got 160"),
        ({"elevation": [-90.0]}, ValueError, "got -90"),
        ({"azimuth": [np.pi / 3]}, ValueError, "60 degrees ... radians"),
        ({"azimuth": np.ma.masked_array([10.0], mask=[True])}, TypeError, "masked"),
        ({"range": [np.nan]}, ValueError, "nan"),
        ({"power": [-1e-4]}, ValueError, "-0.0001"),
        ({"power": [np.inf]}, ValueError, "inf"),
        ({"power": None}, ValueError, "power"),
        ({"amplitude": [1.0]}, ValueError, "amplitude"),
    ],
)
def test_places_that_are_none_have_no_bound(changes: Any, kind: type[Exception], words: str) -> None:
    places = {"azimuth": [10.0], "elevation": [0.0], "range": [1.0], "power": [1.0], **changes}
    with pytest.raises(kind, match=shows(words)):
        risolve.bound(SCENE, **places)


def test_no_bound_without_a_noise_power() -> None:
    with pytest.raises(ValueError, match="noise_power"):
        risolve.bound(
            replace(SCENE, noise_power=None), azimuth=[1.0], elevation=[1.0], range=[1.0], power=[1.0]
        )
