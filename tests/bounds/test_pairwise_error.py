"""The error of telling two places apart: laws, limit, definition, and the test itself on drawn snapshots."""

import math

import pytest
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.bounds.local_information import survey
from risolve.bounds.pairings import lattice, places
from risolve.bounds.pairwise_error import minimum_error, pair_geometry
from risolve.physics.scenario import System
from tests import tolerances
from tests.bounds.ziv_zakai_cases import PRIOR, gaussian, responses, systems
from tests.oracles import ziv_zakai as oracle
from tests.worlds import DEFAULT, SMALL, WIDE

DELTAS = ((0.01, 0.0, 0.0), (0.05, 0.01, 0.0), (0.0, 0.0, 0.1), (0.5, 0.2, 0.0))


def pairs(
    system: System, delta: tuple[float, float, float], n_scenes: int = 4
) -> tuple[Complex[Tensor, "scene snapshot antenna"], Complex[Tensor, "scene snapshot antenna"]]:
    """Responses to a place in each scene and to another place."""
    observation = systems(system, n_scenes)
    first = places(lattice(n_scenes, 1, torch.Generator().manual_seed(2)), PRIOR)
    both = torch.cat((first, first + torch.tensor(delta, dtype=torch.float64)), dim=1)
    one, other = responses(observation, both).unbind(1)
    return one, other


def error(first: Tensor, second: Tensor, power_ratio: float) -> Float[Tensor, " scene"]:
    return minimum_error(
        pair_geometry(first, second), torch.full((first.shape[0], 1), power_ratio, dtype=torch.float64)
    )


def ratio_at(snr_db: float, first: Tensor) -> float:
    """p / sigma^2 of a mean SNR."""
    return 10.0 ** (snr_db / 10.0) / float(first.abs().square().mean())


@pytest.mark.parametrize("delta", DELTAS)
def test_the_error_falls_with_the_power_from_one_half(delta: tuple[float, float, float]) -> None:
    first, second = pairs(DEFAULT, delta)
    found = torch.stack([error(first, second, ratio_at(db, first)) for db in range(-80, 41, 5)])
    torch.testing.assert_close(found[0], torch.full_like(found[0], 0.5), rtol=0.0, atol=1e-5)
    assert bool((found.diff(dim=0) <= 0.0).all()) and bool((found >= 0.0).all()) and found.max() <= 0.5


@pytest.mark.parametrize("system", [SMALL, WIDE, DEFAULT], ids=["3x5", "5x8", "12x12"])
def test_the_same_place_twice_is_a_coin(system: System) -> None:
    first, _ = pairs(system, DELTAS[0])
    # |b|^4 - |b^H b|^2 is 0 up to rounding, its root up to 1e-8
    torch.testing.assert_close(
        error(first, first, ratio_at(20.0, first)),
        torch.full((4,), 0.5, dtype=torch.float64),
        rtol=0.0,
        atol=1e-5,
    )


def test_neither_order_nor_phase_nor_scale_matters() -> None:
    first, second = pairs(DEFAULT, DELTAS[1])
    ratio = ratio_at(0.0, first)
    expected = error(first, second, ratio)
    for found in (
        error(second, first, ratio),
        error(first * torch.exp(torch.tensor(1.0j, dtype=torch.complex128)), second, ratio),
        error(first * 1e-6, second * 1e-6, ratio * 1e12),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0.0)


def test_every_snapshot_lowers_the_error() -> None:
    first, second = pairs(DEFAULT, DELTAS[1])
    found = torch.stack([error(first[:, :n], second[:, :n], ratio_at(0.0, first)) for n in range(1, 17)])
    assert bool((found.diff(dim=0) < 0.0).all())


