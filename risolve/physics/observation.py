"""What a receiver has: coded snapshots, and what is known of the system that made them."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from risolve.batched import Batched
from risolve.physics.array import Array, Numbers, tensor_of
from risolve.physics.limits import Limits, mirrors, visible
from risolve.physics.one_waveform import of_one_waveform
from risolve.physics.reception import check_noise_of_antennas, whitened, without_static
from risolve.shapes import Channel, Codes, Powers, Snapshots

SourceModel: TypeAlias = Literal["independent", "constant"]

GivenModel: TypeAlias = Literal["independent", "constant", "coherent"]
"""Source models of snapshots; `coherent` ones leave one snapshot of `constant` sources."""

Background: TypeAlias = Literal["none", "static"]
"""What antennas receive beside the sources."""

Noise: TypeAlias = Literal["equal", "antennas"]
"""Noise of one power at all antennas, or of an unknown one at each."""

Gains: TypeAlias = Literal["free", "equal"]
"""Amplitudes of sources that have one of their own each, or one together."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Observation(Batched):
    """Coded snapshots of a batch of scenes, y_l = H diag(c_l) A s_l + n_l.

    source_model: `independent`, s_l free in every snapshot; `constant`, one s for all snapshots.
    noise_power: sigma^2 of each scene, None where it is not known. noise: whether it is alike at all
    antennas, which `inference.antenna_noise` makes it. stated: what is known of the places of its
    sources, None where nothing is. recorded: how many snapshots these stand for (`inference.condensing`),
    None for themselves. gains: `equal` where all entries of s are the same. is_coherent: whether this is the
    one snapshot left of `coherent` sources, whose phase says nothing.
    """

    snapshots: Snapshots
    array: Array
    channel: Channel
    codes: Codes
    source_model: SourceModel
    noise_power: Powers | None
    noise: Noise
    stated: Limits | None
    recorded: int | None
    gains: Gains
    is_coherent: bool

    SHARED: ClassVar = ("channel", "codes")

    def __init__(
        self,
        snapshots: Numbers,
        array: Array,
        channel: Numbers | None = None,
        codes: Numbers | None = None,
        source_model: str = "independent",
        noise_power: Numbers | float | None = None,
        stated: Limits | None = None,
        recorded: int | None = None,
        *,
        background: str = "none",
        noise: str = "equal",
        gains: str = "free",
        is_coherent: bool = False,
    ) -> None:
        """Of one scene or many, in NumPy, which is copied, or torch, which is shared.

        snapshots: complex [scene, snapshot, antenna], or of one scene without the first axis. channel:
        [antenna, element], or one a scene; None where the antennas are the elements. codes: [snapshot,
        element] of exp(j phase), or one set a scene; None where there is no surface. source_model: also
        `coherent`, the same waveform of all sources, each with a factor of its own: the snapshots become one
        of `constant` sources, whose noise is stronger, and told by the rest of them where none is given
        (`of_one_waveform`). noise_power: one number, or one a scene, [scene] or [scene, 1], in the unit of
        |snapshot|^2; or of each antenna, [scene or 1, antenna], or a covariance, [scene or 1, antenna,
        antenna], which whitens snapshots and channel (`whitened`), so that the noise power held is 1. stated:
        limits of the places of sources; `locate` states them. background: "static" where each antenna also
        receives something that is the same in all snapshots, as the direct path beside a surface: it is
        projected out, which leaves one snapshot less (`without_static`). noise: "antennas" where the power of
        the noise is another one at every antenna, and unknown: `locate` estimates it. gains: "equal" where
        all `constant` or `coherent` sources have one complex amplitude, their waves one phase at the origin
        from which the places of the elements count.

        Raises:
            TypeError: snapshots that are real, or anything that holds no numbers.
            ValueError: shapes that do not agree, an unknown source model, background, noise or gains, noise
                that is none or cannot be told, a static background that cannot be told from sources, or
                equal gains of `independent` sources.
        """
        if not isinstance(array, Array):
            raise TypeError(f"array is an Array, got {type(array).__name__}")
        y = tensor_of("snapshots", snapshots)
        if not y.is_complex():
            raise TypeError(f"snapshots are complex (baseband), got {y.dtype}")
        y = _batched("snapshots", y, ("scene", "snapshot", "antenna"))
        n_scenes, n_snapshots, n_antennas = y.shape
        if channel is None and n_antennas != array.n_elements:
            raise ValueError(
                f"without a channel the antennas are the elements of the array; got {n_antennas} antennas "
                f"and {array.n_elements} elements"
            )
        H = torch.eye(array.n_elements) if channel is None else tensor_of("channel", channel)
        c = torch.ones((n_snapshots, array.n_elements)) if codes is None else tensor_of("codes", codes)
        if not c.is_complex() and bool(((c != 0) & (c.abs() != 1)).any()):
            raise ValueError(
                "codes are exp(j phase), complex, or real numbers -1, 0 and 1; got real ones from "
                f"{float(c.min()):g} to {float(c.max()):g}: are they phases?"
            )
        H = _batched("channel", H, ("scene", "antenna", "element"))
        c = _batched("codes", c, ("scene", "snapshot", "element"))
        for name, values, sizes in (
            ("channel", H, (n_antennas, array.n_elements)),
            ("codes", c, (n_snapshots, array.n_elements)),
        ):
            if values.shape[1:] != sizes or values.shape[0] not in (1, n_scenes):
                rows = "antenna" if name == "channel" else "snapshot"
                raise ValueError(
                    f"{name} is [scene, {rows}, element] = [{n_scenes} or 1, {sizes[0]}, {sizes[1]}] beside "
                    f"these snapshots and this array, got {list(values.shape)}"
                )
        dtype = torch.promote_types(torch.promote_types(y.dtype, H.dtype), c.dtype)
        if source_model not in get_args(GivenModel):
            raise ValueError(f"source_model is {', '.join(get_args(GivenModel))}, got {source_model!r}")
        y, H, c = y.to(dtype), H.to(y.device, dtype), c.to(y.device, dtype)
        power = None if noise_power is None else _powers(noise_power, n_scenes, n_antennas, y.device)
        if power is not None and power.ndim == 3:
            y, H = whitened(y, H, power)
            power = torch.ones(n_scenes, dtype=torch.float64, device=y.device)
        if background not in get_args(Background):
            raise ValueError(f"background is none or static, got {background!r}")
        if background == "static":
            y, c = without_static(y, c, source_model)
        if noise not in get_args(Noise):
            raise ValueError(f"noise is equal or antennas, got {noise!r}")
        if noise == "antennas":
            check_noise_of_antennas(y.shape[1], source_model, power is not None)
        if gains not in get_args(Gains):
            raise ValueError(f"gains are free or equal, got {gains!r}")
        if gains == "equal" and source_model == "independent":
            raise ValueError(
                "gains = equal is of sources that send the same, constant or coherent; got independent ones"
            )
        if source_model == "coherent":
            y, c, power = of_one_waveform(y, c, power)
            source_model, is_coherent = "constant", True
        held = {
            "snapshots": y,
            "array": array,
            "channel": H,
            "codes": c,
            "source_model": source_model,
            "noise_power": power,
            "noise": noise,
            "stated": stated,
            "recorded": recorded,
            "gains": gains,
            "is_coherent": is_coherent,
        }
        for name, value in held.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Sizes, and what is known."""
        bands = "" if self.array.n_bands == 1 else f" in {self.array.n_bands} bands"
        noise = "known" if self.noise_power is not None else f"unknown ({self.noise})"
        gains = " of equal gains" if self.gains == "equal" else ""
        return (
            f"Observation of {self.n_scenes} scenes, {self.n_recorded} snapshots, {self.n_antennas} "
            f"antennas, {self.array.n_places} elements{bands}; {self.source_model} sources{gains}, "
            f"noise power {noise}"
        )

    @property
    def limits(self) -> Limits:
        """Where its sources may be: what is stated, else all that the array sees."""
        return self.stated or visible(self.array, self.n_antennas)

    @property
    def mirrors(self) -> Limits:
        """Those of all that the array sees on which its elements lie."""
        return mirrors(self.array, self.n_antennas)

    @property
    def n_snapshots(self) -> int:
        return self.snapshots.shape[1]

    @property
    def n_recorded(self) -> int:
        """Snapshots that were recorded."""
        return self.n_snapshots if self.recorded is None else self.recorded

    @property
    def n_antennas(self) -> int:
        return self.snapshots.shape[2]

    @property
    def n_elements(self) -> int:
        return self.array.n_elements

    def n_amplitudes(self, n_sources: int) -> int:
        """Amplitudes of K sources that are not shared by snapshots: K, or one of equal gains."""
        return min(n_sources, 1) if self.gains == "equal" else n_sources

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Observation":
        """The same observation in another precision (complex64 or complex128) or on another device."""
        moved = super().to(dtype, device)
        return moved if device is None else replace(moved, array=self.array.to(device))


def sensing(observation: Observation) -> Complex[Tensor, "#scene snapshot antenna element"]:
    """Sensing matrices B_l = H diag(c_l) of every scene and snapshot."""
    return observation.channel[:, None] * observation.codes[:, :, None, :]


def respond(
    observation: Observation, field: Complex[Tensor, "#scene element column"]
) -> Complex[Tensor, "scene snapshot antenna column"]:
    """B_l F for every snapshot: the response at the antennas to columns of a field on the surface."""
    n_snapshots, n_columns = observation.codes.shape[1], field.shape[-1]
    coded = observation.codes[:, :, :, None] * field[:, None]
    n_scenes, n_elements = coded.shape[0], coded.shape[2]
    columns = coded.permute(0, 2, 1, 3).reshape(n_scenes, n_elements, n_snapshots * n_columns)
    received = observation.channel @ columns
    response: Tensor = received.unflatten(-1, (n_snapshots, n_columns)).permute(0, 2, 1, 3)
    return response


def estimated_snr(observation: Observation) -> Float[Tensor, " scene"]:
    """(mean_{l,m} |y|^2 - sigma^2) / sigma^2, a power ratio; it can be negative by chance.

    Raises:
        ValueError: the noise power is not known.
    """
    if observation.noise_power is None:
        raise ValueError(
            "the estimated SNR (mean |y|^2 - sigma^2) / sigma^2 needs the noise power; there is none"
        )
    # squares of weak snapshots leave single precision
    power = observation.snapshots.abs().double().square().mean((1, 2))
    return power / observation.noise_power - 1.0


def stacked_gram(observation: Observation) -> Complex[Tensor, "scene element element"]:
    """B^H B of the stacked sensing matrix B = [B_1; ...; B_L], without forming it.

    B^H B = sum_l diag(c_l)^* H^H H diag(c_l) = (H^H H) o (C^H C)    (elementwise)
    """
    channel, codes = observation.channel, observation.codes
    return (channel.mH @ channel) * (codes.mH @ codes)


def stacked_match(observation: Observation) -> Complex[Tensor, "scene element"]:
    """B^H y = sum_l diag(c_l)^* H^H y_l of the stacked sensing matrix and snapshots."""
    returned = observation.snapshots @ observation.channel.conj()
    match: Tensor = (returned * observation.codes.conj()).sum(1)
    return match


def _batched(name: str, values: Tensor, axes: tuple[str, str, str]) -> Tensor:
    """With the axis of the scenes, which one scene may lack.

    Raises:
        ValueError: another number of axes, or an axis of length 0.
    """
    held = values[None] if values.ndim == 2 else values
    if held.ndim != 3 or 0 in held.shape[1:]:
        law = f"[{', '.join(axes)}], or [{', '.join(axes[1:])}]"
        raise ValueError(f"{name} are {law}, one or more of each; got shape {list(values.shape)}")
    return held


def _powers(values: Numbers | float, n_scenes: int, n_antennas: int, device: torch.device) -> Tensor:
    """Noise power of every scene, or the covariance of the noise of every scene or of all.

    Raises:
        TypeError: complex powers.
        ValueError: neither one number, nor one a scene, one an antenna, or a covariance; or what may be one a
            scene or one an antenna.
    """
    held = tensor_of("noise_power", values)
    rows, matrix = (1, n_scenes), (n_antennas, n_antennas)
    if held.ndim == 3 and held.shape[0] in rows and held.shape[1:] == matrix:
        return held.to(device, torch.complex128)
    if held.is_complex():
        raise TypeError(f"noise_power is a power |n|^2 and real, got {held.dtype}")
    # tensors [scene] are those of this library
    if not isinstance(values, Tensor) and held.shape == (n_antennas,) and n_scenes == n_antennas > 1:
        raise ValueError(
            f"noise_power is [{n_scenes}, 1], one a scene, or [1, {n_antennas}], one an antenna, where there "
            f"are as many scenes as antennas; got {list(held.shape)}, which may be either"
        )
    if held.shape == (n_scenes, 1):
        held = held[:, 0]
    if held.ndim == 2 and held.shape[0] in rows and held.shape[1] == n_antennas:
        return torch.diag_embed(held.to(device, torch.complex128))
    if held.ndim == 0:
        held = held.expand(n_scenes)
    if held.shape != (n_scenes,):
        law = (
            f"one number, one a scene, [{n_scenes}] or [{n_scenes}, 1], one an antenna, [{n_scenes} or 1, "
            f"{n_antennas}], or a covariance, [{n_scenes} or 1, {n_antennas}, {n_antennas}]"
        )
        raise ValueError(f"noise_power is {law}; got {list(held.shape)}")
    return held.to(device)
