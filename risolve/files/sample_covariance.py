"""A sample covariance as snapshots that have it: as many as it is the mean of, so that likelihoods stay."""

import math
from typing import Any

import numpy as np
from jaxtyping import Complex
from numpy.typing import NDArray

from risolve.files.contents import MadeField, Refused, StoredField
from risolve.files.reader import Reader

_ROUNDING = 1e-5
"""Of the largest eigenvalue: what single precision leaves of a Hermitian part, or of an eigenvalue of 0."""


def snapshots_behind(reader: Reader, covariance: StoredField) -> MadeField:
    """Snapshots [scene, snapshot, antenna] of R = (1/L) sum_l y_l y_l^H [scene, antenna, antenna].

    Without codes a likelihood knows snapshots by R and L alone: any others with the same R have the same one.

    Raises:
        MeasurementError: codes, no square matrices, or a number of snapshots that is not stated.
    """
    if reader.has("codes"):
        law = "of snapshots that share one set of codes, which the channel then holds; the file has codes"
        raise reader.fault("covariance", f"{law}, one set a snapshot; leave them out, or bring the snapshots")
    shape = covariance.shape
    if len(shape) != 3 or shape[1] != shape[2] or covariance.dtype.kind != "c":
        raise reader.fault("covariance", f"complex [scene, antenna, antenna], got {covariance.dtype} {shape}")
    if not reader.has_attribute("n_snapshots"):
        law = "missing; of how many snapshots a covariance is the mean, state --snapshots L; the file holds"
        raise reader.fault("attribute n_snapshots", f"{law} {reader.listed()}")
    stated = reader.positive("n_snapshots")
    n_snapshots = int(stated)
    if n_snapshots != stated:
        raise reader.fault("attribute n_snapshots", f"a whole number, got {stated:g}")

    def read(rows: slice | tuple[()]) -> NDArray[Any]:
        held = covariance.read(rows).astype(np.complex128)
        return np.stack([_snapshots(one, n_snapshots) for one in held])

    return MadeField(np.dtype(np.complex128), (shape[0], n_snapshots, shape[1]), None, read)


def _snapshots(
    covariance: Complex[np.ndarray, "antenna antenna"], n_snapshots: int
) -> Complex[np.ndarray, "snapshot antenna"]:
    """y_l = sum_k exp(2 pi j l k / L) sqrt(lambda_k) u_k, k = 1, 2, ..., of R = sum_k lambda_k u_k u_k^H.

    Their mean is 0 unless R has the rank L.

    Raises:
        Refused: not Hermitian, not positive semidefinite, or of a rank that L snapshots cannot have.
    """
    R, L = covariance, n_snapshots
    if not np.isfinite(R).all():
        # such a scene is left out, as one of snapshots
        return np.full((L, len(R)), np.nan + 0j)
    skew, largest = float(np.abs(R - R.conj().T).max()), float(np.abs(R).max())
    if skew > _ROUNDING * largest:
        raise Refused(f"a covariance is Hermitian, got |R - R^H| up to {skew:g} beside |R| up to {largest:g}")
    values, vectors = np.linalg.eigh(R)
    if values[0] < -_ROUNDING * values[-1]:
        law = "a covariance is positive semidefinite"
        raise Refused(f"{law}, got eigenvalues from {values[0]:g} to {values[-1]:g}")
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    rank = int((values > _ROUNDING * values[0]).sum())
    if rank > L:
        law = f"a covariance of {L} snapshots has a rank of {L} at most"
        raise Refused(f"{law}, got {rank}: was it loaded, or smoothed? take it as it was")
    kept = min(len(R), L)
    turns = np.outer(np.arange(L), np.arange(1, kept + 1)) % L
    waves = np.exp(2j * math.pi / L * turns)
    snapshots: NDArray[Any] = (waves * np.sqrt(values[:kept])) @ vectors[:, :kept].T
    return snapshots
