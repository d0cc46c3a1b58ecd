"""Write the report of a run, or print its headline table.

Reads params.yaml, data/evaluation/{strata, range_strata, counts, count_confidence, calibration}.csv,
data/evaluation/{metrics.json, examples.npz}, data/bounds/threshold.csv and data/models/{history.csv,
health.json}; writes data/report/report.html and the picture data/report/found_rate.svg. With --show it reads
data/evaluation/strata.csv and prints a short table and the path of the report; where it is known what these
results took, it writes the page of times, state/times/times.html, and prints its path too.
"""

from pathlib import Path

from risolve.errors import StageError
from risolve.files.atomic import write_text
from risolve.running.entry import Parser
from risolve.running.terminal import print_lines
from stages.page.blocks import rate_picture
from stages.page.figures import method_styles
from stages.page.page import SOURCE_MODELS, render
from stages.page.provenance import provenance
from stages.page.run_files import PICTURE, REPORT, STRATA, ReportError, read_inputs, read_table
from stages.page.strata_tables import known, short_table, with_sources
from stages.page.times_page import read_times, render_times
from stages.params.file import PARAMS, read_params
from stages.params.model import TEST_SPLITS
from stages.running.state import state_root
from stages.running.verb import run_verb

SHORT_WIDTH, SHORT_HEIGHT = 110, 23


def page(root: Path) -> str:
    """The report of the working copy at `root`."""
    params = read_params(root / PARAMS)
    return render(read_inputs(root), params, (root / PARAMS).read_text("utf-8"))


def picture(root: Path) -> bytes:
    """Found rate by SNR of the first test split, as one SVG picture."""
    strata = known(with_sources(read_table(root, STRATA)))
    own = strata[strata["split"] == TEST_SPLITS[0]]
    return rate_picture(own, method_styles(own["method"]))


def headline(root: Path) -> list[str]:
    """The short table of the working copy at `root`, and the path of its report.

    Raises:
        ReportError: no report was written yet, or the strata are absent or malformed.
    """
    report = root / REPORT
    if not report.is_file():
        raise ReportError(
            f"there is no report yet: {REPORT} does not exist; `dvc repro report` (or `make run`) writes it"
        )
    params = read_params(root / PARAMS)
    titles = {split: SOURCE_MODELS[params.simulate.split(split).source_model] for split in TEST_SPLITS}
    table = short_table(read_table(root, STRATA), titles, SHORT_WIDTH, SHORT_HEIGHT)
    return [*table, f"Report: {report.resolve()}"]


def times_line(root: Path) -> str:
    """Write the page of times of the working copy at `root`; its path, or that no times are known.

    Raises:
        ReportError: the times that were kept break a law.
    """
    times, path = read_times(root), state_root() / "times" / "times.html"
    if not times.are_known:
        path.unlink(missing_ok=True)
        return "Times: not known here, these results were computed elsewhere or state/ was removed"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_times(times, provenance(root)))
    return f"Times: {path.resolve()}"


def main() -> None:
    """Command line of the report."""
    parser = Parser(prog="python -m stages.report", description="Write the report of the last evaluation.")
    parser.add_argument(
        "--show",
        action="store_true",
        help="print the headline table and the paths of report and page of times",
    )
    if parser.parse_args().show:
        print_lines(headline(Path()))
        try:
            times = times_line(Path())
        except StageError as error:  # times are no results
            times = f"Times: not shown ({error})"
        print_lines([times])
    else:
        write_text(REPORT, page(Path()))
        write_text(PICTURE, picture(Path()).decode())


if __name__ == "__main__":
    run_verb(main)
