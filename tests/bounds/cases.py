"""Scenes with the bound that is asked of them, and how two bounds compare."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from risolve.bounds.cramer_rao import Bound, conditional_bound, constant_bound, unconditional_bound
from risolve.physics.observation import Observation, SourceModel
from risolve.physics.scenario import Scenes, System
from tests.worlds import FIELD_OF_VIEW, WIDE, make_scenes, with_amplitude

KINDS = ("conditional", "constant", "unconditional")


@dataclass(frozen=True)
class Case:
    """Scenes of one number of sources, and the bound that is asked of them."""

    kind: str
    observation: Observation
    sources: Tensor
    amplitudes: Tensor
    power: Tensor

    def bound(self, noise_factor: float = 1.0, spherical_amplitude: bool = False) -> Bound:
        assert self.observation.noise_power is not None
        noise_power = noise_factor * self.observation.noise_power
        if self.kind == "conditional":
            amplitudes, function = self.amplitudes, conditional_bound
        elif self.kind == "constant":
            amplitudes, function = self.amplitudes[:, 0], constant_bound
        else:
            amplitudes, function = self.power, unconditional_bound
        observation = with_amplitude(self.observation, spherical_amplitude)
        return function(observation, self.sources, amplitudes, noise_power)

    def of_sources(self, sources: list[int]) -> "Case":
        """The same scenes with some of their sources."""
        return replace(
            self,
            sources=self.sources[:, sources],
            amplitudes=self.amplitudes[:, :, sources],
            power=self.power[:, sources],
        )


def of_scenes(kind: str, scenes: Scenes) -> Case:
    return Case(kind, scenes.observation, scenes.sources, scenes.amplitudes, scenes.power)


def case(kind: str, system: System = WIDE, n_sources: int = 2, n_scenes: int = 6, **options: Any) -> Case:
    model: SourceModel = "constant" if kind == "constant" else "independent"
    distribution = replace(FIELD_OF_VIEW, max_sources=n_sources)
    return of_scenes(
        kind, make_scenes(system, n_sources, 10.0, n_scenes, model, distribution=distribution, **options)
    )


def smallest_eigenvalue(
    matrix: Float[Tensor, "scene row row"], scale: Float[Tensor, "scene row row"]
) -> float:
    """Of C compared with a bound C_0: eigenvalues of D^-1 C D^-1, D = sqrt(diag C_0)."""
    deviations = scale.diagonal(dim1=-2, dim2=-1).sqrt()
    return float(torch.linalg.eigvalsh(matrix / (deviations[:, :, None] * deviations[:, None, :])).min())
