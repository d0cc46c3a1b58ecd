import math
from dataclasses import replace

import pytest
import torch

from stages.networks.fit import Examples, FitState, fit
from stages.networks.health import TrainingDiverged
from tests.networks.classroom import SETTINGS, classroom, classroom_dictionary, loss_of, small_network


def train(
    settings=SETTINGS, state: FitState | None = None, network=None, after_epoch=lambda state: None, **sets
):
    return fit(
        network or small_network(),
        sets.get("training", classroom()),
        sets.get("validation", classroom(n_scenes=20, seed=2)),
        classroom_dictionary(),
        settings,
        state,
        after_epoch,
        lambda epoch, batch, n_batches: None,
    )


def assert_equal_states(first: FitState, second: FitState) -> None:
    assert first["history"] == second["history"]
    for key in ("network", "average"):
        assert all(torch.equal(first[key][name], second[key][name]) for name in first[key])


def test_two_trainings_are_bit_identical():
    assert_equal_states(train(), train())


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_a_resumed_training_repeats_the_uninterrupted_one(epochs_before, tmp_path):
    states: list[FitState] = []

    def keep(state: FitState) -> None:
        torch.save(state, tmp_path / "state.pt")
        states.append(torch.load(tmp_path / "state.pt", weights_only=True))

    whole = train(after_epoch=keep)
    resumed = train(state=states[epochs_before - 1], network=small_network(seed=99))
    assert_equal_states(whole, resumed)
    assert whole["best"]["epoch"] == resumed["best"]["epoch"]


def test_the_training_loss_falls_and_the_rate_ends_at_zero():
    state = train(replace(SETTINGS, epochs=12))
    losses = [record["train_loss"] for record in state["history"]]
    assert losses[-1] < 0.8 * losses[0]
    assert state["history"][-1]["lr"] == pytest.approx(0.0, abs=1e-9)
    assert max(record["lr"] for record in state["history"]) <= SETTINGS.lr


def test_the_scored_weights_are_the_kept_weights():
    validation = classroom(n_scenes=20, seed=2)
    state = train(validation=validation)
    network = small_network(seed=5)
    network.load_state_dict(state["best"]["network"])
    network.eval()
    loss = loss_of(network, validation, classroom_dictionary()).total.item()
    assert loss == pytest.approx(state["best"]["validation_loss"], rel=1e-5)
    assert state["best"]["validation_loss"] == min(r["validation_loss"] for r in state["history"])


def test_health_is_measured_in_every_epoch():
    state = train()
    n = 40
    for summary in state["readings"]:
        for name in ("r_samp_norm", "r_pred_norm", "r_blend_norm"):
            assert math.sqrt(n) <= summary[name]["min"] <= summary[name]["max"] <= n * (1 + 1e-5)
        assert summary["r_pred_trace_error"]["max"] < 1e-5
        parts = [summary[f"gradient_norm_{part}"]["max"] for part in ("stem", "trunk", "head")]
        assert all(0.0 < part < math.inf for part in parts)


def test_a_number_that_is_not_finite_stops_the_training_and_names_the_scene():
    training = classroom()
    training.maps[7, 0, 3] = torch.nan
    kept: list[FitState] = []
    with pytest.raises(TrainingDiverged, match=r"epoch 1, batch \d+: .*\b7\b"):
        train(training=training, after_epoch=kept.append)
    assert kept == []


def test_an_exploding_rate_is_caught_before_its_epoch_is_kept():
    kept: list[FitState] = []
    with pytest.raises(TrainingDiverged, match="epoch"):
        train(replace(SETTINGS, lr=1e30, epochs=4), after_epoch=kept.append)
    assert all(math.isfinite(state["history"][-1]["train_loss"]) for state in kept)


def test_scaling_the_powers_of_a_scene_changes_nothing():
    examples = classroom(n_scenes=6)
    scaled = replace(examples, power=examples.power * 1e6, factor=examples.factor * 1e-4)
    dictionary, network = classroom_dictionary(), small_network()
    first, second = (loss_of(network, e, dictionary).total.item() for e in (examples, scaled))
    assert first == pytest.approx(second, rel=1e-5)


def test_a_longer_training_starts_as_the_shorter_one_shuffles():
    short = train(replace(SETTINGS, epochs=1, warmup_fraction=0.0, lr=0.0 + 1e-12))
    long = train(replace(SETTINGS, epochs=2, warmup_fraction=0.0, lr=0.0 + 1e-12))
    assert short["history"][0]["train_loss"] == pytest.approx(long["history"][0]["train_loss"], rel=1e-6)


def joined(first: Examples, second: Examples) -> Examples:
    names = first.__dataclass_fields__
    return Examples(*(torch.cat((getattr(first, name), getattr(second, name))) for name in names))


def test_batches_without_sources_train_and_are_not_scored_as_covariances():
    empty = classroom(n_sources=0, n_scenes=SETTINGS.batch_size, seed=5)
    scenes = classroom(n_scenes=20, seed=2)
    state = train(training=joined(classroom(), empty), validation=joined(empty, scenes))
    assert all(math.isfinite(record["train_loss"]) for record in state["history"])
    alone = train(training=joined(classroom(), empty), validation=scenes)
    for both, without in zip(state["history"], alone["history"], strict=True):
        assert both["validation_covariance"] == pytest.approx(without["validation_covariance"], rel=1e-5)
    empty_loss = loss_of(small_network(), empty, classroom_dictionary())
    assert empty_loss.covariance.item() == 0.0


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.5, 0.99])
def test_the_rate_ends_at_zero_after_any_warmup(warmup_fraction):
    short = replace(SETTINGS, epochs=1, warmup_fraction=warmup_fraction)
    assert train(short, training=classroom(n_scenes=16))["history"][-1]["lr"] == 0.0


def test_the_state_of_an_epoch_does_not_move_with_the_training():
    kept: list[FitState] = []
    whole = train(after_epoch=kept.append)
    assert_equal_states(whole, train(state=kept[0], network=small_network(seed=99)))
