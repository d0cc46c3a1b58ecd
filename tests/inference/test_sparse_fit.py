"""The sparse covariance fit against its loop-by-loop oracle, with and without mirrors; its invariances."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from risolve.inference import mirror, sparse_fit
from risolve.inference.grid import Grid, grid_steering, search_grid
from risolve.inference.mirror import mirror_fold
from risolve.inference.sparse_fit import sparse_fit_maps, sparse_fit_quotient
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import System
from tests.messages import shows
from tests.oracles import sparse_fit as oracle
from tests.tolerances import SCALE, SINGLE
from tests.worlds import (
    DEFAULT,
    FIELD_OF_VIEW,
    SMALL,
    WIDE,
    direct_array,
    make_observation,
    make_scenes,
    scaled,
)

SINGLE_FIT = 2e-4
"""Relative to the largest value: float32 factorizations of S_l, of condition up to 1e3, three times over."""

LONG = replace(SMALL, n_snapshots=9)
"""L M = 18 rows of the stacked B, more than N = 15 elements; SMALL has 14."""

MODELS: tuple[SourceModel, ...] = ("independent", "constant")


def grid_of(n_u: int = 5, n_v: int = 4, n_w: int = 2) -> Grid:
    return search_grid(n_u, n_v, n_w, FIELD_OF_VIEW.azimuth, FIELD_OF_VIEW.elevation, FIELD_OF_VIEW.range)


def columns_of(observation: Observation, grid: Grid) -> Tensor:
    return grid_steering(grid, observation.array)


def assert_equals_oracle(observation: Observation, steering: Tensor, iterations: tuple[int, ...]) -> None:
    maps = sparse_fit_maps(observation, steering, iterations)
    assert maps.dtype == torch.float32
    assert observation.noise_power is not None
    for scene in range(observation.n_scenes):
        expected = oracle.maps(
            observation.channel[min(scene, len(observation.channel) - 1)].numpy().astype(complex),
            observation.codes[min(scene, len(observation.codes) - 1)].numpy().astype(complex),
            observation.snapshots[scene].numpy().astype(complex),
            steering.numpy().astype(complex),
            float(observation.noise_power[scene]),
            observation.source_model,
            iterations,
        )
        for found, wanted in zip(maps[scene].numpy(), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=SINGLE_FIT, atol=SINGLE_FIT * wanted.max())


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("system", [SMALL, LONG, WIDE], ids=["3x5", "3x5 longer", "5x8"])
@pytest.mark.parametrize("snr_db", [-5.0, 15.0])
def test_equals_the_oracle(source_model: SourceModel, system: System, snr_db: float) -> None:
    observation = make_observation(system, 2, snr_db, 3, source_model)
    assert_equals_oracle(observation, columns_of(observation, grid_of()), (0, 1, 3))


@pytest.mark.parametrize("source_model", MODELS)
def test_equals_the_oracle_for_codes_of_any_modulus(source_model: SourceModel) -> None:
    observation = make_observation(WIDE, 1, 10.0, 2, source_model)
    gains = 0.5 + torch.rand(observation.codes.shape, generator=torch.Generator().manual_seed(1))
    observation = replace(observation, codes=observation.codes * gains)
    assert_equals_oracle(observation, columns_of(observation, grid_of()), (0, 2))


@pytest.mark.parametrize("system", [SMALL, LONG], ids=["3x5", "3x5 longer"])
@pytest.mark.parametrize("source_model", MODELS)
def test_equals_the_oracle_with_channel_and_codes_shared_by_all_scenes(
    source_model: SourceModel, system: System
) -> None:
    scenes = make_scenes(replace(system, codebook="hadamard"), 1, 5.0, 3, source_model, shared_channel=True)
    assert scenes.observation.channel.shape[0] == scenes.observation.codes.shape[0] == 1
    assert_equals_oracle(scenes.observation, columns_of(scenes.observation, grid_of()), (0, 1))


@pytest.mark.parametrize("snr_db", [20.0, 35.0])
def test_first_map_of_constant_sources_at_high_snr_equals_the_oracle(snr_db: float) -> None:
    """One factorization of p_0 B^H B + sigma^2 I, of condition 1e4 and more."""
    observation = make_observation(WIDE, 2, snr_db, 4, "constant")
    assert_equals_oracle(observation, columns_of(observation, grid_of()), (0,))


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("system", [SMALL, LONG, WIDE], ids=["3x5", "3x5 longer", "5x8"])
@pytest.mark.parametrize("n_sources", [0, 2])
def test_the_quotient_at_powers_equals_the_oracle(
    source_model: SourceModel, system: System, n_sources: int
) -> None:
    """At powers of any scale, which c brings to that of the snapshots."""
    observation = make_observation(system, n_sources, 5.0, 3, source_model)
    columns = columns_of(observation, grid_of())
    powers = torch.rand((3, columns.shape[1]), generator=torch.Generator().manual_seed(5)) ** 8
    fold = mirror_fold(columns.to(torch.complex64), observation.array.elements)
    found = sparse_fit_quotient(observation, columns.to(torch.complex64), fold, 1e3 * powers)
    assert found.dtype == torch.float32 and observation.noise_power is not None
    a = columns.numpy().astype(complex)
    for scene in range(3):
        channel, codes, snapshots = (
            values[scene].numpy().astype(complex)
            for values in (observation.channel, observation.codes, observation.snapshots)
        )
        noise = float(observation.noise_power[scene])
        covariance = a * powers[scene].double().numpy() @ a.conj().T
        rows = [channel * code for code in codes]
        seen = np.mean([np.trace(b @ covariance @ b.conj().T).real / len(b) for b in rows])
        level = max(np.mean(np.abs(snapshots) ** 2) - noise, 0.01 * noise) / seen
        pairs = oracle.groups(channel, codes, snapshots, observation.source_model)
        numerator, denominator = oracle.step(pairs, a, level * covariance, noise)
        expected = numerator / denominator
        np.testing.assert_allclose(
            found[scene].numpy(), expected, rtol=SINGLE_FIT, atol=SINGLE_FIT * expected.max()
        )


def test_powers_that_reach_no_antenna_are_refused() -> None:
    observation = make_observation(SMALL, 1, 5.0, 2)
    columns = columns_of(observation, grid_of())
    fold = mirror_fold(columns.to(torch.complex64), observation.array.elements)
    with pytest.raises(ValueError, match=shows("antennas ... [0.0, 0.0]")):
        sparse_fit_quotient(
            observation, columns.to(torch.complex64), fold, torch.zeros((2, columns.shape[1]))
        )


@pytest.mark.parametrize("source_model", MODELS)
def test_a_scene_without_sources_equals_the_oracle(source_model: SourceModel) -> None:
    """Where the power received is below sigma^2 too, p_0 = 0.01 sigma^2 / N."""
    observation = make_observation(WIDE, 0, 0.0, 6, source_model)
    assert observation.noise_power is not None
    received = observation.snapshots.abs().square().mean((1, 2))
    assert (received < observation.noise_power).any()
    assert_equals_oracle(observation, columns_of(observation, grid_of()), (0, 1))


@pytest.mark.parametrize("source_model", MODELS)
def test_equals_the_oracle_for_a_direct_array(source_model: SourceModel) -> None:
    observation = direct_array([(0.3, -0.2, 0.5)], 10.0, 2).observation
    observation = replace(observation, source_model=source_model)
    assert_equals_oracle(observation, columns_of(observation, grid_of()), (0, 2))


@pytest.mark.parametrize(
    ("azimuth", "elevation", "shift", "images"),
    [
        ((-1.0, 1.0), (-0.5, 0.5), 0.0, 4),
        ((-1.0, 1.0), (-0.2, 0.5), 0.0, 2),
        ((-0.7, 1.0), (-0.5, 0.5), 0.0, 2),
        ((-0.7, 1.0), (-0.2, 0.5), 0.0, 1),
        ((-1.0, 1.0), (-0.5, 0.5), 0.01, 1),
    ],
    ids=["both mirrors", "x only", "y only", "no mirror of the grid", "no mirror of the array"],
)
def test_mirrors_are_found_where_they_are_and_change_nothing(
    azimuth: tuple[float, float], elevation: tuple[float, float], shift: float, images: int
) -> None:
    observation = make_observation(WIDE, 2, 10.0, 2)
    moved = observation.array.elements.clone()
    moved[3, :2] += shift
    observation = replace(observation, array=replace(observation.array, elements=moved))
    steering = columns_of(observation, search_grid(4, 5, 2, azimuth, elevation, (0.5, 10.0)))
    assert mirror_fold(steering, moved).n_images == images
    assert_equals_oracle(observation, steering, (0, 2))


def test_two_points_that_only_sort_like_mirror_images_are_not_taken_for_them() -> None:
    """A permutation of two is its own inverse: the columns themselves must be compared."""
    array = SMALL.array()
    steering = grid_steering(search_grid(1, 1, 2, (0.1, 0.3), (0.1, 0.2), (0.5, 10.0)), array)
    assert mirror_fold(steering, array.elements).n_images == 1


def test_grid_of_the_default_parameters_folds_to_a_quarter() -> None:
    array = DEFAULT.array()
    fold = mirror_fold(grid_steering(grid_of(22, 13, 5), array), array.elements)
    assert tuple(fold.elements.shape) == (4, 36)
    assert tuple(fold.points.shape) == (4, 11 * 7 * 5)


def test_forms_and_covariance_are_adjoint() -> None:
    """sum_g p_g a_g^H Q a_g = <Q, sum_g p_g a_g a_g^H>, both from the steering vectors themselves."""
    random = torch.Generator().manual_seed(2)
    array = replace(WIDE, spherical_amplitude=True).array()
    steering = grid_steering(grid_of(5, 5, 2), array)
    fold = mirror_fold(steering, array.elements)
    assert fold.n_images == 4
    root = torch.randn((2, 40, 40), dtype=torch.complex64, generator=random)
    folded = fold.columns(root)
    forms = fold.forms(folded.mH @ folded)
    plain = (root @ steering).abs().square().sum(1)
    torch.testing.assert_close(forms, plain, rtol=SINGLE, atol=SINGLE * float(plain.max()))
    powers = torch.rand((2, steering.shape[1]), generator=random)
    through = folded @ fold.covariance(powers) @ folded.mH
    direct = root @ (steering * powers[:, None, :]) @ steering.mH @ root.mH
    torch.testing.assert_close(through, direct, rtol=SINGLE, atol=SINGLE * float(direct.abs().max()))


@pytest.mark.parametrize("factor", [1e-8, 1e8, 3e-5 + 4e-5j])
@pytest.mark.parametrize("system", [SMALL, LONG], ids=["3x5", "3x5 longer"])
@pytest.mark.parametrize("source_model", MODELS)
def test_scale_changes_nothing(source_model: SourceModel, system: System, factor: complex) -> None:
    observation = make_observation(system, 1, 10.0, 2, source_model)
    steering = columns_of(observation, grid_of())
    maps = sparse_fit_maps(observation, steering, (0, 2))
    again = sparse_fit_maps(scaled(observation, factor), steering, (0, 2))
    torch.testing.assert_close(again, maps, rtol=20 * SCALE, atol=SCALE * float(maps.max()))


@pytest.mark.parametrize(("channel", "codes"), [(1e-4, 1.0), (1e4, 1.0), (1.0, 0.2 - 0.4j), (3e3j, 1e-3)])
@pytest.mark.parametrize("system", [SMALL, LONG], ids=["3x5", "3x5 longer"])
@pytest.mark.parametrize("source_model", MODELS)
def test_factors_of_the_channel_and_of_the_codes_change_nothing(
    source_model: SourceModel, system: System, channel: complex, codes: complex
) -> None:
    """A channel in another unit, or a lossy surface, is made up for by the unknown powers of the sources."""
    observation = make_observation(system, 1, 10.0, 2, source_model)
    steering = columns_of(observation, grid_of())
    maps = sparse_fit_maps(observation, steering, (0, 2))
    other = replace(observation, channel=observation.channel * channel, codes=observation.codes * codes)
    again = sparse_fit_maps(other, steering, (0, 2))
    torch.testing.assert_close(again, maps, rtol=SINGLE, atol=SINGLE * float(maps.max()))


@pytest.mark.parametrize("field", ["channel", "codes"])
def test_a_channel_or_codes_of_zeros_are_refused(field: str) -> None:
    observation = make_observation(SMALL, 1, 10.0, 2)
    silent = replace(observation, **{field: getattr(observation, field) * 0.0})
    law = {"channel": "|H|^2", "codes": "|c|^2"}[field]
    with pytest.raises(ValueError, match=shows(f"{law} ... scenes [0, 1] ... [0.0, 0.0]")):
        sparse_fit_maps(silent, columns_of(observation, grid_of()), (0,))


@pytest.mark.parametrize("source_model", MODELS)
def test_a_scene_does_not_depend_on_its_batch(
    source_model: SourceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on the pieces in which the batch and the tables of the grid are worked on."""
    observation = make_observation(LONG, 1, 10.0, 20, source_model)
    steering = columns_of(observation, grid_of())
    together = sparse_fit_maps(observation, steering, (0, 1))
    largest = float(together.max())
    alone = sparse_fit_maps(observation.select(slice(17, 18)), steering, (0, 1))
    torch.testing.assert_close(alone[0], together[17], rtol=SINGLE, atol=SINGLE * largest)
    monkeypatch.setattr(sparse_fit, "CHUNK_VALUES", 3000)
    monkeypatch.setattr(mirror, "CHUNK_VALUES", 1000)
    in_pieces = sparse_fit_maps(observation, steering, (0, 1))
    torch.testing.assert_close(in_pieces, together, rtol=SINGLE, atol=SINGLE * largest)


