"""The loss of a batch: which parts there are, which scenes they see, and how the blend is weighted."""

import math
from dataclasses import replace

import pytest
import torch

from risolve.networks.covariance_network import Outputs
from risolve.networks.examples import joined_examples
from risolve.networks.features import Mirror, mirror_points
from risolve.networks.objective import PARTS, SCENE_PARTS, batch_loss, beta_at, outputs_of
from tests.messages import shows
from tests.networks.classroom import (
    EVERY_PART,
    LOSS,
    OF_ONE_PASS,
    classroom,
    classroom_dictionary,
    loss_of,
    small_network,
)
from tests.tolerances import SINGLE

MIRRORS = [Mirror(True, False), Mirror(False, True), Mirror(True, True)]


def mixed_examples():
    """Scenes of both models, and of noise alone."""
    return joined_examples(
        [
            classroom(n_sources=2, n_scenes=5),
            classroom(n_sources=0, n_scenes=3, seed=2),
            classroom(n_sources=3, n_scenes=4, seed=3, source_model="constant"),
        ]
    )


def test_the_loss_is_the_weighted_sum_of_the_parts_that_have_a_weight():
    weights = dict(zip(PARTS, (1.0, 0.5, 0.0, 2.0, 0.0, 0.25, 1.0), strict=True))
    loss = loss_of(small_network(), mixed_examples(), classroom_dictionary(), replace(LOSS, weights=weights))
    assert set(loss.parts) == {"detection", "offset", "covariance", "likelihood"}
    expected = sum(weights[name] * value.item() for name, value in loss.parts.items())
    assert loss.total.item() == pytest.approx(expected, rel=SINGLE)


def test_a_part_without_weight_reads_nothing_and_one_with_weight_says_what_it_lacks():
    examples = replace(mixed_examples(), observation=None)
    assert "likelihood" not in loss_of(small_network(), examples, classroom_dictionary()).parts
    with pytest.raises(ValueError, match=shows("likelihood loss ... snapshots, channel ... codes")):
        loss_of(small_network(), examples, classroom_dictionary(), EVERY_PART)


@pytest.mark.parametrize("head", ["power_map", "factor"])
def test_scenes_without_sources_enter_the_parts_of_every_scene_alone(head):
    dictionary, network = classroom_dictionary(), small_network(head=head)
    empty, full = classroom(n_sources=0, n_scenes=3), classroom(n_sources=2, n_scenes=5)
    loss = loss_of(network, joined_examples([empty, full]), dictionary, EVERY_PART)
    assert loss.measured.tolist() == [False] * 3 + [True] * 5
    alone, without = (loss_of(network, e, dictionary, EVERY_PART) for e in (full, empty))
    for name in OF_ONE_PASS:
        expected = alone.parts[name].item()
        if name in SCENE_PARTS:
            expected = (5 * expected + 3 * without.parts[name].item()) / 8
        else:
            assert without.parts[name].item() == 0.0
        assert loss.parts[name].item() == pytest.approx(expected, rel=SINGLE), name


@pytest.mark.parametrize("head", ["power_map", "factor"])
def test_every_part_has_a_finite_gradient_with_and_without_sources(head):
    dictionary = classroom_dictionary()
    for examples in (mixed_examples(), classroom(n_sources=0, n_scenes=4)):
        network = small_network(head=head)
        loss_of(network, examples, dictionary, EVERY_PART).total.backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("head", ["power_map", "factor"])
def test_permuting_the_sources_changes_no_part(head):
    dictionary, network = classroom_dictionary(), small_network(head=head)
    examples = classroom(n_sources=3, n_scenes=6)
    order = torch.tensor([2, 4, 0, 1, 3])
    permuted = replace(examples, sources=examples.sources[:, order], power=examples.power[:, order])
    first, second = (loss_of(network, e, dictionary, EVERY_PART).parts for e in (examples, permuted))
    for name in OF_ONE_PASS:
        assert first[name].item() == pytest.approx(second[name].item(), rel=SINGLE), name


def random_outputs(n_scenes, head):
    random = torch.Generator().manual_seed(8)
    factor = torch.randn((n_scenes, 4, 40), dtype=torch.complex64, generator=random)
    return Outputs(
        logits=3.0 * torch.randn((n_scenes, 105), generator=random),
        offsets=2.0 * torch.rand((n_scenes, 105, 3), generator=random) - 1.0,
        counts=torch.randn((n_scenes, 5), generator=random),
        factor=factor if head == "factor" else None,
        earlier=(torch.randn((n_scenes, 105), generator=random),),
    )


