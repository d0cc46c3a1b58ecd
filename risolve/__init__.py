"""Several radio sources in the near field, located from a few snapshots of any array.

    import risolve
    array = risolve.planar(12, 12, spacing=0.05, wavelength=0.1)
    seen = risolve.Observation(snapshots, array, channel=H, codes=C)
    found = risolve.locate(seen, sources=2)
    found.to_pandas()

docs/python.md explains them. `PUBLIC` are the public names; what is not among them is private.

Conventions
-----------
Inside the package: SI units, radians, linear power, complex baseband, no unit suffix. At every edge
(params.yaml, HDF5, CSV, plots, command line) a suffix `_m _deg _db _s`, converted once. Tensors are batch
first over scenes.

Notation
--------
======  =====================  =============================================  ==================  ==========
symbol  name                   meaning                                        shape               unit
======  =====================  =============================================  ==================  ==========
N       n_elements             elements of the surface (RIS)
M       n_antennas             antennas of the base station
L       n_snapshots            coded snapshots of a scene
K       n_sources              sources of a scene
G       n_points               points of the search grid
phi     azimuth                from boresight +z towards +x                   scene source        rad
theta   elevation              from the x-z plane towards +y                  scene source        rad
r       range                  distance from the centre of the surface        scene source        m
w       inverse range          1 / r                                          scene source        1/m
u, v    direction cosines      u = sin(phi) cos(theta), v = sin(theta)                            1
q       direction              (u, v, sqrt(1 - u^2 - v^2)), p = r q           source 3            1
p       position               p = r q                                        source 3            m
e_n     elements               element positions, vertical slow               element 3           m
a_n     steering               exp(-j k (|p - e_n| - |p|)), k = 2 pi/lambda   source element      1
A       steering matrix        columns a(p_1) ... a(p_K)                      element source      1
s_l     amplitudes             complex source amplitudes of snapshot l        snapshot source     sqrt(power)
c_l     code                   phase profile of the surface, |c_ln| = 1       snapshot element    1
H       channel                surface to base station                        antenna element     1
B_l     sensing                B_l = H diag(c_l)                              antenna element     1
y_l     snapshot               y_l = B_l A s_l + n_l                          snapshot antenna    sqrt(power)
sigma2  noise power            n_l ~ CN(0, sigma2 I)                          scene               power
x_l     LS amplitudes          field on the surface, least squares            snapshot element    sqrt(power)
R       covariance             of the field on the surface, tr R = N          element element     1
beta    blend                  weight of R_samp in R_blend                                        1
eps     diagonal loading       R_blend + eps I                                                    1
======  =====================  =============================================  ==================  ==========

A source is the triple (azimuth, elevation, inverse range): the exact spherical wave is regular in 1/r, and
1/r = 0 is the plane wave.
"""

import importlib
import os
import shutil
import sys
from typing import Any

PUBLIC = {
    "Array": "risolve.physics.array",
    "linear": "risolve.physics.array",
    "planar": "risolve.physics.array",
    "circular": "risolve.physics.array",
    "Observation": "risolve.physics.observation",
    "bands": "risolve.physics.bands",
    "locate": "risolve.door",
    "FoundSources": "risolve.door",
    "LocatedSources": "risolve.files.located_sources",
    "bound": "risolve.door",
    "PlaceBound": "risolve.door",
    "calibrate": "risolve.calibrating",
    "CalibratedArray": "risolve.files.calibrated_array",
    "plot_array": "risolve.pictures.array",
    "read_array": "risolve.files.calibrated_arrays",
    "write_array": "risolve.files.calibrated_arrays",
    "read_measurements": "risolve.files.measurements",
    "write_measurements": "risolve.files.measurements",
    "estimator_names": "risolve.door",
    "load_model": "risolve.files.model",
    "example": "risolve.files.shipped",
    "Model": "risolve.files.model",
}
"""Public name -> module that defines it, which is loaded when the name is first used."""


__all__ = list(PUBLIC)


def __getattr__(name: str) -> Any:
    """A public name; `import risolve` alone loads no torch."""
    if name not in PUBLIC:
        raise AttributeError(f"risolve has no {name}; there are {', '.join(PUBLIC)}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *PUBLIC]


# OpenMP reads it when torch loads it: threads that wait for one another sleep. By default they spin on a core
# that they take from the thread they wait for as soon as any other process is at work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Python puts bytecode in its place however little of it was written: what a full disk cuts short is no module
# any more when there is room again.
if shutil.disk_usage(os.path.dirname(__file__)).free < 2**26:
    sys.dont_write_bytecode = True
