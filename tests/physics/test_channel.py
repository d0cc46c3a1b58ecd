import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from risolve.physics.channel import line_of_sight, rician
from risolve.physics.geometry import planar_array
from risolve.physics.scenario import draw_system
from risolve.seeds import generator
from tests import tolerances
from tests.oracles import observation as oracle
from tests.worlds import SMALL, draw_scenes, make_scenes

ELEMENTS = planar_array(3, 5, 0.15)
COSINES = torch.tensor([0.3, -0.8], dtype=torch.float64)
DEPARTURES = torch.tensor([[0.4, -0.2], [-0.9, 0.5]], dtype=torch.float64)


def test_channel_is_the_formula_entry_by_entry() -> None:
    random = torch.Generator().manual_seed(1)
    scattered = torch.randn((2, 4, 15), dtype=torch.complex128, generator=random)
    k_factor = torch.tensor([0.5, 10.0], dtype=torch.float64)
    found = rician(k_factor, line_of_sight(COSINES, DEPARTURES, 4, ELEMENTS, 0.3), scattered)
    for scene in range(2):
        expected = oracle.rician(
            float(k_factor[scene]),
            float(COSINES[scene]),
            (float(DEPARTURES[scene, 0]), float(DEPARTURES[scene, 1])),
            scattered[scene].numpy(),
            (ELEMENTS / 0.3).numpy().astype(complex),
        )
        np.testing.assert_allclose(found[scene].numpy(), expected, rtol=1e-10, atol=1e-12)


def test_line_of_sight_is_rank_one_with_unit_entries() -> None:
    direct = line_of_sight(COSINES, DEPARTURES, 4, ELEMENTS, 0.3)
    torch.testing.assert_close(direct.abs(), torch.ones_like(direct.abs()), rtol=tolerances.DOUBLE, atol=0.0)
    singular = torch.linalg.svdvals(direct)
    assert float((singular[:, 1] / singular[:, 0]).max()) < 1e-12


def test_scattered_part_has_unit_mean_square_and_is_circular() -> None:
    """Each of n entries |h|^2 is exponential with mean and standard deviation 1; h^2 has mean 0 and E|h^2|^2
    = 2.
    """
    entries = np.stack([draw_system(generator(5, "train", i), SMALL).scattered for i in range(2000)])
    error = tolerances.SIGMAS / math.sqrt(entries.size)
    assert abs(np.mean(np.abs(entries) ** 2) - 1.0) < error
    assert abs(np.mean(entries)) < error
    assert abs(np.mean(entries**2)) < math.sqrt(2.0) * error


@pytest.mark.parametrize("k_factor", [0.0, 0.5, 1.0, 10.0])
def test_k_factor_is_what_it_says(k_factor: float) -> None:
    """K-factor recovered from scenes as the power along the direct part over the power off it.

    H = a D + b S with |D_mn| = 1: mean conj(D) H = a + b z / sqrt(n), and the mean square of H is a^2 + b^2 =
    1 up to (2 a b + b^2) / sqrt(n).
    """
    system = replace(SMALL, k_factor=(k_factor, k_factor))
    n_scenes = 1000
    channel = make_scenes(system, 0, 0.0, n_scenes).observation.channel
    draws = [draw.system for draw in draw_scenes(system, 0, 0.0, n_scenes)]
    direct = line_of_sight(
        torch.tensor([d.antenna_cosine for d in draws], dtype=torch.float64),
        torch.from_numpy(np.stack([d.departure for d in draws])),
        system.n_antennas,
        system.array().elements,
        system.wavelength,
    ).to(torch.complex64)
    along = complex((direct.conj() * channel).mean())
    error = tolerances.SIGMAS / math.sqrt(channel.numel())
    a, b = math.sqrt(k_factor / (k_factor + 1.0)), math.sqrt(1.0 / (k_factor + 1.0))
    assert abs(along - a) < b * error + tolerances.SINGLE
    residual = float((channel - a * direct).abs().square().mean())
    assert abs(residual - 1.0 / (k_factor + 1.0)) < b * b * error + tolerances.SINGLE
    assert abs(float(channel.abs().square().mean()) - 1.0) < (2.0 * a * b + b * b) * error + tolerances.SINGLE


def test_installation_is_one_channel_for_all_scenes() -> None:
    shared = make_scenes(SMALL, 1, 10.0, 3, shared_channel=True).observation
    each = make_scenes(SMALL, 1, 10.0, 3).observation
    assert shared.channel.shape == (1, 2, 15)
    assert each.channel.shape == (3, 2, 15)
    assert float((each.channel[0] - each.channel[1]).abs().max()) > 0.1
