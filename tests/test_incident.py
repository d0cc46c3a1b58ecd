"""The incident in which the normalization began, replayed: raw amplitudes of any scale in a blend.

Its arithmetic stands here, in the test, and nowhere else: a raw sample covariance is mixed with a predicted
one of norm 65, and the blend is rescaled by N / tr(R_samp) with a floor of 1e-9 under the trace. The log of
the incident read ||R_samp|| 2.85e-4, ||R_blend|| 3.46e12, loss 1.7e25, gradients NaN.
"""

from dataclasses import dataclass

import pytest
import torch
from jaxtyping import Complex
from torch import Tensor

from risolve import covariance
from risolve.amplitudes import ls_amplitudes
from risolve.covariance import NormalizedCovariance, SharedBasis
from risolve.physics.observation import Observation
from tests import tolerances
from tests.worlds import DEFAULT, make_scenes, scaled

BETA, LOADING, RIDGE, FLOOR = 0.3, 1e-3, 1e-3, 1e-9
N_SCENES, N_POINTS, N_FEATURES = 4, 5, 16
SCALES = [1.0, 1e-4, 1e-8]

SCENES = make_scenes(DEFAULT, 2, 10.0, N_SCENES)


def waves(seed: int, n_points: int) -> Complex[Tensor, "element point"]:
    """Steering vectors of random points of the field of view."""
    uniform = torch.rand((n_points, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    low = torch.tensor([-1.0, -0.5, 0.1], dtype=torch.float64)
    high = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    points = low + (high - low) * uniform
    return SCENES.observation.array.steering(points).to(torch.complex64).mT.contiguous()


def target() -> NormalizedCovariance:
    rows = SCENES.observation.array.steering(SCENES.sources[:, :2]).to(torch.complex64)
    return covariance.true_covariance(rows, SCENES.power[:, :2].float())


@dataclass(frozen=True)
class Outcome:
    blend_norm: Tensor
    loss: Tensor
    gradient: Tensor


class Head:
    """Last layer of a network in float16 (mixed precision): features -> powers -> R_pred of rank 5."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(3)
        self.features = torch.randn((N_SCENES, N_FEATURES), generator=random)
        self.weight = (0.1 * torch.randn((N_FEATURES, N_POINTS), generator=random)).requires_grad_()
        self.basis = SharedBasis(waves(4, N_POINTS))

    def predict(self) -> NormalizedCovariance:
        logits = (self.features.half() @ self.weight.half()).float()
        return covariance.predicted_covariance(self.basis, torch.exp(logits))

    def outcome(self, blend_norm: Tensor, loss: Tensor) -> Outcome:
        loss.backward()
        assert self.weight.grad is not None
        return Outcome(blend_norm.detach(), loss.detach(), self.weight.grad)


def as_in_the_incident(observation: Observation, scale: float) -> Outcome:
    """R_samp of raw amplitudes, blended as it is; the blend rescaled by what the sample's trace lacks."""
    head = Head()
    amplitudes = scale * ls_amplitudes(observation, RIDGE)
    centred = amplitudes - amplitudes.mean(1, keepdim=True)
    raw = centred.mT @ centred.conj() / (centred.shape[1] - 1)
    blend = (1.0 - BETA) * head.predict().dense() + BETA * raw
    trace = raw.diagonal(dim1=-2, dim2=-1).real.sum(-1).clamp_min(FLOOR)
    blend = blend * (144 / trace)[:, None, None]
    error = blend - target().dense()
    loss = torch.view_as_real(error).square().sum((1, 2, 3)).mean()
    return head.outcome(torch.linalg.matrix_norm(blend), loss)


def as_in_the_package(observation: Observation) -> Outcome:
    """The same head and snapshots through the normalization."""
    head = Head()
    sample = covariance.sample_covariance(covariance.sample_factor(observation, RIDGE))
    blend = covariance.blend(head.predict(), sample, BETA, LOADING)
    loss = (
        blend.squared_distance(target(), blend.squared_norms()) / target().frobenius_norm().square()
    ).mean()
    return head.outcome(torch.linalg.matrix_norm(blend.dense()), loss)


def test_the_network_alone_is_sound() -> None:
    """A rank-5 head predicts a norm near the 65 of the log: at least 144 / sqrt(5) = 64.4."""
    norm = Head().predict().frobenius_norm()
    assert 64.4 * (1.0 - tolerances.TRACE) <= float(norm.min().detach()) <= float(norm.max().detach()) < 100.0


@pytest.mark.parametrize("scale", [1e-4, 1e-8])
def test_without_normalization_the_blend_explodes(scale: float) -> None:
    """Norms of 1e10 and more, a loss to match, and gradients that are no numbers."""
    outcome = as_in_the_incident(SCENES.observation, scale)
    assert float(outcome.blend_norm.min()) >= 1e10
    assert float(outcome.loss) >= 1e20
    assert bool(outcome.gradient.isnan().any())


def test_without_normalization_the_log_of_the_incident_is_met() -> None:
    """At 1e-8 the floor rules: 144 / 1e-9 times a norm of 24..65 is the 3.46e12 of the log, its square the
    1.7e25.
    """
    outcome = as_in_the_incident(SCENES.observation, 1e-8)
    assert 144 / FLOOR * 24.0 < float(outcome.blend_norm.mean()) < 144 / FLOOR * 65.0
    assert 1e24 < float(outcome.loss) < 1e26


@pytest.mark.parametrize("scale", SCALES)
def test_with_normalization_every_scale_gives_the_same_result(scale: float) -> None:
    """Blend, loss and gradient of scaled snapshots: finite, those of scale 1, and the readings 50..100 and
    1..1000.
    """
    reference = as_in_the_package(SCENES.observation)
    outcome = as_in_the_package(scaled(SCENES.observation, scale))
    assert 50.0 < float(outcome.blend_norm.mean()) < 100.0
    assert 1.0 < float(outcome.loss) < 1000.0
    assert bool(outcome.gradient.isfinite().all()) and bool(outcome.gradient.any())
    torch.testing.assert_close(outcome.blend_norm, reference.blend_norm, rtol=tolerances.SCALE, atol=0.0)
    torch.testing.assert_close(outcome.loss, reference.loss, rtol=tolerances.SCALE, atol=0.0)
    # float16 rounds the gradient of the logits to 11 bits; a change in the last bit of float32 may move that
    # rounding.
    change = (outcome.gradient - reference.gradient).norm() / reference.gradient.norm()
    assert float(change) < 2.0**-10


@pytest.mark.parametrize("exponent", [-26, -13, 20])
def test_with_normalization_a_power_of_two_changes_no_bit(exponent: int) -> None:
    reference = as_in_the_package(SCENES.observation)
    outcome = as_in_the_package(scaled(SCENES.observation, 2.0**exponent))
    assert torch.equal(outcome.blend_norm, reference.blend_norm)
    assert torch.equal(outcome.loss, reference.loss)
    assert torch.equal(outcome.gradient, reference.gradient)


@pytest.mark.parametrize("scale", SCALES)
def test_training_steps_on_snapshots_of_any_scale_lower_the_loss(scale: float) -> None:
    head = Head()
    sample = covariance.sample_covariance(covariance.sample_factor(scaled(SCENES.observation, scale), RIDGE))
    optimizer = torch.optim.AdamW([head.weight], lr=1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        blend = covariance.blend(head.predict(), sample, BETA, LOADING)
        loss = (
            blend.squared_distance(target(), blend.squared_norms()) / target().frobenius_norm().square()
        ).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([head.weight], 1.0, error_if_nonfinite=True)
        assert bool(norm.isfinite())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_the_raw_covariance_cannot_enter_the_blend() -> None:
    """The step at which the incident began is an error of type."""
    amplitudes = ls_amplitudes(SCENES.observation, RIDGE)
    raw = amplitudes.mT @ amplitudes.conj() / 15
    with pytest.raises(TypeError):
        covariance.blend(Head().predict(), raw, BETA, LOADING)  # type: ignore[arg-type]
