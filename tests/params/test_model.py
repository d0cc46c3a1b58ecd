import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.params.model import SPLITS, Params, Sources
from tests.messages import shows
from tests.parameters import DEFAULTS, KEYS, LEAVES, MAPPINGS, NUMBERS, Path, at, changed, name_of, refusal
from tests.worlds import parsed

FREE = (("evaluate", "estimators"), ("evaluate", "blind"), ("array", "file"))


def test_the_file_of_the_repository_is_valid() -> None:
    params = parsed(DEFAULTS)
    assert params.array.n_elements == 144
    assert params.sources.closest_height_m() == pytest.approx(0.5 * 0.5 * math.cos(math.pi / 6))
    assert params.covariance.ls_ridge == 1e-3


def test_nothing_has_a_default() -> None:
    """Every key of the file is needed: without it the file is refused, and the message names the key."""
    for path in KEYS:
        values = copy.deepcopy(DEFAULTS)
        del at(values, path[:-1])[path[-1]]
        message = refusal(values)
        assert f"{name_of(path)}\n" in message
        assert "Field required" in message


@pytest.mark.parametrize("path", MAPPINGS, ids=name_of)
def test_unknown_keys_are_refused(path: Path) -> None:
    values = copy.deepcopy(DEFAULTS)
    at(values, path)["dropout"] = 0.1
    message = refusal(values)
    assert name_of((*path, "dropout")) in message
    assert "Extra inputs are not permitted" in message


@pytest.mark.parametrize("wrong", ["1", True, None, [1], math.nan, math.inf, -math.inf], ids=str)
def test_a_number_is_a_finite_number(wrong: object) -> None:
    """No string, boolean, null, list, NaN or infinity passes for a number, wherever it stands."""
    for path, _ in NUMBERS:
        values = copy.deepcopy(DEFAULTS)
        at(values, path[:-1])[path[-1]] = wrong
        assert name_of(path[:2]) in refusal(values), name_of(path)


def test_a_count_is_no_fraction() -> None:
    counts = [path for path, value in NUMBERS if isinstance(value, int)]
    assert len(counts) > 40
    for path in counts:
        values = copy.deepcopy(DEFAULTS)
        at(values, path[:-1])[path[-1]] = at(values, path) + 0.5
        assert name_of(path) in refusal(values), name_of(path)


def test_flags_and_names_are_what_they_are() -> None:
    """But names that parameters do not know: of estimators, which the registry has, and of a file."""
    for path, value in LEAVES:
        if isinstance(value, bool):
            for wrong in (0, 1, "true"):
                values = copy.deepcopy(DEFAULTS)
                at(values, path[:-1])[path[-1]] = wrong
                assert name_of(path) in refusal(values)
        elif isinstance(value, str) and path[:2] not in FREE:
            values = copy.deepcopy(DEFAULTS)
            at(values, path[:-1])[path[-1]] = value + "_"
            assert name_of(path) in refusal(values)


def test_equal_parameters_have_one_hash() -> None:
    assert hash(parsed(DEFAULTS)) == hash(parsed(copy.deepcopy(DEFAULTS)))
    other = copy.deepcopy(DEFAULTS)
    other["search"]["space"]["train"]["lr"]["high"] = 0.5
    assert hash(parsed(other)) != hash(parsed(DEFAULTS))


def test_parameters_are_frozen() -> None:
    params = parsed(DEFAULTS)
    for section in Params.model_fields:
        model = getattr(params, section)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, next(iter(type(model).model_fields)), 1)
    with pytest.raises(ValidationError, match="frozen"):
        params.train = params.train


