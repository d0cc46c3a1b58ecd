"""The Ziv-Zakai bound: laws, its two limits and what lies between, the definition, estimators, refusals."""

import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.bounds import local_information, ziv_zakai
from risolve.bounds.cramer_rao import conditional_bound, unconditional_bound
from risolve.bounds.local_information import survey
from risolve.bounds.pairings import (
    COMPONENTS,
    lattice,
    places,
    prior_deviations,
    ridge_pairs,
    straight_pairs,
    width,
)
from risolve.bounds.ziv_zakai import ZivZakaiBound, ziv_zakai_bound
from risolve.inference.likelihood import refine
from risolve.physics.observation import Observation
from tests.bounds.ziv_zakai_cases import BOX, PRIOR, bound, gaussian, known, responses, systems
from tests.messages import shows
from tests.oracles import ziv_zakai as oracle
from tests.worlds import DEFAULT, SMALL, WIDE, make_scenes

SWEEP = [float(db) for db in range(-60, 61, 10)]


@pytest.fixture(scope="module")
def sweep() -> ZivZakaiBound:
    return bound(systems(), SWEEP)


# Laws


def test_the_bound_falls_with_the_snr_from_the_prior(sweep: ZivZakaiBound) -> None:
    assert bool((sweep.deviations.diff(dim=0) < 0.0).all())
    assert bool((sweep.deviations <= sweep.prior).all())


def test_more_snapshots_lower_the_bound() -> None:
    observation = systems(WIDE, 4)
    few = replace(observation, snapshots=observation.snapshots[:, :6], codes=observation.codes[:, :6])
    # the mean power of a snapshot differs between the two, by the draw of the codes
    assert bool(
        (bound(few, [-10.0, 0.0, 20.0]).deviations > bound(observation, [-10.5, -0.5, 19.5]).deviations).all()
    )