def test_between_close_places_the_error_is_that_of_the_fisher_information() -> None:
    """mu'' -> h^2 d^T F d: 1/2 - P tends to h sqrt(d^T F d) / (2 sqrt(2 pi)), and their gap to 0."""
    observation = systems(DEFAULT, 4)
    drawn = places(lattice(4, 1, torch.Generator().manual_seed(2)), PRIOR)
    statistics, _ = survey(observation.to(torch.complex128), drawn)
    ratio = ratio_at(10.0, responses(observation, drawn))
    direction = torch.tensor((1.0, -0.7, 0.5), dtype=torch.float64)
    information = statistics.information(torch.full((4,), ratio, dtype=torch.float64))[:, 0]
    slope = torch.sqrt(direction @ information @ direction) / (2.0 * math.sqrt(2.0 * math.pi))
    gaps = []
    for shift in (1e-4, 2e-5):
        first, second = (responses(observation, drawn + t * direction)[:, 0] for t in (-shift / 2, shift / 2))
        gaps.append(((0.5 - error(first, second, ratio)) / (shift * slope) - 1.0).abs())
    assert float(gaps[0].max()) < 3e-2 and float(gaps[1].max()) < float(gaps[0].max()) / 3.0


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0])
@pytest.mark.parametrize("system", [SMALL, WIDE], ids=["3x5", "5x8"])
def test_the_plane_of_two_responses_stands_for_the_covariances(system: System, snr_db: float) -> None:
    for delta in DELTAS:
        first, second = pairs(system, delta)
        ratio = ratio_at(snr_db, first)
        found = error(first, second, ratio)
        for scene in range(4):
            expected = oracle.minimum_error(first[scene].numpy(), second[scene].numpy(), 3.0 * ratio, 3.0)
            assert float(found[scene]) == pytest.approx(expected, rel=1e-9)


def likelihood_ratio_errors(
    first: Complex[Tensor, "snapshot antenna"],
    second: Complex[Tensor, "snapshot antenna"],
    power_ratio: float,
    n_draws: int,
    generator: torch.Generator,
) -> int:
    """Wrong decisions of the likelihood-ratio test among n draws of each hypothesis, sigma^2 = 1.

    ln p(y) = sum_l q |b_l^H y_l|^2 / (1 + q |b_l|^2) - ln(1 + q |b_l|^2) + a term without b
    """
    wrong = 0
    for truth in (first, second):
        amplitudes = gaussian((n_draws, len(first), 1), generator)
        y = math.sqrt(power_ratio) * amplitudes * truth + gaussian((n_draws, *first.shape), generator)
        likelihoods = []
        for b in (first, second):
            loaded = 1.0 + power_ratio * b.abs().square().sum(-1)
            matched = (y * b.conj()).sum(-1).abs().square()
            likelihoods.append((power_ratio * matched / loaded - loaded.log()).sum(-1))
        favours_second = likelihoods[1] > likelihoods[0]
        wrong += int((favours_second if truth is first else ~favours_second).sum())
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [-15.0, -10.0, -5.0, 0.0])
@pytest.mark.parametrize("system", [SMALL, WIDE, DEFAULT], ids=["3x5", "5x8", "12x12"])
def test_the_likelihood_ratio_test_errs_as_often(system: System, snr_db: float) -> None:
    """Within 6 % where P > 0.03; from 0.001 on between half and once the approximation."""
    generator = torch.Generator().manual_seed(5)
    n_draws = 8_000
    for delta in DELTAS:
        first, second = pairs(system, delta)
        ratio = ratio_at(snr_db, first)
        expected = error(first, second, ratio).tolist()
        for scene, approximate in enumerate(expected):
            wrong = likelihood_ratio_errors(first[scene], second[scene], ratio, n_draws, generator)
            measured = wrong / (2 * n_draws)
            spread = tolerances.SIGMAS * math.sqrt(measured * (1.0 - measured) / (2 * n_draws))
            if measured > 0.03:
                assert abs(approximate - measured) < 0.06 * measured + spread
            elif measured > 0.001:
                assert 0.9 * measured - spread < approximate < 2.0 * measured + spread
