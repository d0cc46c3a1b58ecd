"""The likelihood of the snapshots as a loss: its law, its closed form, its oracle, its gradient."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from risolve.covariance import NormalizedCovariance, SharedBasis, predicted_covariance, true_covariance
from risolve.networks.likelihood_loss import likelihood_loss
from risolve.physics.array import Array
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes
from tests import tolerances
from tests.oracles import likelihood_loss as oracle
from tests.worlds import SMALL, WIDE, make_scenes

MODELS: list[SourceModel] = ["independent", "constant"]


def received_of(scenes: Scenes) -> Observation:
    """What the loss reads of simulated scenes, in double precision."""
    return scenes.observation.to(torch.complex128)


def loss_of(predicted: NormalizedCovariance, received: Observation) -> torch.Tensor:
    """The loss of scenes of one source model."""
    return likelihood_loss(predicted, received, _shared(received))


def _shared(received: Observation) -> torch.Tensor:
    return torch.full((received.n_scenes,), received.source_model == "constant")


def some_covariance(n_scenes: int, n_elements: int, seed: int = 1) -> NormalizedCovariance:
    random = torch.Generator().manual_seed(seed)
    factor = torch.randn((n_scenes, n_elements, 4), dtype=torch.complex128, generator=random)
    return predicted_covariance(factor, torch.ones((n_scenes, 4), dtype=torch.float64))


def covariance_of(scenes: Scenes, turned: float = 0.0) -> NormalizedCovariance:
    """The covariance of the true sources, their azimuths turned (rad)."""
    n_sources = int(scenes.n_sources[0])
    sources = scenes.sources[:, :n_sources] + torch.tensor([turned, 0.0, 0.0])
    waves = scenes.observation.array.steering(sources)
    return true_covariance(waves, scenes.power[:, :n_sources])


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("n_sources", [0, 1])
def test_the_loss_is_that_of_the_oracle(source_model: SourceModel, n_sources: int) -> None:
    """SMALL is not square: 3 x 5 elements, 2 antennas, 7 snapshots; K = 0 has its least power."""
    received = received_of(make_scenes(SMALL, n_sources, 3.0, 4, source_model))
    predicted = some_covariance(4, 15)
    expected = [
        oracle.likelihood_loss(
            predicted.dense()[scene].numpy(),
            received.snapshots[scene].numpy(),
            received.channel[scene].numpy(),
            received.codes[scene].numpy(),
            float(received.noise_power[scene]),
            source_model,
        )
        for scene in range(4)
    ]
    assert loss_of(predicted, received).item() == pytest.approx(np.mean(expected), rel=1e-9)


def test_scenes_of_both_models_are_each_scored_by_their_own() -> None:
    parts = [
        received_of(make_scenes(SMALL, 1, 3.0, n, model)) for n, model in zip((2, 3), MODELS, strict=True)
    ]
    mixed, shared = Observation.joined(parts), torch.cat([_shared(part) for part in parts])
    order = torch.tensor([4, 0, 2, 1, 3])
    predicted = some_covariance(5, 15)
    alone = [
        float(loss_of(predicted.select(slice(first, last)), part)) * (last - first)
        for part, (first, last) in zip(parts, ((0, 2), (2, 5)), strict=True)
    ]
    both = likelihood_loss(predicted.select(order), mixed.select(order), shared[order])
    assert both.item() == pytest.approx(sum(alone) / 5, rel=tolerances.DOUBLE)


@pytest.mark.parametrize("snapshot", [3.0 - 4.0j, 0.1 + 0.0j])
def test_one_antenna_one_snapshot_and_one_element_are_the_closed_form(snapshot: complex) -> None:
    """S = |y|^2, or 1.01 sigma^2 where the snapshot is weaker than the noise."""
    ones = torch.ones((1, 1, 1), dtype=torch.complex128)
    array = Array(torch.zeros((1, 3)), 1.0)
    received = Observation(snapshot * ones, array, 2.0j * ones, -ones, noise_power=2.0)
    energy = abs(snapshot) ** 2 / 2.0
    variance = max(energy, 1.01)
    expected = (math.log(variance) + energy / variance + 1.0) / (1.0 + energy)
    found = loss_of(some_covariance(1, 1), received)
    assert found.item() == pytest.approx(expected, rel=tolerances.DOUBLE)


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("factor", [1e-4, 1e4 * np.exp(0.7j)])
def test_scale_and_global_phase_change_nothing(source_model: SourceModel, factor: complex) -> None:
    received = received_of(make_scenes(WIDE, 2, 5.0, 3, source_model))
    predicted = some_covariance(3, 40)
    other = replace(
        received, snapshots=received.snapshots * factor, noise_power=received.noise_power * abs(factor) ** 2
    )
    expected = loss_of(predicted, received).item()
    assert loss_of(predicted, other).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("turned", [-0.3, 0.3])
def test_the_truth_is_likelier_than_other_places(source_model: SourceModel, turned: float) -> None:
    scenes = make_scenes(WIDE, 1, 5.0, 40, source_model)
    received = received_of(scenes)
    truth, other = (loss_of(covariance_of(scenes, angle), received) for angle in (0.0, turned))
    assert truth.item() < other.item() - 0.05


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("snr_db", [-20.0, 60.0])
def test_a_scene_of_any_snr_has_a_loss_of_the_same_order(source_model: SourceModel, snr_db: float) -> None:
    """Noise alone has 1; what a scene can gain is bounded, so that a strong one does not outweigh others."""
    scenes = make_scenes(WIDE, 1, snr_db, 8, source_model)
    for predicted in (covariance_of(scenes), some_covariance(8, 40)):
        assert 0.0 < loss_of(predicted, received_of(scenes)).item() < 2.0


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("n_sources", [0, 1])
def test_gradient_of_a_power_map_against_finite_differences(
    source_model: SourceModel, n_sources: int
) -> None:
    random = torch.Generator().manual_seed(2)
    basis = SharedBasis(torch.randn((15, 6), dtype=torch.complex128, generator=random))
    received = received_of(make_scenes(SMALL, n_sources, 3.0, 2, source_model))
    logits = torch.randn((2, 6), dtype=torch.float64, generator=random).requires_grad_()

    def loss(z: torch.Tensor) -> torch.Tensor:
        return loss_of(predicted_covariance(basis, z.softmax(-1)), received)

    assert torch.autograd.gradcheck(loss, logits)


@pytest.mark.parametrize("source_model", MODELS)
def test_gradient_of_a_free_factor_against_finite_differences(source_model: SourceModel) -> None:
    random = torch.Generator().manual_seed(3)
    received = received_of(make_scenes(SMALL, 1, 3.0, 2, source_model))
    factor = torch.randn((2, 15, 3), dtype=torch.complex128, generator=random).requires_grad_()

    def loss(f: torch.Tensor) -> torch.Tensor:
        return loss_of(predicted_covariance(f, torch.ones((2, 3), dtype=torch.float64)), received)

    assert torch.autograd.gradcheck(loss, factor)


def test_single_precision_keeps_the_loss() -> None:
    """complex64, as in training, at an SNR whose matrices have a condition of 1e5."""
    received = received_of(make_scenes(WIDE, 2, 30.0, 6))
    single = replace(received.to(torch.complex64), noise_power=received.noise_power)
    random = torch.Generator().manual_seed(5)
    factor = torch.randn((6, 40, 4), dtype=torch.complex128, generator=random)
    powers = torch.ones((6, 4), dtype=torch.float64)
    exact = loss_of(predicted_covariance(factor, powers), received)
    found = loss_of(predicted_covariance(factor.to(torch.complex64), powers.float()), single)
    assert found.item() == pytest.approx(exact.item(), rel=1e-4)
