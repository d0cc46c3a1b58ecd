import io
import sys

import pytest

from risolve.running.progress import Progress


class Clock:
    """A clock that stands still between the steps of a test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_few_and_estimate_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress("simulate train", 100, "shards", clock=clock)
    for _ in range(100):
        clock.now += 0.5
        progress.advance()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "simulate train: 1 of 100 shards, 2 a second, 49.5 s left"
    assert lines[1] == "simulate train: 11 of 100 shards, 2 a second, 44.5 s left"
    assert lines[-1] == "simulate train: 100 of 100 shards in 50.0 s"
    assert len(lines) == 11


def test_earlier_work_counts_as_done_and_not_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress("train", 10, "epochs", done=6, clock=clock)
    clock.now = 60.0
    progress.advance(note="loss 1.2")
    assert stream.getvalue().splitlines() == [
        "train: 6 of 10 epochs found finished",
        "train: 7 of 10 epochs, 0.0167 a second, 3 min 00 s left, loss 1.2",
    ]


def test_a_terminal_sees_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(), Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress("bound", 3, "shards", clock=clock)
    for _ in range(3):
        clock.now += 1.0
        progress.advance()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("bound: 3 of 3 shards in 3.0 s\x1b[K\n")
