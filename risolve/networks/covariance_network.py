"""The network: maps of the sparse fit in; occupancy, places within the cells, the count and a covariance out.

occupancy  o_g = sigmoid(z_g)
place      (u, v, w)_g + offset_g             (in cells, of the source that occupies the point)
power      p_g = exp(z_g) / sum_g' exp(z_g')  (the odds o / (1 - o), normalized)
count      P(K = k) = (1 - q_k) prod_{j < k} q_j,   q_j = P(K > j | K >= j) = sigmoid(c_j)
covariance R_pred = A diag(p) A^H             (`power_map`: of the right structure by construction)
           R_pred = F F^H                     (`factor`: F complex, N x rank, free)

With loops the network goes on from its own answer: the sparse covariance fit at the powers p says where they
explain too little or too much of the snapshots, and a further pass of the same blocks reads that.

state      h_0 = f(stem(x)),   h_i = f(h_{i-1} + stem_i(log p_{i-1}, log num / den at p_{i-1}))

f are the residual blocks, one set for all passes. A step p <- p (num / den)^gamma of the fit is linear in
what stem_i reads: its weights are step sizes. No gradient passes through p_{i-1}.

Each residual block also scales its channels by what the whole image holds, because a peak is a source or not
by comparison with all others.

References:
    He et al., "Identity mappings in deep residual networks", ECCV 2016, Fig. 1b (the order within a block);
    Hu et al., "Squeeze-and-excitation networks", CVPR 2018, eqs. (2) to (4) (the scales); Agresti,
    "Categorical Data Analysis", 2002, section 7.4.3 (continuation-ratio logits).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from risolve.covariance import NormalizedCovariance, SharedBasis, predicted_covariance
from risolve.networks.features import GridShape

Head = Literal["power_map", "factor"]

_MOST_OFFSET = 1.0
"""Largest offset of a place from its point, in cells: the splat of a source reaches its neighbours."""

_FLOOR = 1e-5
"""Least power and num / den whose logarithm a further pass tells apart."""

Quotient = Callable[[Float[Tensor, "scene point"]], Float[Tensor, "scene point"]]
"""num / den of the sparse covariance fit of some scenes, at powers of their grid points."""

_BOTTLENECK = 8
"""Channels of the image that the free factor is made from."""


class Outputs(NamedTuple):
    """Occupancy logits z and offsets (cells along u, v, w) of every grid point in its order, continuation
    logits c of the count, and F of the head `factor`; the logits of the passes before the last.
    """

    logits: Float[Tensor, "scene point"]
    offsets: Float[Tensor, "scene point 3"]
    counts: Float[Tensor, "scene step"]
    factor: Complex[Tensor, "scene rank element"] | None
    earlier: tuple[Float[Tensor, "scene point"], ...]


@dataclass(frozen=True)
class Layout:
    """Sizes of a network: inputs, grid (n_w, n_v, n_u), trunk, largest count told apart, and the covariance.

    rank and n_elements are those of F; the head `power_map` has no use for them.
    """

    n_inputs: int
    shape: GridShape
    channels: int
    blocks: int
    groups: int
    loops: int
    most_sources: int
    head: Head
    rank: int
    n_elements: int


class _ResidualBlock(nn.Module):
    """x + s conv(act(norm(conv(act(norm(x)))))) with scales s of the channels, from their means."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(groups, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.scales = nn.Sequential(
            nn.Linear(channels, channels // 2), nn.SiLU(), nn.Linear(channels // 2, channels), nn.Sigmoid()
        )

    def forward(self, image: Tensor) -> Tensor:
        change: Tensor = self.body(image)
        scales: Tensor = self.scales(change.mean((2, 3)))
        return image + change * scales[:, :, None, None]


