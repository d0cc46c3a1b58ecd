"""Reads a trained network and files of measurements, whose truth it has no use for; returns the network
with an R_pred tuned on them, for `risolve finetune`.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from risolve.covariance import sample_factor
from risolve.files import model_grid
from risolve.files.checkpoint import save_checkpoint
from risolve.files.hdf5 import source_paths
from risolve.files.measurement_stream import MADE_BY, measurement_stream
from risolve.files.model import Model, Tuning
from risolve.files.source import computed
from risolve.files.training_state import read_training_state
from risolve.inference.maps import MapSettings, fit_maps
from risolve.inference.noise import estimated_noise_power
from risolve.inference.scaling import unit_scale
from risolve.networks.examples import UNKNOWN, Examples, joined_examples
from risolve.networks.fit import FitSettings, FitState, fit
from risolve.networks.memory_feed import MemoryFeed
from risolve.networks.tuning import held_back_loss, shared_out, tuning_settings
from risolve.physics.observation import Observation
from risolve.running.progress import Progress
from risolve.running.shards import one_thread
from risolve.shown import shown
from risolve.tune import Subject, TuningOptions, require_enough

_STATE = "state.pt"


@dataclass(frozen=True)
class TunedModel:
    """A network after its tuning, which is the last of its `tunings`, and how many scenes were left out."""

    model: Model
    n_left_out: int


def finetune(
    model: Model,
    examples: Examples,
    files: Sequence[Path],
    options: TuningOptions,
    state: FitState | None,
    remark: Callable[[str], None],
    after_epoch: Callable[[FitState], None],
) -> Model:
    """The model with an R_pred of the epoch of least likelihood loss of the scenes held back, or with that
    which it has, where no epoch has less.

    Raises:
        TrainingDiverged: a law is broken or a number is not finite.
    """
    shares = shared_out(examples, options.held_back, options.seed)
    trained, dictionary = model.trained, model.trained.dictionary
    settings = _settings(model, options)
    original = trained.network if trained.of_covariance is None else trained.of_covariance
    before = held_back_loss(original, shares.held_back, dictionary, settings)
    remark(f"before: likelihood loss of {len(shares.held_back)} scenes held back {before:.5f}")
    learned = MemoryFeed(shares.learned, settings.batch_size, settings.seed)
    done = 0 if state is None else state["epoch"] * learned.n_batches
    progress = Progress("finetune", options.epochs * learned.n_batches, "batches", done)

    def keep(state: FitState) -> None:
        after_epoch(state)
        loss = state["history"][-1]["validation_loss"]
        remark(f"epoch {state['epoch']} of {options.epochs}: likelihood loss held back {loss:.5f}")

    def show(epoch: int, batch: int, n_batches: int) -> None:
        progress.advance(note=f"epoch {epoch} of {options.epochs}")

    network = copy.deepcopy(original)
    state = fit(network, network, learned, shares.held_back, dictionary, settings, state, keep, show)
    best_epoch, after = 0, before
    best = state["best"]
    if best["validation_loss"] < before:
        best_epoch, after = best["epoch"], best["validation_loss"]
        network.load_state_dict(best["network"])
        trained = replace(trained, of_covariance=network.eval())
    tuning = Tuning(
        files=tuple(shown(file.name) for file in files),
        n_scenes=len(examples),
        n_held_back=len(shares.held_back),
        epochs=options.epochs,
        lr=options.lr,
        seed=options.seed,
        best_epoch=best_epoch,
        loss_before=before,
        loss_after=after,
    )
    return Model(model.params, trained, (*model.tunings, tuning))


def _settings(model: Model, options: TuningOptions) -> FitSettings:
    return tuning_settings(
        options.epochs,
        options.lr,
        options.seed,
        model.trained.calibration.blend_beta,
        model.params.covariance.diagonal_loading,
    )


def unlabelled(observation: Observation, model: Model) -> Examples:
    """What a network learns from of scenes whose sources are not known.

    Raises:
        ValueError: scenes of which a covariance cannot be made.
    """
    if observation.noise_power is None:
        observation = replace(observation, noise_power=estimated_noise_power(observation))
    params, n_scenes = model.params, observation.n_scenes
    own = replace(observation.array, spherical_amplitude=params.array.spherical_amplitude)
    observation = replace(observation, array=own)
    settings = MapSettings(model_grid.grid(params), params.normalize.map_iterations)
    maps = fit_maps(observation, settings)
    shared = torch.full((n_scenes,), observation.source_model == "constant")
    # squares of weak snapshots leave single precision, and the loss knows no scale
    scaled = unit_scale(observation)
    snapshots, channel, codes = (
        values.to(torch.complex64).expand(n_scenes, -1, -1)
        for values in (scaled.snapshots, scaled.channel, scaled.codes)
    )
    return Examples(
        maps=maps.values,
        estimated_snr=maps.estimated_snr,
        shared=shared,
        factor=sample_factor(observation, params.covariance.ls_ridge),
        sources=torch.full((n_scenes, 1, 3), torch.nan, dtype=torch.float64),
        power=torch.zeros((n_scenes, 1), dtype=torch.float64),
        n_sources=torch.full((n_scenes,), UNKNOWN, dtype=torch.int32),
        observation=replace(scaled, snapshots=snapshots, channel=channel, codes=codes),
    )


def finetune_files(
    files: Sequence[Path],
    options: TuningOptions,
    subject: Subject,
    remark: Callable[[str], None],
    work: Path,
) -> TunedModel:
    """The network with an R_pred tuned on the scenes of some files, or of directories of shards; see
    `finetune`.

    What is odd, left out or reached goes to `remark`, one line each. work: a directory that keeps the state
    of every epoch, so that a later call of the same goes on with it.

    Raises:
        MeasurementError: a file that is damaged or was changed, too few scenes that can be used.
        CheckpointError: a damaged state in `work`.
        TrainingDiverged: a law is broken or a number is not finite.
    """
    model, n_scenes, looks = subject
    parts, n_left_out = list[Examples](), 0
    progress = Progress("maps", n_scenes, "scenes")
    for file in files:
        first_scene = 0
        for path in source_paths(file, MADE_BY):
            with one_thread(), measurement_stream(path, looks) as stream:
                for warning in stream.warnings:
                    remark(warning)
                for scenes in stream.chunk_scenes():
                    chunk, examples = computed(path, stream.read(scenes), partial(unlabelled, model=model))
                    parts += [] if examples is None else [examples]
                    for scene, reason in chunk.left_out.items():
                        remark(f"{file}: scene {first_scene + scene} is left out: {reason}")
                    n_left_out += len(chunk.left_out)
                    progress.advance(len(chunk.scenes) + len(chunk.left_out))
                first_scene += stream.sizes.scenes
    require_enough(n_scenes - n_left_out, files)
    sections, path = model.params.model_dump(mode="json"), work / _STATE
    state = None
    if path.exists():
        state = read_training_state(path, sections, model.params, _settings(model, options), {})

    def keep(state: FitState) -> None:
        save_checkpoint(path, state, sections)

    tuned = finetune(model, joined_examples(parts), files, options, state, remark, keep)
    return TunedModel(tuned, n_left_out)
