"""What receivers add to the waves: noise that is not alike at all antennas, and what no code reaches.

Both leave snapshots, channel and codes by a linear map, after which the model is the plain one.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.shapes import Channel, Codes, Snapshots

_LEAST_SNAPSHOTS = 4
"""Of which the noise of each antenna is told: of fewer, places lose a tenth and more of their bound."""

_SAME = 1e-6
"""Difference of codes, relative to the largest, that is rounding."""


def whitened(
    snapshots: Snapshots, channel: Channel, covariance: Complex[Tensor, "#scene antenna antenna"]
) -> tuple[Snapshots, Channel]:
    """Snapshots and channel behind W of `whitening`, y <- W y and H <- W H: the power of the noise is then 1.

    Raises:
        ValueError: as `whitening`.
    """
    W = whitening(covariance)
    seen, through = snapshots.to(W.dtype) @ W.mT, W @ channel.to(W.dtype)
    return seen.to(snapshots.dtype), through.to(channel.dtype)


def whitening(
    covariance: Complex[Tensor, "scene antenna antenna"],
) -> Complex[Tensor, "scene antenna antenna"]:
    """W with W R W^H = I of a covariance R of noise, W = C^-1 of R = C C^H.

    Raises:
        ValueError: a covariance that is not Hermitian and positive definite, naming the first scene.
    """
    R = covariance.to(torch.complex128)
    off = (R - R.mH).abs().amax((1, 2)) > _SAME * R.abs().amax((1, 2))
    factor, fault = torch.linalg.cholesky_ex(R)
    wrong = off | (fault != 0) | ~torch.isfinite(R).all(-1).all(-1)
    if bool(wrong.any()):
        scene = int(torch.nonzero(wrong)[0, 0])
        if not bool(torch.isfinite(R[scene]).all()):
            raise ValueError(f"noise_power: finite; that of scene {scene} is not")
        least = float(torch.linalg.eigvalsh((R[scene] + R[scene].mH).nan_to_num() / 2.0)[0])
        raise ValueError(
            "noise_power: a covariance of the noise is Hermitian and positive definite; the least eigenvalue "
            f"of scene {scene} is {least:.3g}"
        )
    inverse: Tensor = torch.linalg.inv(factor)
    return inverse


def without_static(
    snapshots: Snapshots, codes: Codes, source_model: str
) -> tuple[Complex[Tensor, "scene contrast antenna"], Complex[Tensor, "#scene contrast element"]]:
    """Snapshots and codes without what is the same in all snapshots, one snapshot less.

        y_l = H diag(c_l) a s + b + n_l   ->   sum_l Q_il y_l = H diag(sum_l Q_il c_l) a s + n'_i,   Q 1 = 0

    The rows of Q are orthonormal (Helmert's contrasts), so that noise stays white, and the likelihood is that
    of a free b at each antenna. Under codes that do not change amplitudes that do may stay (`independent`),
    Q s in place of s.

    Raises:
        ValueError: a single snapshot; codes that are all the same where amplitudes are, or change where
            amplitudes do.
    """
    n_snapshots = snapshots.shape[1]
    if n_snapshots < 2:
        raise ValueError(f"a static background needs 2 snapshots or more, got {n_snapshots}")
    change = (codes - codes[:, :1]).abs().amax((1, 2))
    is_same = change <= _SAME * codes.abs().amax((1, 2))
    is_constant = source_model == "constant"
    wrong = torch.nonzero(is_same == is_constant).flatten()
    if wrong.numel():
        law = (
            "`constant` sources need codes that change: what is the same in all snapshots may be a source"
            if is_constant
            else "sources need one code for all snapshots; where codes change, they are `constant`"
        )
        differ = float(change[wrong[0]])
        raise ValueError(f"a static background: {law}; got codes that differ by {differ:.3g} at most")
    contrasts = _helmert(n_snapshots).to(snapshots.device, snapshots.dtype)
    return contrasts @ snapshots, contrasts @ codes if is_constant else codes[:, 1:]


def check_noise_of_antennas(n_snapshots: int, source_model: str, is_stated: bool) -> None:
    """Whether an unknown noise power of every antenna can be told.

    Raises:
        ValueError: a noise power that is stated, one waveform, or too few snapshots.
    """
    if is_stated:
        raise ValueError("noise = antennas is of unknown powers; leave noise_power out, or noise = antennas")
    if source_model == "coherent":
        raise ValueError(
            "noise = antennas needs the snapshots one by one, and `coherent` sources leave one; state the "
            "noise_power of each antenna, [1, antenna]"
        )
    if n_snapshots < _LEAST_SNAPSHOTS:
        raise ValueError(
            f"noise = antennas needs {_LEAST_SNAPSHOTS} snapshots or more, got {n_snapshots}: fewer do not "
            "tell the noise power of each antenna; state it, noise_power = [1, antenna]"
        )


def static_share(snapshots: Snapshots, codes: Codes) -> Float[Tensor, " scene"]:
    """How much more of the snapshots is the same in all of them than of the codes.

    L |mean_l y_l|^2 / sum_l |y_l|^2 less the same of the codes: about 0 of sources alone under codes that are
    random, about 1 beside a strong path that no code reaches.
    """

    def share(values: Tensor) -> Tensor:
        powers = torch.view_as_real(values.to(torch.complex128)).square().sum(-1)
        mean = values.to(torch.complex128).mean(1)
        return values.shape[1] * torch.view_as_real(mean).square().sum((-1, -2)) / powers.sum((1, 2))

    return share(snapshots) - share(codes)


def _helmert(n: int) -> Tensor:
    """Row i: i entries 1 / sqrt(i (i + 1)), then -i / sqrt(i (i + 1)), then 0."""
    i = torch.arange(1, n, dtype=torch.float64)[:, None]
    place = torch.arange(n, dtype=torch.float64)
    rows = torch.where(place < i, 1.0, torch.where(place == i, -i, 0.0))
    return rows / (i * (i + 1.0)).sqrt()