@given(
    azimuth=st.floats(0.01, 89.0),
    elevation=st.floats(0.01, 89.0),
    reach=st.floats(0.15, 20.0),
)
def test_no_accepted_source_stands_at_the_surface(azimuth: float, elevation: float, reach: float) -> None:
    """Whatever is accepted keeps its nearest corner, r cos(phi) cos(theta), beyond lambda / (2 pi)."""
    values = changed(
        ("sources.azimuth_deg", [-azimuth, azimuth]),
        ("sources.elevation_deg", [-elevation, elevation]),
        ("sources.range_m", [reach, reach + 1.0]),
    )
    height = reach * math.cos(math.radians(azimuth)) * math.cos(math.radians(elevation))
    if height > 0.3 / (2.0 * math.pi) * (1.0 + 1e-9):
        assert parsed(values).sources.closest_height_m() == pytest.approx(height)
    elif height < 0.3 / (2.0 * math.pi) * (1.0 - 1e-9):
        assert "lambda / (2 pi)" in refusal(values)


@given(scene=st.integers(0, 1499))
def test_strata_number_the_scenes_in_their_order(scene: int) -> None:
    split = parsed(DEFAULTS).simulate.split("test_independent")
    sizes = [stratum.n_scenes for stratum in split.strata.values()]
    assert split.n_scenes == sum(sizes)
    if scene >= split.n_scenes:
        with pytest.raises(IndexError, match=shows(f"scene {scene} ... {split.n_scenes} scenes")):
            split.stratum_of(scene)
        return
    expected = next(i for i in range(len(sizes)) if scene < sum(sizes[: i + 1]))
    assert split.stratum_of(scene) is list(split.strata.values())[expected]


def test_strata_stand_in_the_order_of_their_names_wherever_they_are_written() -> None:
    """To DVC, and to the digests of resumable work, a mapping has no order."""
    name = "simulate.test_independent.strata"
    written = at(DEFAULTS, tuple(name.split(".")))
    assert list(written) == sorted(written)
    backwards = parsed(changed((name, dict(reversed(written.items())))))
    assert backwards == parsed(DEFAULTS)
    assert list(backwards.simulate.test_independent.strata) == list(written)


@pytest.mark.parametrize("name", ["", "K1", "1", "a.b", "a b", "-a", "a=1"])
def test_the_name_of_a_stratum_is_one_word_of_an_override(name: str) -> None:
    stratum = DEFAULTS["simulate"]["train"]["strata"]["mixed"]
    assert "simulate.train.strata" in refusal(changed(("simulate.train.strata", {name: stratum})))


def test_every_split_is_reached_by_its_name() -> None:
    simulate = parsed(DEFAULTS).simulate
    for name in SPLITS:
        assert simulate.split(name) is getattr(simulate, name)


def test_a_copy_is_validated_again() -> None:
    """`model_copy(update=...)` skips validation, so edits go through model_validate of the whole section."""
    sources = parsed(DEFAULTS).sources
    edited = {**sources.model_dump(), "range_m": (10.0, 0.5)}
    with pytest.raises(ValidationError, match=shows("range_m ... [lowest, highest], got [10.0, 0.5]")):
        Sources.model_validate(edited)


REPEATS_AND_SYMMETRY: list[tuple[str, list[tuple[str, Any]], str]] = [
    ("an estimator twice", [("evaluate.estimators", ["music", "music"])], "estimators"),
    ("refine twice", [("evaluate.refine", [True, True])], "refine"),
    ("flips of an asymmetric azimuth", [("sources.azimuth_deg", [0.0, 60.0])], "flips"),
    ("flips of an asymmetric elevation", [("sources.elevation_deg", [-30.0, 20.0])], "flips"),
    ("a grid axis of no extent", [("sources.range_m", [3.0, 3.0])], "range_m"),
]


@pytest.mark.parametrize(
    ("edits", "name"), [law[1:] for law in REPEATS_AND_SYMMETRY], ids=[law[0] for law in REPEATS_AND_SYMMETRY]
)
def test_repeats_and_broken_symmetry_are_refused(edits: list[tuple[str, Any]], name: str) -> None:
    """Rows counted twice, mirrored scenes outside the ranges, planes that coincide."""
    assert name in refusal(changed(*edits))


def test_asymmetric_ranges_are_allowed_without_flips() -> None:
    params = parsed(changed(("sources.azimuth_deg", [0.0, 60.0]), ("train.flips", False)))
    assert params.sources.azimuth_deg == (0.0, 60.0)
