"""What is found of an array: the errors that were planted, their deviations, and what is not told."""

import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from risolve.calibration.fit import ArrayFit, fit_array, places_covariance
from risolve.calibration.information import Placed, expanded
from risolve.calibration.unknowns import Priors
from risolve.physics.array import linear
from risolve.physics.observation import SourceModel, respond
from tests import tolerances
from tests.calibration.worlds import LOG_GAIN, NO_PRIORS, PHASE, World, generator, normal, world
from tests.messages import shows

ITERATIONS = 60
POSITIONS = Priors(None, None, 0.005)
SMALL_GAINS = Priors(LOG_GAIN, PHASE, None)
OF_TRUTH = ("truth_azimuth", "truth_elevation", "truth_range", "truth_scale")
ALL = ("gains", "antenna_phases", "antenna_gains", "positions", "heading")


def normalized(found: ArrayFit, made: World) -> Float[Tensor, " told"]:
    """Errors of theta over the root of its covariance, where it is told: N(0, I) if all is right.

    Phases are counted from the first of their kind, within half a turn.
    """
    error = found.theta - made.theta
    for name, part in found.unknowns.parts.items():
        if name in ("gains", "antenna_phases"):
            n_phases = (part.stop - part.start) // (2 if name == "gains" else 1)
            phases = error[part][-n_phases:]
            phases[:] = torch.remainder(phases - phases[0].clone() + math.pi, 2.0 * math.pi) - math.pi
    values, vectors = torch.linalg.eigh(found.covariance)
    told = values > 1e-9 * values.amax()
    return (error @ vectors)[told] / values[told].sqrt()


def assert_as_stated(squares: Float[Tensor, " number"]) -> None:
    """Mean square 1 within 5 standard errors sqrt(2 / n), and a quarter for what is not linear."""
    n = len(squares)
    assert abs(float(squares.mean()) - 1.0) < tolerances.SIGMAS * (2.0 / n) ** 0.5 + 0.25


CASES: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "gains": (("gains",), {"n_antennas": None}),
    "gains of two sources": (("gains",), {"n_antennas": None, "n_sources": 2, "n_scenes": 24}),
    "positions": (("positions",), {"n_antennas": None, "priors": POSITIONS}),
    "heading": (("heading",), {"n_antennas": None}),
    "heading of a base station": (("heading",), {}),
    "antennas": (("antenna_phases", "antenna_gains"), {}),
    "antennas, three constant sources": (
        ("antenna_phases",),
        {"n_sources": 3, "source_model": "constant"},
    ),
    "coupling": (("gains", "coupling"), {"n_antennas": None}),
    "coupling of a surface": (("antenna_phases", "coupling"), {"n_sources": 2, "n_scenes": 24}),
    "truth": (OF_TRUTH, {"n_antennas": None, "nearest": 0.2, "farthest": 1.0, "n_scenes": 24}),
    "truth and array": (
        ("gains", "coupling", "truth_azimuth", "truth_scale"),
        {"n_antennas": None, "nearest": 0.2, "farthest": 1.0, "n_scenes": 30, "snr_db": 20.0},
    ),
    "all": (ALL, {"n_scenes": 30, "priors": POSITIONS, "n_sources": 2}),
    "noise not known": (("gains", "antenna_phases"), {"knows_noise": False, "n_scenes": 30}),
}


@pytest.mark.parametrize("case", CASES)
def test_planted_errors_are_found_with_their_deviations(case: str) -> None:
    names, changes = CASES[case]
    made = world(*names, **changes)  # type: ignore[arg-type]
    found = fit_array([made.placed], made.unknowns, ITERATIONS)
    assert found.converged
    assert found.log_likelihood[1] > found.log_likelihood[0]
    assert found.outlying == ((),)
    assert_as_stated(normalized(found, made).square())


@pytest.mark.parametrize("n_antennas", [None, 4])
def test_blind_scenes_show_the_array_and_their_places(n_antennas: int | None) -> None:
    """Near sources, small errors that are stated: what the blind scenes tell is told with its deviations."""
    made = world("gains", n_antennas=n_antennas, n_scenes=40, snr_db=20.0, priors=SMALL_GAINS, farthest=0.8)
    placed = made.blind(0.02, 4)
    found = fit_array([placed], made.unknowns, ITERATIONS)
    assert found.converged
    assert_as_stated(normalized(found, made).square())
    arrow = expanded(found.placed, made.unknowns, found.theta)
    covariance = places_covariance(arrow.scenes[0], placed.is_free, found.covariance)[4:]
    error = (found.placed[0].sources - made.placed.sources)[4:].flatten(1)
    squares = (error[:, None] @ torch.linalg.solve(covariance, error[..., None]))[:, 0, 0] / 3.0
    assert_as_stated(squares.repeat_interleave(3))
    assert torch.equal(found.placed[0].sources[:4], made.placed.sources[:4])


