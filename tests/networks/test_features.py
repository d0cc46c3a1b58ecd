from dataclasses import replace

import pytest
import torch

from risolve.inference.sparse_fit import sparse_fit_maps
from risolve.networks.features import Mirror, mirror_points, n_channels, network_input
from risolve.networks.loop import absent_quotient
from tests.networks.classroom import classroom, classroom_dictionary, small_network
from tests.tolerances import SINGLE
from tests.worlds import WIDE, make_scenes, signal_of

MIRRORS = [Mirror(True, False), Mirror(False, True), Mirror(True, True)]


@pytest.mark.parametrize("mirror", MIRRORS)
def test_the_map_of_a_mirrored_scene_is_the_mirrored_map(mirror):
    dictionary = classroom_dictionary()
    observation = make_scenes(WIDE, 2, 10.0, 4).observation
    maps = sparse_fit_maps(observation, dictionary.basis.matrix, (0, 2))
    seen = dictionary.mirror_observation(observation, mirror)
    of_mirrored = sparse_fit_maps(seen, dictionary.basis.matrix, (0, 2))
    expected = mirror_points(maps, dictionary.grid.shape, mirror)
    assert torch.allclose(expected, of_mirrored, rtol=1e-2, atol=1e-4)
    assert not torch.allclose(maps, of_mirrored, rtol=1e-1)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_mirrored_example_is_the_example_of_the_mirrored_scene(mirror):
    dictionary = classroom_dictionary()
    scenes = make_scenes(WIDE, 2, 10.0, 4)
    examples = classroom(n_scenes=4)
    mirrored = examples.mirrored(dictionary, mirror)
    sign = torch.tensor([-1.0 if mirror.horizontal else 1.0, -1.0 if mirror.vertical else 1.0, 1.0])
    assert torch.equal(mirrored.sources.nan_to_num(), (scenes.sources * sign).nan_to_num())
    twice = mirrored.mirrored(dictionary, mirror)
    for name in ("maps", "factor"):
        assert torch.equal(getattr(twice, name), getattr(examples, name))
        assert not torch.equal(getattr(mirrored, name), getattr(examples, name))


def test_the_input_has_the_planes_the_scalars_and_the_coordinates():
    shape = (3, 5, 7)
    maps = torch.rand((2, 2, 105)) + 0.1
    image = network_input(maps, torch.tensor([10.0, -1.0]), torch.tensor([False, True]), shape)
    assert image.shape == (2, n_channels(2, shape), 5, 7)
    assert torch.allclose(image[:, :6].reshape(2, 2, 105), maps.log(), rtol=SINGLE)
    assert torch.allclose(image[:, 6, 0, 0], torch.tensor([1.0, -2.0]))
    assert image[:, 7, 2, 3].tolist() == [0.0, 1.0]
    assert image[0, 8, :, 0].tolist() == torch.linspace(-1, 1, 5).tolist()
    assert image[0, 9, 0, :].tolist() == torch.linspace(-1, 1, 7).tolist()


def test_an_empty_map_stays_finite():
    image = network_input(
        torch.zeros((1, 1, 105)), torch.zeros(1), torch.zeros(1, dtype=torch.bool), (3, 5, 7)
    )
    assert bool(torch.isfinite(image).all())


@pytest.mark.parametrize("head", ["power_map", "factor"])
def test_the_network_reads_a_scene_the_same_alone_and_in_a_batch(head):
    network, examples = small_network(head=head), classroom(n_scenes=5)
    image = network_input(examples.maps, examples.estimated_snr, examples.shared, (3, 5, 7))
    together = network(image, absent_quotient)
    alone = [network(image[[i]], absent_quotient) for i in range(5)]
    for name in ("logits", "offsets", "counts", *(["factor"] if head == "factor" else [])):
        values = torch.cat([getattr(one, name) for one in alone])
        assert torch.allclose(getattr(together, name), values, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("source_model", ["independent", "constant"])
@pytest.mark.parametrize("mirror", MIRRORS)
def test_mirrored_sources_give_the_same_snapshots_through_the_mirrored_system(mirror, source_model):
    """y_l = H diag(c_l) A s_l, with all of H, c and A in the mirror and s as it is."""
    dictionary = classroom_dictionary()
    scenes = make_scenes(WIDE, 2, 10.0, 4, source_model)
    observation = dictionary.mirror_observation(scenes.observation, mirror)
    assert not torch.allclose(observation.channel, scenes.observation.channel)
    seen = replace(scenes, observation=observation, sources=dictionary.mirror_sources(scenes.sources, mirror))
    assert torch.allclose(signal_of(seen), signal_of(scenes), rtol=SINGLE, atol=SINGLE)
    assert not torch.allclose(signal_of(replace(seen, sources=scenes.sources)), signal_of(scenes), rtol=0.1)
    for name in ("snapshots", "noise_power"):
        assert torch.equal(getattr(observation, name), getattr(scenes.observation, name))
