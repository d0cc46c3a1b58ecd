"""Observations on a scale of their own, so that no formula depends on the unit of the snapshots."""

from dataclasses import replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.physics.observation import Observation


def unit_scale(observation: Observation) -> Observation:
    """Snapshots, channel and codes of each scene divided by their root mean square, sigma^2 by mean |y|^2.

    complex128 and float64. The positions that explain the snapshots stay the same.

    Raises:
        ValueError: snapshots, a channel, codes or a noise power that are all zero, not positive or not
            finite, naming the scenes.
    """
    power, channel_power, code_power = (
        values.abs().double().square().mean((1, 2))
        for values in (observation.snapshots, observation.channel, observation.codes)
    )
    noise_power = None if observation.noise_power is None else observation.noise_power.double()
    for name, values in (
        ("mean |y|^2", power),
        ("the noise power", noise_power),
        ("mean |H|^2", channel_power),
        ("mean |c|^2", code_power),
    ):
        if values is None:
            continue
        usable = torch.isfinite(values) & (values > 0.0)
        if not bool(usable.all()):
            scenes = torch.nonzero(~usable).flatten().tolist()
            raise ValueError(
                f"{name} is positive and finite; scenes {scenes} of the batch have {values[~usable].tolist()}"
            )
    return replace(
        observation,
        snapshots=_scaled(observation.snapshots, power),
        channel=_scaled(observation.channel, channel_power),
        codes=_scaled(observation.codes, code_power),
        noise_power=None if noise_power is None else noise_power / power,
    )


def _scaled(
    values: Complex[Tensor, "#scene row column"], power: Float[Tensor, "#scene"]
) -> Complex[Tensor, "#scene row column"]:
    """values / sqrt(power)."""
    return values.to(torch.complex128) * power.rsqrt()[:, None, None]


def require_usable(observation: Observation) -> None:
    """Refuse what no source can be located in.

    Raises:
        ValueError: no scene, fewer than two elements, elements at one place, snapshots
            that are not finite, or as `unit_scale`.
    """
    elements = observation.array.places
    if observation.n_scenes < 1:
        raise ValueError("an observation of 1 scene or more, got none")
    distinct = torch.unique(elements, dim=0).shape[0]
    if elements.shape[0] < 2 or distinct < elements.shape[0]:
        raise ValueError(
            f"2 elements or more, each at a place of its own; got {elements.shape[0]} at {distinct} places"
        )
    lost = (~torch.isfinite(observation.snapshots.abs())).flatten(1).sum(1)
    if bool(lost.any()):
        scene = int(lost.argmax())
        raise ValueError(
            f"snapshots: finite; {int(lost[scene])} numbers of scene {scene} are not: leave out the "
            "snapshots or the antennas that have them"
        )
    unit_scale(observation)
