"""Records of a batch of scenes, and what is done to all their fields alike."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batched:
    """A frozen dataclass whose tensors and records of this kind have one row a scene each.

    Any other field is of all scenes, and so is a tensor that `SHARED` names, while it has one row.
    """

    SHARED: ClassVar[tuple[str, ...]] = ()

    @property
    def n_scenes(self) -> int:
        """Scenes of the batch."""
        first = next(iter(self._by_scene().values()))
        return first.n_scenes if isinstance(first, Batched) else len(first)

    def select(self, scenes: slice | Tensor) -> Self:
        """The same of some scenes."""

        def chosen(rows: Any) -> Any:
            return rows.select(scenes) if isinstance(rows, Batched) else rows[scenes]

        return replace(self, **{name: chosen(rows) for name, rows in self._by_scene().items()})

    def replaced(self, scenes: Tensor, other: Self) -> Self:
        """The same with the rows of another record in the places of some scenes."""

        def changed(rows: Any, new: Any) -> Any:
            return rows.replaced(scenes, new) if isinstance(rows, Batched) else rows.index_put((scenes,), new)

        rows = self._by_scene().items()
        return replace(self, **{name: changed(own, getattr(other, name)) for name, own in rows})

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """The same in the precision of a complex type, real numbers too, or on another device."""

        def moved(rows: Any) -> Any:
            if isinstance(rows, Batched):
                return rows.to(dtype, device)
            if dtype is None or not (rows.is_complex() or rows.is_floating_point()):
                return rows.to(device)
            return rows.to(device, dtype if rows.is_complex() else dtype.to_real())

        return replace(self, **{name: moved(rows) for name, rows in self._rows().items()})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The scenes of several records in order; what is of all scenes is that of the first.

        A shared tensor stays one row where it is the same in all parts.

        Raises:
            ValueError: a field that some parts hold and others lack.
        """
        held = [part._rows() for part in parts]
        if lacking := {name for rows in held for name in rows.keys() ^ held[0].keys()}:
            raise ValueError(f"all parts of a {cls.__name__} hold {sorted(lacking)}, or none does")

        def together(name: str, rows: Any) -> Any:
            if isinstance(rows[0], Batched):
                return rows[0].joined(rows)
            if name not in cls.SHARED:
                return torch.cat(rows)
            if all(len(own) == 1 and torch.equal(own, rows[0]) for own in rows):
                return rows[0]
            sizes = [part.n_scenes for part in parts]
            return torch.cat([own.expand(n, *own.shape[1:]) for own, n in zip(rows, sizes, strict=True)])

        return replace(parts[0], **{name: together(name, [rows[name] for rows in held]) for name in held[0]})

    def _rows(self) -> dict[str, Any]:
        """Fields that are tensors or records."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor | Batched)}

    def _by_scene(self) -> dict[str, Any]:
        """Those of them with a row a scene."""
        held = self._rows().items()
        return {name: rows for name, rows in held if name not in self.SHARED or len(rows) != 1}