def test_scale_snapshots_and_noise_of_the_scenes_do_not_matter() -> None:
    observation = systems(WIDE)
    expected = bound(observation, [-10.0, 20.0])
    gained = replace(
        observation.to(torch.complex128),
        channel=observation.channel.to(torch.complex128) * 1e-5j,
        snapshots=torch.zeros_like(observation.snapshots),
        noise_power=None,
    )
    found = bound(gained, [-10.0, 20.0])
    torch.testing.assert_close(found.deviations, expected.deviations, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(found.expected, expected.expected, rtol=1e-9, atol=0.0)


def test_shared_channel_and_codes_are_the_same_in_every_scene() -> None:
    system = replace(WIDE, codebook="dft2d")
    shared = make_scenes(system, 1, 10.0, 3, distribution=PRIOR, shared_channel=True).observation
    assert shared.channel.shape[0] == shared.codes.shape[0] == 1
    repeated = replace(shared, channel=shared.channel.expand(3, -1, -1), codes=shared.codes.expand(3, -1, -1))
    found, expected = bound(shared, [0.0]), bound(repeated, [0.0])
    torch.testing.assert_close(found.deviations, expected.deviations, rtol=1e-9, atol=0.0)


def test_small_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    observation = systems(WIDE)
    expected = bound(observation, [-10.0, 20.0], n_draws=3)
    monkeypatch.setattr(local_information, "CHUNK_BYTES", 1)
    found = bound(observation, [-10.0, 20.0], n_draws=3)
    torch.testing.assert_close(found.deviations, expected.deviations, rtol=1e-9, atol=0.0)


def test_no_component_of_a_pair_is_out_of_its_prior() -> None:
    """Places and pairs differ by h in their component and stay in the box; weights are shares."""
    cube = lattice(2, 50, torch.Generator().manual_seed(1))
    drawn = places(cube, PRIOR)
    _, ridge = survey(systems(WIDE, 2).to(torch.complex128), drawn)
    for component, name in enumerate(COMPONENTS):
        shifts = width(PRIOR, component) * torch.tensor([1e-3, 0.1, 0.7], dtype=torch.float64)
        for pairs in (
            straight_pairs(cube, PRIOR, component, shifts),
            ridge_pairs(drawn, ridge, PRIOR, component, shifts),
        ):
            taken = pairs.weight > 0.0
            assert bool(taken.any()) and float(pairs.weight.max()) <= 1.0
            ends = []
            for place in (pairs.first.expand_as(pairs.second), pairs.second):
                values = torch.cat((place, 1.0 / place[..., 2:]), dim=-1)
                ends.append(values[..., component])
                for axis in range(4):
                    low, high = (*oracle.limits(BOX, axis),)
                    inside = (values[..., axis] > low - 1e-9) & (values[..., axis] < high + 1e-9)
                    assert bool(inside[taken].all()), f"{name}: {COMPONENTS[axis]}"
            difference = (ends[1] - ends[0])[taken]
            torch.testing.assert_close(
                difference, shifts.expand_as(taken)[taken], rtol=1e-9, atol=1e-12, msg=name
            )


# Limits


def test_the_integral_has_closed_forms_and_fills_valleys() -> None:
    """f = 1/2 up to T gives T^2 / 4, with a valley too; f = Q(h / 2 sigma) gives sigma^2."""
    largest, sigma = 2.0, 1e-3
    shifts, weights = ziv_zakai._nodes(0.05 * sigma, largest)
    half = torch.full((len(shifts), 1), 0.5, dtype=torch.float64)
    valley = torch.where((shifts > 0.01) & (shifts < 1.0), 0.0, 0.5)[:, None].double()
    for error in (half, valley):
        # nodes are rounded to 1e-11; the piece below the first one is 6e-10
        found = float(ziv_zakai._integral(error, shifts, weights))
        assert found == pytest.approx(largest**2 / 4.0, rel=1e-10)
    gaussian_error = 0.5 * torch.erfc(shifts / (2.0 * math.sqrt(2.0) * sigma))[:, None]
    found = float(ziv_zakai._integral(gaussian_error, shifts, weights))
    # the piece below the first node is a lower bound, 4 % of 0.06 % too low
    assert found == pytest.approx(sigma**2, rel=1e-4)


def test_without_signal_the_bound_is_the_prior(sweep: ZivZakaiBound) -> None:
    """Standard deviations to some sqrt(SNR); of the falling density of w, sqrt(E (w - w_min)^2 / 4).

    The last with the ridge, whose share of the prior is a mean over 24 draws.
    """
    near, far = PRIOR.range
    inverse = torch.tensor((near, far), dtype=torch.float64).reciprocal()
    first = math.log(far / near) / (far - near)
    excess = 1.0 / (near * far) - 2.0 * float(inverse[1]) * first + float(inverse[1]) ** 2
    expected = sweep.prior.clone()
    expected[2] = math.sqrt(excess / 4.0)
    torch.testing.assert_close(sweep.deviations[0, [0, 1, 3]], expected[[0, 1, 3]], rtol=1e-3, atol=0.0)
    torch.testing.assert_close(sweep.deviations[0, 2], expected[2], rtol=1e-2, atol=0.0)


def test_the_deviations_of_the_prior_are_those_of_its_places() -> None:
    n_draws = 50_000
    drawn = places(lattice(1, n_draws, torch.Generator().manual_seed(1)), PRIOR)[0]
    values = torch.cat((drawn, 1.0 / drawn[:, 2:]), dim=1)
    # a lattice errs by about 1/n, far below the 1/sqrt(n) of independent draws
    torch.testing.assert_close(values.std(0), prior_deviations(PRIOR), rtol=1e-3, atol=0.0)


def drawn_places(observation: Observation, n_draws: int, seed: int) -> Float[Tensor, "scene draw 3"]:
    """The places that `bound` takes."""
    return places(lattice(observation.n_scenes, n_draws, torch.Generator().manual_seed(seed)), PRIOR)


def noise_powers(observation: Observation, drawn: Float[Tensor, "scene draw 3"], snr_db: float) -> Tensor:
    """sigma^2 of each scene for p = 1."""
    return responses(observation, drawn).abs().square().mean((1, 2, 3)) / 10.0 ** (snr_db / 10.0)


def with_range(variances: Float[Tensor, "*batch 3"], drawn: Float[Tensor, "*batch 3"]) -> Tensor:
    return torch.cat((variances, variances[..., 2:] / drawn[..., 2:].pow(4)), dim=-1)


def test_for_high_snr_the_bound_is_the_information_along_the_ridge_of_random_amplitudes(
    sweep: ZivZakaiBound,
) -> None:
    """E 1 / (d^T F(s) d), above the unconditional bound and below the mean conditional one."""
    observation = systems()
    n_draws, n_amplitudes, snr_db = 8, 50, SWEEP[-1]
    drawn = drawn_places(observation, n_draws, 1)
    noise_power = noise_powers(observation, drawn, snr_db).repeat_interleave(n_draws)
    each = observation.select(torch.arange(3).repeat_interleave(n_draws))
    _, ridge = survey(observation.to(torch.complex128), drawn)
    directions = ridge.direction[:, :, :3].flatten(0, 1)
    generator = torch.Generator().manual_seed(3)
    along, conditional = [], []
    for _ in range(n_amplitudes):
        amplitudes = gaussian((3 * n_draws, observation.n_snapshots, 1), generator)
        found = conditional_bound(each, drawn.flatten(0, 1)[:, None], amplitudes, noise_power).covariance
        information = torch.linalg.inv(found)
        along.append(1.0 / torch.einsum("bim,bmn,bin->bi", directions, information, directions))
        conditional.append(found.diagonal(dim1=1, dim2=2))
    limit, above = (
        with_range(torch.stack(values).mean(0), drawn.flatten(0, 1)).mean(0).sqrt()
        for values in (along, conditional)
    )
    # a mean over 24 x 50 amplitudes in 16 snapshots errs by 1 %, more where few places weigh most; P by 1 %
    torch.testing.assert_close(sweep.deviations[-1], limit, rtol=0.03, atol=0.0)
    assert bool((sweep.deviations[-1] > sweep.expected[-1]).all())
    assert bool((sweep.deviations[-1] < 1.1 * sweep.expected[-1]).all())
    assert bool((sweep.deviations[-1] < above).all())


def test_the_expected_bound_is_the_unconditional_one_of_known_powers() -> None:
    """Not knowing p and sigma^2 raises the unconditional bound, by less than 1 % at 20 dB."""
    observation = systems()
    drawn = drawn_places(observation, 8, 1)
    noise_power = noise_powers(observation, drawn, 20.0)
    each = observation.select(torch.arange(3).repeat_interleave(8))
    sources = drawn.flatten(0, 1)[:, None]
    unknown = unconditional_bound(
        each, sources, torch.ones((24, 1)).double(), noise_power.repeat_interleave(8)
    )
    variances = with_range(unknown.covariance.diagonal(dim1=1, dim2=2), sources[:, 0])
    ratio = variances.mean(0).sqrt() / bound(observation, [20.0]).expected[0]
    assert bool((ratio >= 1.0).all()) and bool((ratio < 1.01).all())


def test_between_the_limits_lies_a_threshold(sweep: ZivZakaiBound) -> None:
    """Angles: the bound leaves the expected one by a factor at -10 dB, is near it at 10 dB and above."""
    ratio = sweep.deviations[:, :2] / sweep.expected[:, :2]
    assert bool((ratio[SWEEP.index(-10.0)] > 2.5).all())
    for snr_db in (10.0, 20.0, 30.0):
        assert bool(((ratio[SWEEP.index(snr_db)] > 0.95) & (ratio[SWEEP.index(snr_db)] < 1.1)).all())
    # a tenfold SNR lowers the bound by more than its root alone
    drop = sweep.deviations[SWEEP.index(-10.0), :2] / sweep.deviations[SWEEP.index(0.0), :2]
    assert bool((drop > 2.0 * math.sqrt(10.0)).all())


# The definition


def test_straight_pairs_are_those_of_the_overlap() -> None:
    cube = lattice(1, 4, torch.Generator().manual_seed(1))
    for component in range(4):
        shifts = width(PRIOR, component) * torch.tensor([0.01, 0.3, 0.9], dtype=torch.float64)
        weight = straight_pairs(cube, PRIOR, component, shifts).weight[0, 0]
        for found, shift in zip(weight.tolist(), shifts.tolist(), strict=True):
            assert found == pytest.approx(oracle.overlap(BOX, component, shift), abs=2e-4)


@pytest.mark.parametrize("component", range(4), ids=COMPONENTS)
def test_the_ridge_and_its_jacobian_are_those_of_the_map(component: int) -> None:
    observation = systems(WIDE, 1)
    drawn = drawn_places(observation, 4, 1)
    _, ridge = survey(observation.to(torch.complex128), drawn)
    shifts = width(PRIOR, component) * torch.tensor([1e-4, 0.01, 0.05], dtype=torch.float64)
    pairs = ridge_pairs(drawn, ridge, PRIOR, component, shifts)
    scene = known(observation, 0)
    spreads = [oracle.covariance(scene, x, min(component, 2)).diagonal() for x in drawn[0].numpy()]
    scale = sum(spreads) / len(spreads)
    n_taken = 0
    for draw, x in enumerate(drawn[0].numpy()):
        place = x.copy()
        if component == 3:
            place[2] = 1.0 / x[2]
        for node, shift in enumerate(shifts.tolist()):
            moved, weight = oracle.ridge_pair(scene, BOX, place, component, shift, scale**0.5)
            assert float(pairs.weight[0, draw, node]) == pytest.approx(weight, rel=1e-3, abs=1e-6)
            if weight > 0.0:
                n_taken += 1
                if component == 3:
                    moved[2] = 1.0 / moved[2]
                torch.testing.assert_close(
                    pairs.second[0, draw, node], torch.from_numpy(moved), rtol=1e-7, atol=1e-9
                )
    assert n_taken >= 6


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [-20.0, 10.0, 30.0])
@pytest.mark.parametrize("component", range(4), ids=COMPONENTS)
def test_the_bound_is_the_integral(component: int, snr_db: float) -> None:
    """The trapezoidal rule on 120 shifts errs by 1 %, a jump of a mean over 6 draws by as much."""
    observation = systems(SMALL, 2)
    cube = lattice(2, 3, torch.Generator().manual_seed(1)).numpy()
    expected = oracle.mean_square(
        [known(observation, scene) for scene in range(2)], BOX, cube, component, 10 ** (snr_db / 10), 120
    )
    found = float(bound(observation, [snr_db], n_draws=3).deviations[0, component])
    assert found == pytest.approx(math.sqrt(expected), rel=0.03)