@pytest.mark.parametrize("source_model", MODELS)
def test_noise_below_single_precision_enters_as_what_it_resolves(source_model: SourceModel) -> None:
    """Without the least noise, 1e-5 of the diagonal of S, its factorization fails at 120 dB."""
    observation = make_observation(DEFAULT, 1, 120.0, 3, source_model)
    steering = columns_of(observation, grid_of(9, 5, 3))
    assert observation.noise_power is not None
    stated = replace(observation, noise_power=observation.noise_power * 1e6)
    one, other = (sparse_fit_maps(o, steering, (0, 3)) for o in (observation, stated))
    assert one.isfinite().all()
    # S has condition 1e5 then, and float32 keeps two digits of the smaller powers.
    torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3 * float(one.max()))


def test_maps_come_in_the_order_asked_for() -> None:
    observation = make_observation(SMALL, 1, 10.0, 2)
    steering = columns_of(observation, grid_of())
    forward, backward = (sparse_fit_maps(observation, steering, order) for order in ((0, 2), (2, 0)))
    assert torch.equal(forward, backward.flip(1))


@pytest.mark.parametrize("source_model", MODELS)
def test_the_map_peaks_at_a_strong_source_on_the_grid(source_model: SourceModel) -> None:
    grid = grid_of(9, 5, 3)
    place = grid.sources[60]
    scenes = make_scenes(WIDE, 1, 20.0, 4, source_model, sources=[tuple(place.tolist())])
    maps = sparse_fit_maps(scenes.observation, columns_of(scenes.observation, grid), (0, 3))
    assert (maps.argmax(-1) == 60).all()


def test_refuses_what_it_cannot_scale() -> None:
    observation = make_observation(SMALL, 1, 10.0, 3)
    steering = columns_of(observation, grid_of())
    assert observation.noise_power is not None
    silent = observation.snapshots.clone()
    silent[1] = 0.0
    for wrong, law in (
        (replace(observation, noise_power=None), "noise power; ... none"),
        (
            replace(observation, noise_power=observation.noise_power * 0.0),
            "noise power ... scenes [0, 1, 2]",
        ),
        (replace(observation, snapshots=silent), "|y|^2 ... scenes [1]"),
    ):
        with pytest.raises(ValueError, match=shows(law)):
            sparse_fit_maps(wrong, steering, (0,))
    with pytest.raises(ValueError, match=shows("steering ... 15; got 14")):
        sparse_fit_maps(observation, steering[:14], (0,))
    with pytest.raises(ValueError, match=shows("iterations ... >= 0, got [-1, 0]")):
        sparse_fit_maps(observation, steering, (-1, 0))
