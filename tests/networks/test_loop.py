"""Further passes of the network, on the sparse fit at the powers that it predicts."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from risolve.networks.examples import Examples, joined_examples
from risolve.networks.features import Mirror, mirror_points, network_input
from risolve.networks.loop import fit_quotient, with_noise_of
from risolve.networks.objective import outputs_of
from risolve.networks.trained import TrainedNetwork, uncalibrated
from tests.messages import shows
from tests.networks.classroom import (
    EVERY_PART,
    classroom,
    classroom_dictionary,
    learn_from,
    loss_of,
    small_network,
)
from tests.tolerances import SINGLE
from tests.worlds import WIDE, make_scenes

DICTIONARY = classroom_dictionary()


def examples_of_both_models() -> Examples:
    return joined_examples(
        [
            classroom(n_scenes=3, source_model="constant", seed=4),
            classroom(n_scenes=4),
            classroom(n_sources=0, n_scenes=2),
        ]
    )


def some_powers(n_scenes: int) -> torch.Tensor:
    logits = 3.0 * torch.randn((n_scenes, 105), generator=torch.Generator().manual_seed(6))
    return logits.softmax(-1)


def quotient_of(examples: Examples, powers: torch.Tensor) -> torch.Tensor:
    assert examples.observation is not None
    return fit_quotient(examples.observation, examples.shared, DICTIONARY, powers)


def test_scenes_of_both_models_have_the_quotients_that_each_has_alone() -> None:
    examples, powers = examples_of_both_models(), some_powers(9)
    found = quotient_of(examples, powers)
    for scene in range(9):
        own = torch.tensor([scene])
        torch.testing.assert_close(
            found[own], quotient_of(examples.select(own), powers[own]), rtol=1e-3, atol=0.0
        )
    other = quotient_of(replace(examples, shared=~examples.shared), powers)
    assert not any(torch.allclose(other[scene], found[scene], rtol=0.1) for scene in range(9))


@pytest.mark.parametrize("mirror", [Mirror(True, False), Mirror(False, True)])
def test_a_mirrored_scene_has_the_quotient_in_the_mirror(mirror: Mirror) -> None:
    examples, powers = examples_of_both_models(), some_powers(9)
    shape = DICTIONARY.grid.shape
    found = quotient_of(examples.mirrored(DICTIONARY, mirror), mirror_points(powers, shape, mirror))
    expected = mirror_points(quotient_of(examples, powers), shape, mirror)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0.0)


def test_the_fit_is_in_single_precision_whatever_the_convolutions_are_in() -> None:
    examples, powers = examples_of_both_models(), some_powers(9)
    expected = quotient_of(examples, powers)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quotient_of(examples, powers), expected)


def test_a_loop_reads_the_powers_of_the_pass_before_and_the_fit_at_them() -> None:
    """Two loops, pass by pass."""
    network, examples = small_network(loops=2), examples_of_both_models()
    outputs = outputs_of(network, examples, DICTIONARY, False)
    image = network_input(examples.maps, examples.estimated_snr, examples.shared, DICTIONARY.grid.shape)
    state = network.trunk(network.stem(image))
    for stem, earlier in zip(network.loops, outputs.earlier, strict=True):
        logits = network.map(network.norm(state)).flatten(1)
        torch.testing.assert_close(earlier, logits)
        powers = logits.softmax(-1)
        quotient = quotient_of(examples, powers)
        planes = [values.clamp_min(1e-5).log().unflatten(1, (3, 5, 7)) for values in (powers, quotient)]
        state = network.trunk(state + stem(torch.cat(planes, dim=1)))
    torch.testing.assert_close(outputs.logits, network.map(network.norm(state)).flatten(1))


def test_the_first_pass_is_the_network_without_loops() -> None:
    plain, looped = small_network(), small_network(loops=1)
    looped.load_state_dict({**looped.state_dict(), **plain.state_dict()})
    examples = examples_of_both_models()
    first = outputs_of(plain, examples, DICTIONARY, False)
    second = outputs_of(looped, examples, DICTIONARY, False)
    assert first.earlier == ()
    torch.testing.assert_close(second.earlier[0], first.logits)
    assert not torch.allclose(second.logits, first.logits, atol=1e-3)


def test_every_weight_of_a_network_with_loops_has_a_gradient() -> None:
    network = small_network(loops=1)
    loss = loss_of(network, examples_of_both_models(), DICTIONARY, EVERY_PART)
    expected = sum(value.item() for value in loss.parts.values())
    assert "pass" in loss.parts and loss.total.item() == pytest.approx(expected, rel=SINGLE)
    loss.total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
    assert all(bool(parameter.grad.any()) for parameter in network.loops.parameters())


def test_no_gradient_passes_through_the_powers_of_an_earlier_pass() -> None:
    network, examples = small_network(loops=1), examples_of_both_models()
    outputs = outputs_of(network, examples, DICTIONARY, False)
    (gradient,) = torch.autograd.grad(outputs.logits.sum(), outputs.earlier[0], allow_unused=True)
    assert gradient is None


def test_loops_need_snapshots() -> None:
    examples = replace(examples_of_both_models(), observation=None)
    outputs_of(small_network(), examples, DICTIONARY, False)
    with pytest.raises(ValueError, match=shows("loops ... snapshots, channel ... codes ... 9 examples")):
        outputs_of(small_network(loops=1), examples, DICTIONARY, False)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
def test_a_prediction_is_what_training_saw_of_the_same_scenes(source_model) -> None:
    scenes = make_scenes(WIDE, 2, 10.0, 5, source_model)
    examples, network = learn_from(scenes, DICTIONARY), small_network(loops=1)
    outputs = outputs_of(network, examples, DICTIONARY, False)
    trained = TrainedNetwork(network, DICTIONARY, uncalibrated(0.3), None)
    found = trained.predict(examples.maps, examples.estimated_snr, scenes.observation)
    torch.testing.assert_close(found.occupancy, outputs.logits, rtol=1e-3, atol=1e-3)
    read = with_noise_of(scenes.observation, examples.estimated_snr)
    torch.testing.assert_close(read.noise_power, scenes.observation.noise_power, rtol=SINGLE, atol=0.0)


def test_the_scale_of_the_snapshots_changes_no_prediction() -> None:
    scenes = make_scenes(WIDE, 2, 10.0, 3)
    examples, network = learn_from(scenes, DICTIONARY), small_network(loops=1)
    trained = TrainedNetwork(network, DICTIONARY, uncalibrated(0.3), None)
    predict = partial(trained.predict, examples.maps, examples.estimated_snr)
    expected = predict(scenes.observation).occupancy
    for factor in (1e-8, 1e8):
        large = replace(scenes.observation, snapshots=factor * scenes.observation.snapshots)
        torch.testing.assert_close(predict(large).occupancy, expected, rtol=1e-3, atol=1e-3)
