"""Named tensor shapes; checked on every call in every test run (jaxtyping with beartype)."""

from typing import TypeAlias

from jaxtyping import Bool, Complex, Float
from torch import Tensor

Elements: TypeAlias = Float[Tensor, "element 3"]
"""Element positions (m)."""

Sources: TypeAlias = Float[Tensor, "*scene source 3"]
"""(azimuth (rad), elevation (rad), inverse range (1/m)) of each source; NaN where a slot is empty."""

SourceMask: TypeAlias = Bool[Tensor, "scene source"]
"""True where a slot of `Sources` holds a source."""

Steering: TypeAlias = Complex[Tensor, "*scene source element"]
"""a_n = exp(-j k (|p - e_n| - |p|)), one row a source."""

Snapshots: TypeAlias = Complex[Tensor, "scene snapshot antenna"]
"""y_l = B_l A s_l + n_l."""

Channel: TypeAlias = Complex[Tensor, "#scene antenna element"]
"""H, one a scene or one for all."""

Codes: TypeAlias = Complex[Tensor, "#scene snapshot element"]
"""c_l, one set a scene or one for all."""

Powers: TypeAlias = Float[Tensor, "scene"]
"""One power a scene, linear."""
