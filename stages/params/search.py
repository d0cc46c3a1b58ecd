"""What a search of hyperparameters may choose, in params.yaml. Frozen, strict, complete."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError, model_validator

from risolve.files.model_params import PositiveInt, Section
from stages.params.scenes import Epochs, Processes, Seed

Scalar: TypeAlias = bool | int | float | str

_MOST_CORNERS = 4096
"""Combinations of the ends and choices of one section that are tried."""

_FIXED = {
    "epochs": "search.epochs is the length of a trial",
    "seed": "a seed is nothing to choose by its luck",
    "device": "where a trial runs is no hyperparameter",
    "processes": "a trial trains in one process",
}


class Interval(Section):
    """All numbers from low to high, uniform in the number or (`log`) in its logarithm."""

    low: int | float
    high: int | float
    log: bool

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an interval has low < high, finite; got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic interval has low > 0, got {self.low}")
        return self

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """Lowest and highest value."""
        return self.low, self.high


class Choices(Section):
    """One of some values."""

    choices: Annotated[tuple[Scalar, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(map(repr, self.choices))) < len(self.choices):
            raise ValueError(f"choices lists each value once, got {list(self.choices)}")
        return self

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """All values."""
        return self.choices


def _kind(value: object) -> str:
    return (
        "choices"
        if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value)
        else "interval"
    )


Range: TypeAlias = Annotated[
    Annotated[Interval, Tag("interval")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)
]


class Space(Section):
    """Range of every hyperparameter that is searched, by section and key of params.yaml."""

    train: dict[str, Range]
    network: dict[str, Range]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.train or self.network):
            raise ValueError("space names one hyperparameter or more of train or network, got none")
        return self

    def ranges(self) -> Iterator[tuple[str, Range]]:
        """(SECTION.KEY, range) of every hyperparameter."""
        for section in ("train", "network"):
            for key, own in getattr(self, section).items():
                yield f"{section}.{key}", own

    def require_valid(self, section: str, values: Section) -> None:
        """Every combination of ends and choices of a section is one that the section takes.

        Raises:
            ValueError: an unknown key, one that is not searched, a value of the wrong type, or a combination
                that breaks a law of the section.
        """
        ranges: Mapping[str, Range] = getattr(self, section)
        known = type(values).model_fields
        for key, own in ranges.items():
            name = f"search.space.{section}.{key}"
            if key not in known:
                raise ValueError(f"{name} is no key of {section}; its keys are {', '.join(known)}")
            if key in _FIXED:
                raise ValueError(f"{name} is not searched: {_FIXED[key]}")
            whole = isinstance(getattr(values, key), int)
            if isinstance(own, Interval) and isinstance(getattr(values, key), bool | str | tuple):
                raise ValueError(f"{name} has no numbers between its values; give choices")
            if isinstance(own, Interval) and whole and not all(isinstance(end, int) for end in own.ends):
                raise ValueError(f"{name} counts whole things, got {own.low} to {own.high}")
        corners = itertools.product(*(own.ends for own in ranges.values()))
        for corner in itertools.islice(corners, _MOST_CORNERS):
            edits = dict(zip(ranges, corner, strict=True))
            try:
                type(values).model_validate({**values.model_dump(), **edits})
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                key = next((key for key in edits if key in first["loc"]), next(iter(edits)))
                law = first["msg"].removeprefix("Value error, ")
                raise ValueError(f"search.space.{section}.{key} allows {edits}: {law}") from None


_OPTION = "(host|port|sslmode|sslrootcert|sslcert|sslkey|service|connect_timeout|application_name)=[^\\s&%]*"
_URL = re.compile(
    r"postgresql\+psycopg://([^\s:@/?#%]+@)?([\w.-]+|\[[0-9A-Fa-f:.]+\])?(:[0-9]{1,5})?/[\w-]+"
    rf"(\?{_OPTION}(&{_OPTION})*)?",
    re.ASCII,
)
"""A study on PostgreSQL, without a password anywhere, encoded or not."""


def _storage(value: str) -> str:
    """Where a study is kept; the text of a wrong one may hold a secret, and is not repeated."""
    if value != "journal" and not _URL.fullmatch(value):
        raise ValueError(
            "storage is journal or postgresql+psycopg://USER@HOST:PORT/DATABASE; a password stands in "
            "~/.pgpass or PGPASSWORD, never here, where dvc.lock and reports would keep it"
        )
    return value


class Search(Section):
    """The search stage: how many trials, how long each, of what, judged by what.

    A trial trains on `scene_fraction` of the training scenes for `epochs`. Objectives are those of the
    validation scenes: found_rate of the learned estimator with refinement, and seconds, the CPU time that it
    takes of a scene. A pruner ends trials that fall behind; it needs one objective alone. n_trials and
    workers are budgets: more of them go on with the same study.
    """

    seed: Seed
    n_trials: PositiveInt
    workers: Processes
    storage: Annotated[str, AfterValidator(_storage)]
    sampler: Literal["tpe", "gp", "random"]
    pruner: Literal["hyperband", "median", "none"]
    objectives: Annotated[tuple[Literal["found_rate", "seconds"], ...], Field(min_length=1, max_length=2)]
    scene_fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    epochs: Epochs
    space: Space

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.objectives[0] != "found_rate" or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(
                f"objectives is [found_rate] or [found_rate, seconds], got {list(self.objectives)}"
            )
        if len(self.objectives) > 1 and self.pruner != "none":
            raise ValueError(f"pruner judges by one objective; with two it is none, got {self.pruner}")
        return self
