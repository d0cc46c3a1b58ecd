"""Files of evidence, "risolve-evidence" version 1: what some scenes of known truth say of a network.

attributes                  format, version
noise_known/..., noise_unknown/...: what speaks for each number of sources, the noise power told or not
    log_probabilities       float32 [scene, count]    log P_net(K), K = 0, 1, ...
    cost                    float64 [scene, count]    V_K of the likelihood; infinite where no fit was made
    estimated_snr           float32 [scene]           a power ratio
shared                      bool [scene]              amplitudes shared by all snapshots (`constant` sources)
n_sources                   int32 [scene]             the truth
blend_error                 float32 [scene, beta]     normalized square error of R_blend by the weight of
                                                      R_samp; NaN in scenes without sources
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from risolve.batched import Batched
from risolve.files import hdf5
from risolve.files.reader import Reader, reading
from risolve.networks.counting import Evidence

FORMAT = "risolve-evidence"
VERSION = 1


@dataclass(frozen=True)
class Known(Batched):
    """Evidence with the noise power told and not told, the true number of sources of every scene, and the
    errors of its blends.
    """

    noise_known: Evidence
    noise_unknown: Evidence
    n_sources: Int[Tensor, " scene"]
    blend_error: Float[Tensor, "scene beta"]


def write_evidence(path: Path, known: Known) -> None:
    """Write one file."""
    datasets = {
        "shared": known.noise_known.shared.numpy(),
        "n_sources": known.n_sources.numpy(),
        "blend_error": known.blend_error.numpy(),
    }
    for name, evidence in (("noise_known", known.noise_known), ("noise_unknown", known.noise_unknown)):
        datasets[f"{name}/log_probabilities"] = evidence.log_probabilities.numpy()
        datasets[f"{name}/cost"] = evidence.cost.numpy()
        datasets[f"{name}/estimated_snr"] = evidence.estimated_snr.numpy()
    hdf5.write(path, {"format": FORMAT, "version": VERSION}, datasets)


def read_evidence(paths: list[Path]) -> Known:
    """The evidence of several files, one after another.

    Raises:
        MeasurementError: a missing, foreign or damaged file.
    """
    parts = []
    for path in paths:
        with reading(path, FORMAT, VERSION, "remove it and run `calibrate` again") as reader:
            shared = torch.from_numpy(reader.array("shared", np.bool_, "scene"))
            parts.append(
                Known(
                    _evidence(reader, "noise_known", shared),
                    _evidence(reader, "noise_unknown", shared),
                    torch.from_numpy(reader.array("n_sources", np.int32, "scene")),
                    torch.from_numpy(reader.array("blend_error", np.float32, "scene beta", finite=False)),
                )
            )
    return Known.joined(parts)


def _evidence(reader: Reader, name: str, shared: Tensor) -> Evidence:
    return Evidence(
        torch.from_numpy(reader.array(f"{name}/log_probabilities", np.float32, "scene count")),
        torch.from_numpy(reader.array(f"{name}/cost", np.float64, "scene count", finite=False)),
        torch.from_numpy(reader.array(f"{name}/estimated_snr", np.float32, "scene")),
        shared,
    )
