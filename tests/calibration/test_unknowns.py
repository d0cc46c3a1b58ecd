"""What may be unknown, and a calibration applied."""

import math
from dataclasses import replace

import pytest
import torch

from risolve.calibration.unknowns import Priors, Unknowns
from risolve.physics.array import linear, planar
from tests.calibration.worlds import HEADING, NO_PRIORS, SURFACE, world
from tests.messages import shows


@pytest.mark.parametrize(
    ("names", "n_antennas", "priors", "said"),
    [
        ((), 4, NO_PRIORS, "gains, antenna_phases, antenna_gains, positions, heading ... got []"),
        (("gain",), 4, NO_PRIORS, "got ['gain']"),
        (("gains", "gains"), 4, NO_PRIORS, "got ['gains', 'gains']"),
        (("antenna_phases",), 15, NO_PRIORS, "antenna_phases ... 15 antennas"),
        (("positions",), 4, NO_PRIORS, "position_deviation"),
        (("positions",), 4, Priors(None, None, 0.0), "position_deviation ... got 0"),
        (("positions",), 4, Priors(None, None, math.nan), "position_deviation ... got nan"),
        (("gains",), 4, Priors(-0.1, None, None), "gain_deviation ... got -0.1"),
        (("heading",), 4, Priors(None, 0.1, None), "phase_deviation ... got ['heading']"),
    ],
)
def test_impossible_unknowns_are_refused(
    names: tuple[str, ...], n_antennas: int, priors: Priors, said: str
) -> None:
    with pytest.raises(ValueError, match=shows(said)):
        Unknowns(names, SURFACE, n_antennas, priors)


def test_a_line_along_y_has_no_heading() -> None:
    with pytest.raises(ValueError, match="heading"):
        Unknowns(("heading",), planar(1, 5, 0.05, 0.1), 5, NO_PRIORS)


def test_a_heading_takes_the_boresight_to_its_azimuth() -> None:
    """A source seen at azimuth phi by an array turned by eta stands at phi + eta."""
    unknowns = Unknowns(("heading",), SURFACE, 15, NO_PRIORS)
    theta = torch.tensor([HEADING * unknowns.lever * unknowns.wavenumber], dtype=torch.float64)
    turned = unknowns.calibration(theta)
    assert turned.heading == pytest.approx(HEADING)
    at = torch.tensor([0.3, 0.1, 0.5], dtype=torch.float64)
    moved = at + torch.tensor([HEADING, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(turned.array.steering(moved), SURFACE.steering(at), rtol=0.0, atol=1e-12)


def test_a_calibration_is_applied_to_its_array_alone() -> None:
    made = world("gains", "antenna_phases", "positions", priors=Priors(None, None, 0.005))
    seen = made.placed.observation
    assert torch.equal(made.true.apply(seen).channel, made.true.of(seen).channel)
    assert torch.equal(made.true.apply(seen).array.elements, made.true.array.elements)
    for other, said in (
        (replace(seen, array=linear(15, 0.05, 0.1)), "elements"),
        (replace(seen, array=planar(5, 3, 0.05, 0.2)), "wavelength 0.2 ... 0.1"),
        (replace(seen, snapshots=seen.snapshots[..., :3], channel=seen.channel[:, :3]), "antennas 3 ... 4"),
        (made.true.apply(seen), "elements"),
    ):
        with pytest.raises(ValueError, match=shows(said)):
            made.true.apply(other)