def test_a_coordinate_that_is_known_stays() -> None:
    made = world("heading", n_antennas=None, snr_db=20.0)
    placed = replace(made.blind(0.01, 0), is_free=torch.tensor([False, True, True]).expand(12, 1, 3))
    placed = replace(placed, sources=torch.where(placed.is_free, placed.sources, made.placed.sources))
    found = fit_array([placed], made.unknowns, ITERATIONS)
    assert torch.equal(found.placed[0].sources[..., 0], made.placed.sources[..., 0])
    assert_as_stated(normalized(found, made).square())


def test_the_unit_of_the_snapshots_and_the_order_of_scenes_change_nothing() -> None:
    made = world("gains", "antenna_phases", n_scenes=20, snr_db=20.0)
    found = fit_array([made.placed], made.unknowns, ITERATIONS)
    seen = made.placed.observation
    assert seen.noise_power is not None
    order = torch.arange(19, -1, -1)
    strong = replace(seen, snapshots=1e-5j * seen.snapshots, noise_power=1e-10 * seen.noise_power)
    parts = [
        Placed(strong.select(rows), made.placed.sources[rows], made.placed.is_free[rows])
        for rows in (order[:7], order[7:])
    ]
    again = fit_array(parts, made.unknowns, ITERATIONS)
    torch.testing.assert_close(again.theta, found.theta, rtol=0.0, atol=1e-4)
    torch.testing.assert_close(again.covariance, found.covariance, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("knows_noise", [True, False])
def test_a_wrong_truth_is_named_and_weighs_little(knows_noise: bool) -> None:
    made = world("gains", n_antennas=None, n_scenes=20, snr_db=20.0, knows_noise=knows_noise)
    sources = made.placed.sources.clone()
    sources[3, 0, 0] += 0.6
    found = fit_array([replace(made.placed, sources=sources)], made.unknowns, ITERATIONS)
    assert found.outlying == ((3,),)
    true = fit_array([made.placed], made.unknowns, ITERATIONS)
    off = (found.theta - true.theta).square().mean().sqrt()
    assert float(off) < 3.0 * float(found.deviations("gains").square().mean().sqrt())


def far_line(*names: str, blind: bool, priors: Priors = NO_PRIORS) -> ArrayFit:
    """A line of 8 elements and plane waves of elevation 0, of which the azimuth is unknown where blind."""
    made = world(
        *names,
        array=linear(8, 0.05, 0.1),
        n_antennas=None,
        n_scenes=20,
        snr_db=20.0,
        nearest=math.inf,
        farthest=math.inf,
        elevation=0.0,
        priors=priors,
    )
    is_free = torch.tensor([blind, False, False]).expand(20, 1, 3)
    return fit_array([replace(made.placed, is_free=is_free)], made.unknowns, ITERATIONS)


COMMON = ("common amplitude", "common phase")
TURN = "linear phase of the gains along x is not told from a movement of all sources"
BY_PRIOR = "told by the stated deviations alone"
PLANTED: list[tuple[tuple[str, ...], bool, Priors, int, tuple[str, ...]]] = [
    (("gains",), False, NO_PRIORS, 2, COMMON),
    (("gains",), True, NO_PRIORS, 3, (*COMMON, TURN)),
    (("heading",), True, NO_PRIORS, 1, ("heading is not told from a movement of all sources",)),
    (
        ("heading", "truth_azimuth"),
        False,
        NO_PRIORS,
        1,
        ("heading and an offset of the azimuths of the truth are not told apart",),
    ),
    (("gains",), True, SMALL_GAINS, 0, (*COMMON, TURN, BY_PRIOR)),
    (("positions", "heading"), False, POSITIONS, 0, ("shift of the array along x", BY_PRIOR)),
    (
        ("positions",),
        True,
        POSITIONS,
        0,
        (
            "turn of the array about y is not told from a movement of all sources",
            "shift of the array along x",
            f"the place along y of elements all: no scene shows it; {BY_PRIOR}",
        ),
    ),
]


@pytest.mark.parametrize(("names", "blind", "priors", "n_lost", "said"), PLANTED)
def test_what_is_not_told_is_named(
    names: tuple[str, ...], blind: bool, priors: Priors, n_lost: int, said: tuple[str, ...]
) -> None:
    found = far_line(*names, blind=blind, priors=priors)
    assert found.null_space.total.shape[1] == n_lost
    words = "\n".join(found.null_space.words)
    assert all(part in words for part in said), words
    # the nominal array along what is not told
    assert float((found.null_space.total.mT @ found.theta).abs().sum()) < 1e-5
    assert_nothing_tells(found)


def assert_nothing_tells(found: ArrayFit) -> None:
    """No deviation along what is lost, and no likelihood, if the places follow; else there is one."""
    total = found.null_space.total
    covariance = total.mT @ found.covariance @ total
    assert not total.numel() or float(covariance.abs().amax()) < 1e-9

    def risen(along: Float[Tensor, " unknown"]) -> float:
        placed = [
            replace(part, sources=part.sources - (told @ along).reshape(part.sources.shape))
            for part, told in zip(found.placed, found.told, strict=True)
        ]
        return expanded(placed, found.unknowns, found.theta + along).value + found.log_likelihood[1]

    step = 1e-3
    other = torch.randn(len(total), generator=generator(5), dtype=torch.float64)
    other = other - total @ (total.mT @ other)
    told = risen(step * other / other.norm()) if total.shape[1] < len(total) else math.inf
    assert all(abs(risen(step * lost)) < 1e-3 * told for lost in total.unbind(1))


def test_heading_and_gains_of_a_surface_are_not_told_apart() -> None:
    made = world(*ALL, n_scenes=30, n_sources=2, priors=POSITIONS)
    found = fit_array([made.placed], made.unknowns, ITERATIONS)
    words = [line for line in found.null_space.words if "heading" in line and "linear phase" in line]
    assert len(words) == 1 and found.null_space.total.shape[1] == 5
    assert_nothing_tells(found)


@pytest.mark.parametrize(
    ("names", "n_scenes", "source_model", "said"),
    [
        (("gains",), 1, "constant", "gains ... 30 numbers ... got 28"),
        (("gains", "antenna_phases"), 3, "constant", "gains, antenna_phases: 34 numbers"),
    ],
)
def test_unknowns_that_are_not_determined_are_refused(
    names: tuple[str, ...], n_scenes: int, source_model: SourceModel, said: str
) -> None:
    surface = 4 if "antenna_phases" in names else None
    made = world(*names, n_antennas=surface, n_scenes=n_scenes, n_snapshots=1, source_model=source_model)
    with pytest.raises(ValueError, match=shows(said)):
        fit_array([made.placed], made.unknowns, ITERATIONS)


def test_what_no_scene_shows_is_named_and_stays_nominal() -> None:
    """Codes leave an element out, and nothing reaches the first antenna."""
    made = world("gains", "antenna_phases", n_scenes=30, snr_db=20.0)
    seen = made.placed.observation
    codes, channel, snapshots = seen.codes.clone(), seen.channel.clone(), seen.snapshots.clone()
    signal = (snapshots - made.signal).clone()
    codes[..., 7], channel[:, 0] = 0.0, 0.0
    dark = replace(seen, codes=codes, channel=channel)
    true = made.true.of(dark)
    amplitudes = normal(generator(6), 30, seen.n_snapshots, 1)
    columns = respond(true, true.array.steering(made.placed.sources).mT)
    snapshots = (columns @ amplitudes[..., None])[..., 0] + signal
    found = fit_array(
        [replace(made.placed, observation=replace(dark, snapshots=snapshots))], made.unknowns, ITERATIONS
    )
    words = "\n".join(found.null_space.words)
    for line in (
        "the amplitude of the gain of elements [7]: no scene shows it; left as in the nominal array",
        "the phase of the gain of elements [7]: no scene shows it",
        "the phase of antennas [0]: no scene shows it",
        "the common amplitude of the gains is not told",
    ):
        assert line in words, words
    parts = made.unknowns.parts
    unseen = found.theta[[7, 22, parts["antenna_phases"].start]]
    assert float(unseen.abs().amax()) < 1e-12
    assert_nothing_tells(found)
    error = found.theta - made.theta
    shown = [number for number in range(15) if number != 7]
    amplitudes_off = error[shown] - error[shown].mean()
    assert float(amplitudes_off.abs().amax()) < 5.0 * float(found.deviations("gains")[shown].amax())


def test_unknowns_that_nothing_tells_are_refused() -> None:
    """No truth states an azimuth, whose offset is looked for."""
    made = world("truth_azimuth", n_antennas=None)
    with pytest.raises(ValueError, match=shows("truth_azimuth ... 12")):
        fit_array([made.blind(0.0, 0)], made.unknowns, ITERATIONS)
