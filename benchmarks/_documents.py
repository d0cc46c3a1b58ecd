"""Tables of README and docs, each between two lines of its page, from the results that git has.

python -m benchmarks._documents      writes them anew: make docs

<!-- table: NAME -->
...
<!-- end of table -->
"""

import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks import (
    ablation,
    accuracy,
    arrays,
    bands,
    beyond,
    delay,
    finetune,
    growth,
    learned,
    nuisances,
    peers,
    robustness,
    sizes,
    speed,
)
from benchmarks._cells import RESULTS
from stages.page.page import SOURCE_MODELS
from stages.page.run_files import STRATA, read_table
from stages.page.strata_tables import short_table
from stages.params.file import read_params
from stages.params.model import TEST_SPLITS
from stages.report import SHORT_HEIGHT, SHORT_WIDTH

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BEGIN, _END = "<!-- table: ", "<!-- end of table -->"
_TABLE = re.compile(rf"({_BEGIN}([^\n]+) -->\n\n)(?:(?!{_BEGIN}).)*?(\n{_END})", re.S)


def _run() -> list[str]:
    params = read_params(ROOT / "params.yaml")
    titles = {split: SOURCE_MODELS[params.simulate.split(split).source_model] for split in TEST_SPLITS}
    lines = short_table(read_table(ROOT, STRATA), titles, SHORT_WIDTH, SHORT_HEIGHT)
    return [f"    {line}".rstrip() for line in lines]


def _of(name: str, documented: Callable[[pd.DataFrame], list[str]]) -> Callable[[], list[str]]:
    return lambda: documented(pd.read_csv(RESULTS / f"{name}.csv"))


TABLES: Mapping[str, Callable[[], list[str]]] = {
    "the committed run": _run,
    "accuracy": _of("accuracy", accuracy.documented),
    "counting": _of("accuracy", accuracy.counts_documented),
    "arrays": _of("arrays", arrays.documented),
    "bands": _of("bands", bands.documented),
    "delay": _of("delay", delay.documented),
    "nuisances": _of("nuisances", nuisances.documented),
    "coherent": _of("peers", partial(peers.documented, kind="coherent")),
    "equal gains": _of("peers", partial(peers.documented, kind="equal")),
    "compressed": _of("peers", partial(peers.documented, kind="compressed")),
    "speed": _of("speed", speed.documented),
    "growth": _of("growth", growth.documented),
    "finetune": _of("finetune", finetune.documented),
    "against the genie": _of("learned_genie", learned.documented),
    "beyond the training": _of("beyond", beyond.documented),
    "ablation": _of("ablation", ablation.documented),
    "robustness": _of("robustness", robustness.documented),
    "sizes": _of("sizes", sizes.documented),
}


def written(page: str) -> str:
    """A page with its tables as the results are now.

    Raises:
        KeyError: a table that is none of `TABLES`.
        ValueError: a table without both of its marks, each with an empty line.
    """
    if not len(_TABLE.findall(page)) == page.count(_BEGIN) == page.count(_END):
        raise ValueError("every table has both of its marks, and an empty line within each")
    return _TABLE.sub(lambda found: f"{found[1]}{chr(10).join(TABLES[found[2]]())}\n{found[3]}", page)


def main() -> None:
    """Write all pages, and say which are others now."""
    for path in PAGES:
        before = path.read_text("utf-8")
        after = written(before)
        if after != before:
            path.write_text(after, "utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
