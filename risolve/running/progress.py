"""Progress of a long run on standard error: share done, rate, and an estimate of the time left."""

import time
from collections.abc import Callable

from risolve.running.terminal import draw, is_drawn_on, tell
from risolve.shown import shown

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.2


class Progress:
    """Counts finished items: one line that renews itself on a terminal, a line every few seconds elsewhere.

    `done` items were finished by an earlier run: they count as done and not for the rate.
    """

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._earlier = done, done
        self._clock = clock
        self._start = clock()
        self._written = -float("inf")
        if done:
            say(label, f"{done} of {total} {unit} found finished")

    def advance(self, items: int = 1, note: str = "") -> None:
        """Count finished items; the note (a loss, a rate) stands at the end of the line."""
        self._done += items
        now = self._clock()
        terminal = is_drawn_on()
        wait = _SECONDS_BETWEEN_UPDATES if terminal else _SECONDS_BETWEEN_LINES
        last = self._done >= self._total
        if not last and now - self._written < wait:
            return
        self._written = now
        line = self._line(now) + (f", {note}" if note else "")
        if terminal:
            draw(f"\r{shown(line)}\x1b[K" + ("\n" if last else ""))
        else:
            tell(line)

    def _line(self, now: float) -> str:
        elapsed = max(now - self._start, 1e-9)
        rate = (self._done - self._earlier) / elapsed
        line = f"{self._label}: {self._done} of {self._total} {self._unit}"
        if self._done >= self._total:
            return f"{line} in {duration(elapsed)}"
        return f"{line}, {rate:.3g} a second, {duration((self._total - self._done) / rate)} left"


def say(label: str, line: str) -> None:
    """A line of its own between those of the progress."""
    tell(f"{label}: {line}")


def duration(seconds: float) -> str:
    """A time span in words of two units.

    >>> duration(7325.0), duration(65.2), duration(4.25)
    ('2 h 02 min', '1 min 05 s', '4.2 s')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