# Estimators


def received_snapshots(
    observation: Observation, drawn: Float[Tensor, "scene draw 3"], snr_db: float, generator: torch.Generator
) -> tuple[Complex[Tensor, "scene draw snapshot antenna"], Tensor]:
    """y_l = b_l s_l + n_l at p = 1, and sigma^2 of each scene."""
    b = responses(observation, drawn)
    noise_power = b.abs().square().mean((1, 2, 3)) / 10.0 ** (snr_db / 10.0)
    amplitudes = gaussian((*b.shape[:-1], 1), generator)
    noise = noise_power.sqrt()[:, None, None, None] * gaussian(tuple(b.shape), generator)
    return amplitudes * b + noise, noise_power


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [20.0, 30.0])
def test_maximum_likelihood_from_the_truth_stays_above_the_bound_and_near_it(snr_db: float) -> None:
    """Mean conditional bound or thereabouts: 4 % above; a starting point at the truth can only help."""
    observation = systems(DEFAULT, 8)
    n_draws = 64
    drawn = drawn_places(observation, n_draws, 1)
    snapshots, noise_power = received_snapshots(observation, drawn, snr_db, torch.Generator().manual_seed(4))
    each = replace(
        observation.select(torch.arange(8).repeat_interleave(n_draws)),
        snapshots=snapshots.flatten(0, 1),
        noise_power=noise_power.repeat_interleave(n_draws),
    )
    truth = drawn.flatten(0, 1)
    found = refine(each, truth[:, None], 40)
    assert bool(found.converged.all())
    squared = (found.sources[:, 0] - truth).square()
    limit = bound(observation, [snr_db], n_draws=n_draws).deviations[0, :3].square()
    error = squared.std(0) / math.sqrt(len(squared))
    assert bool((squared.mean(0) + 3.0 * error > limit).all())
    assert bool((squared.mean(0) - 3.0 * error < 1.2 * limit).all())


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [-15.0, -10.0, -5.0])
def test_the_posterior_mean_stays_above_the_bound(snr_db: float) -> None:
    """The estimator of least mean square error, on 4,000 places of the prior: coarse only above the bound."""
    observation = systems(DEFAULT, 3)
    generator = torch.Generator().manual_seed(6)
    grid = places(lattice(3, 4_000, generator), PRIOR)
    truth = places(lattice(3, 100, generator), PRIOR)
    snapshots, noise_power = received_snapshots(observation, truth, snr_db, generator)
    squared = []
    for scene in range(3):
        b = responses(observation.select(slice(scene, scene + 1)), grid[scene : scene + 1])[0]
        q = 1.0 / float(noise_power[scene])
        likelihood = torch.zeros((100, 4_000), dtype=torch.float64)
        for snapshot in range(observation.n_snapshots):
            loaded = 1.0 + q * b[:, snapshot].abs().square().sum(-1)
            matched = (snapshots[scene, :, snapshot] @ b[:, snapshot].mH).abs().square()
            likelihood += q**2 * matched / loaded - loaded.log()
        values = torch.cat((grid[scene], 1.0 / grid[scene][:, 2:]), dim=1)
        true_values = torch.cat((truth[scene], 1.0 / truth[scene][:, 2:]), dim=1)
        squared.append((torch.softmax(likelihood, dim=1) @ values - true_values).square())
    everything = torch.cat(squared)
    limit = bound(observation, [snr_db], n_draws=64).deviations[0].square()
    error = everything.std(0) / math.sqrt(len(everything))
    assert bool((everything.mean(0) + 3.0 * error > limit).all())


