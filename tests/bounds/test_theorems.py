"""What holds for any Cramer-Rao bound: order, scaling, invariance."""

import math
from dataclasses import replace

import pytest
import torch

from risolve.bounds import cramer_rao
from tests import tolerances
from tests.bounds.cases import KINDS, Case, case, of_scenes, smallest_eigenvalue
from tests.worlds import DEFAULT, FIELD_OF_VIEW, SPREAD_SOURCES, WIDE, make_scenes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_snapshots", [4, 7, 8])
def test_more_snapshots_lower_the_bound(kind: str, n_snapshots: int) -> None:
    """C(L') - C(L) is positive semidefinite for L' < L: information adds up."""
    full = case(kind)
    few = replace(
        full.observation,
        snapshots=full.observation.snapshots[:, :n_snapshots],
        codes=full.observation.codes[:, :n_snapshots],
    )
    higher = replace(full, observation=few, amplitudes=full.amplitudes[:, :n_snapshots]).bound()
    lower = full.bound()
    assert smallest_eigenvalue(higher.covariance - lower.covariance, higher.covariance) > -1e-9
    assert bool((higher.position_deviation() > lower.position_deviation()).all())


@pytest.mark.parametrize("kind", KINDS)
def test_more_noise_raises_the_bound(kind: str) -> None:
    subject = case(kind)
    lower, higher = subject.bound().covariance, subject.bound(noise_factor=2.0).covariance
    assert smallest_eigenvalue(higher - lower, higher) > -1e-9
    assert smallest_eigenvalue(higher - 1.5 * lower, higher) > 0.0


@pytest.mark.parametrize("kind", ["conditional", "constant"])
@pytest.mark.parametrize("snr_db", [-10.0, 10.0, 60.0])
def test_deviations_fall_as_one_over_the_root_of_the_snr(kind: str, snr_db: float) -> None:
    subject = case(kind)
    snr = 10.0 ** (snr_db / 10.0)
    found = subject.bound(noise_factor=1.0 / snr)
    expected = subject.bound().standard_deviations() / math.sqrt(snr)
    torch.testing.assert_close(found.standard_deviations(), expected, rtol=tolerances.DOUBLE, atol=0.0)


def test_fewer_unknowns_lower_the_bound() -> None:
    """One amplitude known to be the same in all snapshots, against one free in every snapshot."""
    subject = case("constant")
    free, shared = replace(subject, kind="conditional").bound(), subject.bound()
    assert smallest_eigenvalue(free.covariance - shared.covariance, free.covariance) > -1e-9


@pytest.mark.parametrize("kind", ["conditional", "constant"])
def test_another_source_raises_the_bound(kind: str) -> None:
    pair = case(kind, sources=SPREAD_SOURCES[:2])
    together, alone = pair.bound().covariance[:, :3, :3], pair.of_sources([0]).bound().covariance
    assert smallest_eigenvalue(together - alone, together) > -1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_grows_without_limit_as_two_sources_meet(kind: str) -> None:
    deviations = []
    for gap in (0.3, 0.1, 0.03):
        placed = ((-0.2, 0.1, 0.4), (-0.2 + gap, 0.1, 0.4))
        deviations.append(case(kind, DEFAULT, sources=placed).bound().standard_deviations()[..., 0].median())
    assert deviations[0] < deviations[1] < deviations[2]
    assert deviations[2] > 5.0 * deviations[0]


@pytest.mark.parametrize(
    ("n_sources", "snr_db", "departure"), [(1, 0.0, 0.05), (2, 0.0, 0.05), (3, 0.0, 0.05), (5, 0.0, 0.11)]
)
def test_the_unconditional_bound_is_close_to_the_conditional_one(
    n_sources: int, snr_db: float, departure: float
) -> None:
    """Median ratio within 5 % for K <= 3 from 0 dB, 11 % at K = 5; the standard error of a median is
    1.25 s / sqrt(n)."""
    distribution = replace(FIELD_OF_VIEW, max_sources=n_sources)
    scenes = make_scenes(DEFAULT, n_sources, snr_db, 150, distribution=distribution)
    unconditional, conditional = (
        of_scenes(kind, scenes).bound().standard_deviations() for kind in ("unconditional", "conditional")
    )
    logarithm = (unconditional / conditional).log().flatten(0, 1)
    error = 1.25 * logarithm.std(0) / math.sqrt(len(logarithm))
    assert bool((logarithm.median(0).values.abs() < math.log(1.0 + departure) + 3.0 * error).all())
    if n_sources == 5:
        assert bool((logarithm.median(0).values > math.log(1.05)).all())


# Invariances


@pytest.mark.parametrize("kind", KINDS)
def test_sources_in_another_order_permute_the_bound(kind: str) -> None:
    subject = case(kind, n_sources=3, n_scenes=4)
    order = [2, 0, 1]
    found = subject.of_sources(order).bound()
    columns = [3 * source + coordinate for source in order for coordinate in range(3)]
    expected = subject.bound().covariance[:, columns][:, :, columns]
    # cond(F) about 1e3 multiplies the roundings
    torch.testing.assert_close(found.covariance, expected, rtol=1e-8, atol=0.0)
    torch.testing.assert_close(
        found.position_deviation(), subject.bound().position_deviation()[:, order], rtol=1e-9, atol=0.0
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1e-8, 1e8, 3.0])
def test_a_complex_gain_changes_nothing(kind: str, factor: float) -> None:
    subject = case(kind, n_scenes=4)
    gain = factor * complex(math.cos(1.0), math.sin(1.0))
    gained = replace(
        subject,
        amplitudes=subject.amplitudes.to(torch.complex128) * gain,
        power=subject.power * factor**2,
    )
    found, expected = gained.bound(noise_factor=factor**2).covariance, subject.bound().covariance
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_do_not_see_each_other(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch, its scenes one by one, and a batch worked off in small chunks agree."""
    subject = case(kind, n_scenes=5)
    together = subject.bound().covariance
    monkeypatch.setattr(cramer_rao, "CHUNK_BYTES", 1)
    torch.testing.assert_close(subject.bound().covariance, together, rtol=1e-9, atol=0.0)
    for scene in range(5):
        rows = slice(scene, scene + 1)
        alone = Case(
            kind,
            subject.observation.select(rows),
            subject.sources[rows],
            subject.amplitudes[rows],
            subject.power[rows],
        )
        torch.testing.assert_close(alone.bound().covariance, together[rows], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_channel_is_the_same_channel_in_every_scene(kind: str) -> None:
    shared = case(kind, shared_channel=True)
    assert shared.observation.channel.shape[0] == 1
    repeated = replace(shared.observation, channel=shared.observation.channel.expand(6, -1, -1))
    found, expected = shared.bound().covariance, replace(shared, observation=repeated).bound().covariance
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_shared_codes_and_channel(kind: str) -> None:
    shared = case(kind, replace(WIDE, codebook="dft2d"), shared_channel=True)
    observation = shared.observation
    assert observation.codes.shape[0] == observation.channel.shape[0] == 1
    repeated = replace(observation, codes=observation.codes.expand(6, -1, -1))
    found, expected = shared.bound().covariance, replace(shared, observation=repeated).bound().covariance
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_a_covariance_in_double_precision(kind: str) -> None:
    found = case(kind, n_sources=3).bound()
    assert found.covariance.dtype == found.sources.dtype == torch.float64
    torch.testing.assert_close(found.covariance, found.covariance.mT, rtol=1e-9, atol=0.0)
    assert smallest_eigenvalue(found.covariance, found.covariance) > 0.0
