"""Readings of health.json and metrics.json as words."""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.page.tables import ABSENT


def readings(health: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """(quantity, first epoch, last epoch, the incident's log, what it should have read)."""
    first, last = health["epochs"][0], health["epochs"][-1]
    rows = []
    for name, value in last.items():
        if name == "epoch":
            continue
        failed = expected = ABSENT
        incident = health["incident"].get(name)
        if isinstance(incident, dict):
            measured = incident.get("measured")
            failed = "NaN" if measured is None else text(measured)
            expected = text(incident.get("expected"))
        rows.append((words(name), text(first.get(name)), text(value), failed, expected))
    return rows


def text(value: object) -> str:
    """A reading: a number, "low to high", "median (min to max)", or the text itself; a dash for nothing."""
    if value is None:
        return ABSENT
    if isinstance(value, dict) and {"min", "median", "max"} <= value.keys():
        return f"{text(value['median'])} ({text(value['min'])} to {text(value['max'])})"
    if isinstance(value, dict):
        return ", ".join(f"{words(str(name))} {text(one)}" for name, one in value.items())
    if isinstance(value, list) and len(value) == 2:
        return text(value[0]) if value[0] == value[1] else f"{text(value[0])} to {text(value[1])}"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e3 <= abs(value) < 1e5 else f"{value:.3g}"
    return str(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested readings as (words, text)."""
    for name, value in values.items():
        title = f"{prefix} {words(name)}".strip()
        if isinstance(value, dict) and {"min", "median", "max", "mean"} <= value.keys():
            yield title, f"mean {text(value['mean'])}, median {text(value)}"
        elif isinstance(value, dict):
            yield from flat(value, title)
        else:
            yield title, text(value)


_WORDS = {"r_samp": "R_samp", "r_pred": "R_pred", "r_blend": "R_blend"}


def words(name: str) -> str:
    """`r_samp_trace_error` -> "R_samp trace error"."""
    for key, word in _WORDS.items():
        if name.startswith(key):
            return word + words(name.removeprefix(key))
    return name.replace("_", " ")