# What has no bound


def test_what_has_no_bound_is_refused() -> None:
    observation, generator = systems(WIDE), torch.Generator().manual_seed(1)
    one = torch.ones(1, dtype=torch.float64)
    constant = replace(observation, source_model="constant")
    with pytest.raises(ValueError, match=shows("`independent` ... `constant`")):
        ziv_zakai_bound(constant, PRIOR, one, 4, generator)
    with pytest.raises(ValueError, match=shows("path loss")):
        ziv_zakai_bound(observation, replace(PRIOR, path_loss=True), one, 4, generator)
    with pytest.raises(ValueError, match=shows("1 draw ... got 0")):
        ziv_zakai_bound(observation, PRIOR, one, 0, generator)
    with pytest.raises(ValueError, match=shows("elevation ... 0")):
        ziv_zakai_bound(observation, replace(PRIOR, elevation=(0.1, 0.1)), one, 4, generator)
    for snr in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=shows(f"SNR ... got [{snr}]")):
            ziv_zakai_bound(observation, PRIOR, snr * one, 4, generator)


def test_a_line_of_elements_has_no_bound_on_three_coordinates() -> None:
    line = systems(replace(WIDE, n_horizontal=20, n_vertical=1))
    with pytest.raises(ValueError, match=shows("eigenvalue ... scenes [0, 1, 2] ... 1e-12")):
        bound(line, [0.0])


def test_one_antenna_does_not_tell_a_place() -> None:
    """I - P_b leaves nothing of a snapshot whose amplitude is free."""
    with pytest.raises(ValueError, match=shows("eigenvalue ... scenes [0, 1, 2] ... 1e-12")):
        bound(systems(replace(SMALL, n_antennas=1)), [0.0])
