import math
from dataclasses import replace

import pytest
import torch

from risolve.networks import fit as fit_module
from risolve.networks.examples import joined_examples
from risolve.networks.fit import FitState, fit
from risolve.networks.health import TrainingDiverged
from risolve.networks.objective import batch_loss
from tests.networks.classroom import (
    LOSS,
    SETTINGS,
    MemoryFeed,
    classroom,
    classroom_dictionary,
    loss_of,
    small_network,
)


def train(
    settings=SETTINGS, state: FitState | None = None, network=None, after_epoch=lambda state: None, **sets
):
    network = network or small_network()
    return fit(
        network,
        network,
        MemoryFeed(sets.get("training", classroom())),
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
        parts = [
            summary[f"gradient_norm_{part}"]["max"] for part in ("stem", "trunk", "map", "place", "count")
        ]
        assert all(0.0 < part < math.inf for part in parts)


@pytest.mark.parametrize("loops", [0, 1])
def test_a_number_that_is_not_finite_stops_the_training_and_names_the_scene(loops):
    training = classroom()
    training.maps[7, 0, 3] = torch.nan
    kept: list[FitState] = []
    with pytest.raises(TrainingDiverged, match=r"epoch 1, batch \d+: .*\b7\b"):
        train(training=training, after_epoch=kept.append, network=small_network(loops=loops))
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


def test_the_first_epoch_of_a_longer_training_is_that_of_a_shorter_one():
    settings = replace(SETTINGS, warmup_fraction=0.0, lr=1e-12, blend_beta_start=LOSS.blend_beta)
    short, long = (train(replace(settings, epochs=epochs)) for epochs in (1, 2))
    assert short["history"][0]["train_loss"] == pytest.approx(long["history"][0]["train_loss"], rel=1e-6)


def test_batches_without_sources_train_and_are_not_scored_as_covariances():
    empty = classroom(n_sources=0, n_scenes=SETTINGS.batch_size, seed=5)
    scenes = classroom(n_scenes=20, seed=2)
    state = train(training=joined_examples([classroom(), empty]), validation=joined_examples([empty, scenes]))
    assert all(math.isfinite(record["train_loss"]) for record in state["history"])
    alone = train(training=joined_examples([classroom(), empty]), validation=scenes)
    for both, without in zip(state["history"], alone["history"], strict=True):
        assert both["validation_covariance"] == pytest.approx(without["validation_covariance"], rel=1e-5)
    empty_loss = loss_of(small_network(), empty, classroom_dictionary())
    assert empty_loss.parts["covariance"].item() == 0.0


def test_a_process_that_sees_no_source_trains_and_has_no_reading_of_covariances_and_places():
    state = train(training=classroom(n_sources=0, seed=5))
    for record, summary in zip(state["history"], state["readings"], strict=True):
        absent = {part for part in LOSS.weights if math.isnan(record.get(f"train_{part}", 0.0))}
        assert absent == {"offset", "covariance"}
        assert math.isfinite(record["train_loss"]) and math.isfinite(record["validation_covariance"])
        assert not {name for name in summary if name.startswith(("r_", "offset", "covariance"))}


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.5, 0.99])
def test_the_rate_ends_at_zero_after_any_warmup(warmup_fraction):
    short = replace(SETTINGS, epochs=1, warmup_fraction=warmup_fraction)
    assert train(short, training=classroom(n_scenes=16))["history"][-1]["lr"] == 0.0


def test_the_state_of_an_epoch_does_not_move_with_the_training():
    kept: list[FitState] = []
    whole = train(after_epoch=kept.append)
    assert_equal_states(whole, train(state=kept[0], network=small_network(seed=99)))


def test_each_step_runs_the_network_as_it_is_told_to():
    """`forward` may be another module that holds the network, as in several processes."""

    class Counting(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.module, self.calls = network, 0

        def forward(self, image, quotient):
            self.calls += 1
            return self.module(image, quotient)

    network = small_network()
    forward = Counting(network)
    state = fit(
        network,
        forward,
        MemoryFeed(classroom()),
        classroom(n_scenes=20, seed=2),
        classroom_dictionary(),
        SETTINGS,
        None,
        lambda state: None,
        lambda epoch, batch, n_batches: None,
    )
    assert forward.calls == state["history"][-1]["step"] == 9
    assert_equal_states(state, train())


def test_loops_train_and_have_the_loss_of_the_first_pass():
    weights = {**LOSS.weights, "pass": 0.3}
    state = train(replace(SETTINGS, loss=replace(LOSS, weights=weights)), network=small_network(loops=1))
    losses = [record["train_pass"] for record in state["history"]]
    assert losses[-1] < losses[0] and "validation_pass" in state["history"][0]
    assert all(0.0 < summary["gradient_norm_loops"]["min"] < math.inf for summary in state["readings"])


def test_a_part_without_weight_has_no_history():
    state = train(replace(SETTINGS, epochs=1))
    parts = {name for name, weight in LOSS.weights.items() if weight > 0.0}
    recorded = {key.removeprefix("train_") for key in state["history"][0] if key.startswith("train_")}
    assert recorded == {"loss", *parts}


def test_the_blend_weight_is_jittered_within_its_range(monkeypatch):
    """And the same again in a second training, another one with every batch."""
    seen: list[float] = []

    def recorded(outputs, examples, dictionary, settings, beta):
        seen.append(beta)
        return batch_loss(outputs, examples, dictionary, settings, beta)

    monkeypatch.setattr(fit_module, "batch_loss", recorded)
    settings = replace(SETTINGS, blend_beta_start=0.3, blend_beta_jitter=0.25, epochs=4)
    for _ in range(2):
        train(settings)
    own = seen[: len(seen) // 2]
    assert seen == 2 * own
    trained = [beta for beta in own if beta != LOSS.blend_beta]
    assert len(set(trained)) == len(trained) == 12
    assert all(abs(beta - 0.3) <= 0.25 for beta in trained) and max(trained) - min(trained) > 0.2
    seen.clear()
    train(replace(settings, blend_beta_start=0.0, loss=replace(LOSS, blend_beta=0.0)))
    assert all(0.0 <= beta <= 0.25 for beta in seen) and max(seen) > 0.0