class CovarianceNetwork(nn.Module):
    """Residual network over the (v, u) image whose channels are 1/r planes.

    The last bias of the map starts at `prior_logit`, the logit of a point occupied by chance, so that the
    first focal loss is small.
    """

    prior_logit = -4.0

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        channels, n_planes = layout.channels, layout.shape[0]
        self.layout = layout
        self.stem = nn.Conv2d(layout.n_inputs, channels, 3, padding=1)
        self.trunk = nn.Sequential(*(_ResidualBlock(channels, layout.groups) for _ in range(layout.blocks)))
        self.norm = nn.Sequential(nn.GroupNorm(layout.groups, channels), nn.SiLU())
        self.map = nn.Conv2d(channels, n_planes, 1)
        nn.init.constant_(self.map.bias, self.prior_logit)  # type: ignore[arg-type]
        self.place = nn.Conv2d(channels, 3 * n_planes, 1)
        self.count = nn.Sequential(
            nn.Linear(2 * channels + n_planes, channels), nn.SiLU(), nn.Linear(channels, layout.most_sources)
        )
        if layout.head == "factor":
            pixels = layout.shape[1] * layout.shape[2]
            self.factor = nn.Sequential(
                nn.Conv2d(channels, _BOTTLENECK, 1),
                nn.Flatten(),
                nn.Linear(_BOTTLENECK * pixels, 2 * layout.rank * layout.n_elements),
            )
        self.loops = nn.ModuleList(
            nn.Conv2d(2 * n_planes, channels, 3, padding=1) for _ in range(layout.loops)
        )

    def forward(self, image: Float[Tensor, "scene channel v u"], quotient: Quotient) -> Outputs:
        """What the network says of every scene, in float32; `quotient` gives num / den at powers."""
        state: Tensor = self.trunk(self.stem(image))
        earlier = []
        for stem in self.loops:
            logits: Tensor = self.map(self.norm(state)).float().flatten(1)
            earlier.append(logits)
            powers = power_map(logits.detach())
            planes = torch.stack((powers, quotient(powers)), dim=1).clamp_min(_FLOOR).log()
            state = self.trunk(state + stem(planes.reshape(len(image), -1, *image.shape[2:])))
        features: Tensor = self.norm(state)
        logits = self.map(features).float()
        offsets = _MOST_OFFSET * self.place(features).float().tanh()
        expected = logits.sigmoid().sum((2, 3))
        pooled = torch.cat((features.mean((2, 3)).float(), features.amax((2, 3)).float(), expected), dim=1)
        factor = None
        if self.layout.head == "factor":
            parts: Tensor = self.factor(features).float()
            factor = torch.view_as_complex(
                parts.unflatten(1, (self.layout.rank, self.layout.n_elements, 2)).contiguous()
            )
        by_coordinate = offsets.unflatten(1, (3, self.layout.shape[0])).flatten(2)
        counts: Tensor = self.count(pooled).float()
        return Outputs(logits.flatten(1), by_coordinate.mT, counts, factor, tuple(earlier))


def power_map(logits: Float[Tensor, "scene point"]) -> Float[Tensor, "scene point"]:
    """Power of every grid point, p = softmax(z), summing to one."""
    return logits.softmax(-1)


def covariance(outputs: Outputs, basis: SharedBasis) -> NormalizedCovariance:
    """R_pred, trace-normalized: F F^H where the network gives F, else A diag(p) A^H."""
    if outputs.factor is not None:
        return predicted_covariance(outputs.factor.mT, outputs.logits.new_ones(outputs.factor.shape[:2]))
    return predicted_covariance(basis, power_map(outputs.logits))


def count_log_probabilities(counts: Float[Tensor, "scene step"]) -> Float[Tensor, "scene count"]:
    """log P(K = k), k = 0 ... the number of steps, from the continuation logits c_0, c_1, ..."""
    on = torch.nn.functional.logsigmoid(counts).cumsum(-1)
    off = torch.nn.functional.logsigmoid(-counts)
    reached = torch.nn.functional.pad(on, (1, 0))
    stopped = torch.nn.functional.pad(off, (0, 1))
    return reached + stopped
