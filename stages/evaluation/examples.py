"""examples.npz: spectra of some scenes with several sources, next to the truth.

label [scene], truth (u, v, w) [scene, source, 3], and the spectra first_map, power_map, music_spectrum
[scene, v, u], each the largest over 1/r.
"""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from risolve.covariance import sample_covariance
from risolve.estimators.music import music_spectrum
from risolve.files.atomic import write_bytes
from risolve.inference.grid import Grid, grid_steering
from risolve.networks.trained import TrainedNetwork
from risolve.physics.geometry import cosines_from_sources
from stages.evaluation.splits import SplitScenes
from stages.evaluation.truth import SplitTruth


def write_examples(
    path: Path,
    n_examples: int,
    truth: SplitTruth,
    split: SplitScenes,
    network: TrainedNetwork,
    grid: Grid,
) -> None:
    """Spectra of `n_examples` scenes, spread over those of a split that have two sources or more, if any."""
    several = np.flatnonzero(truth.n_sources >= min(2, truth.n_sources.max()))
    picks = np.linspace(0, len(several) - 1, min(n_examples, len(several)))
    scenes = several[np.unique(picks.round().astype(int))]
    own = split.select(torch.from_numpy(scenes))
    sample = sample_covariance(own.covariances.factor)
    wave = grid_steering(grid, own.observation.array)
    counts = [max(int(truth.n_sources[scene]), 1) for scene in scenes]
    spectra = [music_spectrum(sample.select(slice(i, i + 1)), wave, k) for i, k in enumerate(counts)]
    maps = own.covariances.maps
    prediction = network.predict(maps.values, maps.estimated_snr, own.observation)
    powers = prediction.occupancy.softmax(-1)

    def image(values: Tensor) -> np.ndarray:
        return values.reshape(len(scenes), *grid.shape).amax(1).numpy()

    archive = io.BytesIO()
    np.savez(
        archive,
        label=np.array(
            [f"scene {s}, K = {truth.n_sources[s]}, {truth.snr_db[s]:g} dB" for s in scenes], dtype=str
        ),
        truth=cosines_from_sources(torch.from_numpy(truth.sources[scenes])).numpy(),
        first_map=image(maps.values[:, 0]),
        power_map=image(powers),
        music_spectrum=image(torch.cat(spectra) if spectra else powers),
    )
    write_bytes(path, archive.getbuffer())
