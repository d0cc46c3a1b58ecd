"""The network: maps of the sparse fit in, one logit a grid point out, read as occupancy and as power.

occupancy  o_g = sigmoid(z_g)
power      p_g = exp(z_g) / sum_g' exp(z_g')     (the odds o / (1 - o), normalized)
covariance R_pred = A diag(p) A^H                (Hermitian, positive semidefinite, of the right structure)
"""

from jaxtyping import Float
from torch import Tensor, nn

from stages.covariance import NormalizedCovariance, SharedBasis, predicted_covariance


class _ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))), pre-activation (He et al., ECCV 2016, Fig. 1b)."""

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

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = image + self.body(image)
        return result


class CovarianceNetwork(nn.Module):
    """Residual network over the (v, u) image whose channels are 1/r planes.

    The last bias starts at `prior_logit`, the logit of a point occupied by chance, so that the first focal
    loss is small.
    """

    prior_logit = -4.0

    def __init__(self, n_inputs: int, n_planes: int, channels: int, blocks: int, groups: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(n_inputs, channels, 3, padding=1)
        self.trunk = nn.Sequential(*(_ResidualBlock(channels, groups) for _ in range(blocks)))
        final = nn.Conv2d(channels, n_planes, 1)
        nn.init.constant_(final.bias, self.prior_logit)  # type: ignore[arg-type]
        self.head = nn.Sequential(nn.GroupNorm(groups, channels), nn.SiLU(), final)

    def forward(self, image: Float[Tensor, "scene channel v u"]) -> Float[Tensor, "scene point"]:
        """Logits z of every grid point, in the point order of the grid."""
        logits: Tensor = self.head(self.trunk(self.stem(image)))
        return logits.flatten(1).float()


def power_map(logits: Float[Tensor, "scene point"]) -> Float[Tensor, "scene point"]:
    """Power of every grid point, p = softmax(z), summing to one."""
    return logits.softmax(-1)


def covariance(logits: Float[Tensor, "scene point"], basis: SharedBasis) -> NormalizedCovariance:
    """R_pred = A diag(p) A^H of a power map on the grid, trace-normalized by `stages.covariance`."""
    return predicted_covariance(basis, power_map(logits))
