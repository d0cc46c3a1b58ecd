import math

import pytest
import torch

from risolve.covariance import SharedBasis, blend, predicted_covariance, sample_covariance
from risolve.networks.health import (
    EpochReadings,
    Place,
    TrainingDiverged,
    gates,
    measure_blend,
    require_finite,
)
from tests.messages import shows

PLACE = Place(epoch=2, batch=5, scenes=torch.tensor([11, 12, 13]))


def healthy_blend():
    random = torch.Generator().manual_seed(1)
    basis = SharedBasis(torch.randn((6, 9), dtype=torch.complex64, generator=random))
    predicted = predicted_covariance(basis, torch.rand((3, 9), generator=random))
    factor = torch.randn((3, 4, 6), dtype=torch.complex64, generator=random)
    return blend(predicted, sample_covariance(factor), 0.3, 1e-3)


def test_a_healthy_blend_is_recorded():
    readings = EpochReadings()
    blended = healthy_blend()
    measure_blend(blended, blended.squared_norms(), readings, PLACE)
    summary = readings.summary()
    assert set(summary) == {
        f"{r}_{q}" for r in ("r_samp", "r_pred", "r_blend") for q in ("norm", "trace_error")
    }
    for name in ("r_samp_norm", "r_pred_norm", "r_blend_norm"):
        assert (
            math.sqrt(6) <= summary[name]["min"] <= summary[name]["median"] <= summary[name]["max"] <= 6.0001
        )


@pytest.mark.parametrize("part", ["sample", "predicted"])
@pytest.mark.parametrize("scale", [1e-5, 1.01, 1e8, math.nan])
def test_an_unnormalized_part_stops_the_training_with_names_and_numbers(part, scale):
    blended = healthy_blend()
    getattr(blended, part).weights[1] *= scale
    with pytest.raises(TrainingDiverged, match=r"epoch 2, batch 5: .* in scenes \[12\]"):
        measure_blend(blended, blended.squared_norms(), EpochReadings(), PLACE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_training(value):
    with pytest.raises(TrainingDiverged, match=shows("loss ... epoch 2, batch 5")):
        require_finite("loss", value, PLACE)


def summary_of(norm: float) -> dict[str, dict[str, float]]:
    readings = EpochReadings()
    blended = healthy_blend()
    measure_blend(blended, blended.squared_norms(), readings, PLACE)
    readings.add("gradient_norm", torch.tensor(1.0))
    return {**readings.summary(), "r_samp_norm": {"min": norm, "max": norm}}


def test_gates_of_a_healthy_training_all_hold():
    assert all(gates([summary_of(4.0)] * 2, [(3.0, 2.0), (2.0, 1.9)], 6).values())


def test_an_epoch_without_sources_has_no_norm_and_breaks_no_law():
    readings = EpochReadings()
    blended = healthy_blend().select(slice(0, 0))
    measure_blend(blended, blended.squared_norms(), readings, PLACE)
    readings.add("gradient_norm", torch.tensor(1.0))
    assert set(readings.summary()) == {"gradient_norm"}
    assert all(gates([readings.summary(), summary_of(4.0)], [(3.0, 2.0), (2.0, 1.9)], 6).values())
    assert not gates([readings.summary(), summary_of(7.0)], [(3.0, 2.0), (2.0, 1.9)], 6)["norm_law"]


HEALTHY = [(3.0, 2.0), (2.0, 1.9)]


@pytest.mark.parametrize(
    ("quantity", "statistic", "losses", "broken"),
    [
        (("r_samp_norm", "max"), 7.0, HEALTHY, ["norm_law"]),
        (("r_blend_norm", "min"), 2.0, HEALTHY, ["norm_law"]),
        (("r_pred_trace_error", "max"), 1e-4, HEALTHY, ["trace_law"]),
        (("gradient_norm", "max"), math.inf, HEALTHY, ["gradients_finite"]),
        (None, 0.0, [(3.0, 2.0), (2.0, math.inf)], ["losses_finite", "validation_same_order"]),
        (None, 0.0, [(3.0, 2.0), (3.1, 1.9)], ["training_loss_fell"]),
        (None, 0.0, [(3.0, 2.0), (2.0, 90.0)], ["validation_same_order"]),
    ],
)
def test_each_gate_can_break(quantity, statistic, losses, broken):
    readings = [summary_of(4.0), summary_of(4.0)]
    if quantity is not None:
        name, which = quantity
        readings[1][name] = {**readings[1][name], which: statistic}
    held = gates(readings, losses, 6)
    assert [name for name, holds in held.items() if not holds] == broken