@pytest.mark.parametrize("head", ["power_map", "factor"])
@pytest.mark.parametrize("mirror", MIRRORS)
def test_what_a_mirror_does_to_scenes_and_outputs_alike_changes_no_part(mirror, head):
    """Of any outputs: maps and factor in the mirror, the offsets along a reversed axis with another sign."""
    dictionary, examples = classroom_dictionary(), mixed_examples()
    outputs = random_outputs(len(examples), head)
    offsets = torch.stack(
        [
            sign * mirror_points(outputs.offsets[..., axis], dictionary.grid.shape, mirror)
            for axis, sign in enumerate(
                (-1.0 if mirror.horizontal else 1.0, -1.0 if mirror.vertical else 1.0, 1.0)
            )
        ],
        dim=-1,
    )
    factor = None if outputs.factor is None else dictionary.mirror_elements(outputs.factor, mirror)
    seen = outputs._replace(
        logits=mirror_points(outputs.logits, dictionary.grid.shape, mirror),
        offsets=offsets,
        factor=factor,
        earlier=tuple(mirror_points(logits, dictionary.grid.shape, mirror) for logits in outputs.earlier),
    )
    expected = batch_loss(outputs, examples, dictionary, EVERY_PART, 0.3)
    mirrored = batch_loss(seen, examples.mirrored(dictionary, mirror), dictionary, EVERY_PART, 0.3)
    for name in PARTS:
        assert mirrored.parts[name].item() == pytest.approx(expected.parts[name].item(), rel=SINGLE), name
    forgotten = batch_loss(outputs, examples.mirrored(dictionary, mirror), dictionary, EVERY_PART, 0.3)
    for name in set(PARTS) - {"count"}:
        assert forgotten.parts[name].item() != pytest.approx(expected.parts[name].item(), rel=5 * SINGLE), (
            name
        )


def symmetrized(network):
    """The network with kernels that a mirror leaves as they are.

    The coordinates u and v change their sign in a mirror, and so do their kernels; an offset along u or v
    that is even could only be zero.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                odd = torch.zeros((2, module.in_channels, 1, 1))
                if module is network.stem:
                    odd[1, -2] = odd[0, -1] = 1.0
                for sign, axis in zip((1.0 - 2.0 * odd), (-1, -2), strict=True):
                    module.weight.copy_((module.weight + sign * module.weight.flip(axis)) / 2.0)
        n_planes = network.layout.shape[0]
        network.place.weight[: 2 * n_planes] = 0.0
        network.place.bias[: 2 * n_planes] = 0.0
    return network


@pytest.mark.parametrize("loops", [0, 2])
@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_network_of_symmetric_kernels_sees_a_mirrored_scene_in_the_mirror(mirror, loops):
    dictionary, examples = classroom_dictionary(), mixed_examples()
    network, mirrored = symmetrized(small_network(loops=loops)), examples.mirrored(dictionary, mirror)
    first, second = (outputs_of(network, e, dictionary, False) for e in (examples, mirrored))
    expected = mirror_points(first.logits, dictionary.grid.shape, mirror)
    torch.testing.assert_close(second.logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first.logits, expected, atol=1e-2)
    torch.testing.assert_close(second.counts, first.counts, rtol=1e-4, atol=1e-4)
    losses = [loss_of(network, e, dictionary, EVERY_PART).total.item() for e in (examples, mirrored)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    plain = [
        loss_of(small_network(loops=loops), e, dictionary, EVERY_PART).total.item()
        for e in (examples, mirrored)
    ]
    assert plain[0] != pytest.approx(plain[1], rel=1e-3)


def test_the_weight_of_the_sample_covariance_moves_in_a_straight_line_over_the_first_half():
    assert [beta_at(t, 0.9, 0.3) for t in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(
        [0.9, 0.6, 0.3, 0.3, 0.3]
    )
    assert beta_at(0.25, 0.1, 0.3) == pytest.approx(0.2)


def test_mixed_precision_is_close_to_single():
    dictionary, examples, network = classroom_dictionary(), mixed_examples(), small_network()
    single, mixed = (outputs_of(network, examples, dictionary, flag) for flag in (False, True))
    assert mixed.logits.dtype == mixed.offsets.dtype == mixed.counts.dtype == torch.float32
    assert not torch.equal(single.logits, mixed.logits)
    # bfloat16 has 8 bits: three layers of it.
    torch.testing.assert_close(
        mixed.logits, single.logits, rtol=0.0, atol=3 * 2.0**-8 * single.logits.abs().max().item()
    )
    assert math.isfinite(batch_loss(mixed, examples, dictionary, EVERY_PART, 0.3).total.item())
