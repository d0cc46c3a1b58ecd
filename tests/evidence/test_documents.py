"""Tables of README and docs stand as `make docs` writes them from the committed results."""

import re

import pytest

from benchmarks._documents import PAGES, TABLES, written


def test_no_table_is_stale() -> None:
    assert [path.name for path in PAGES if written(path.read_text("utf-8")) != path.read_text("utf-8")] == []


def test_every_table_stands_on_one_page() -> None:
    found = [name for path in PAGES for name in re.findall(r"<!-- table: (.+) -->", path.read_text("utf-8"))]
    assert sorted(found) == sorted(TABLES)


def test_what_stands_between_the_marks_is_written_anew() -> None:
    page = "before\n<!-- table: speed -->\n\nold\n\n<!-- end of table -->\nafter\n"
    after = written(page)
    assert after.startswith("before\n<!-- table: speed -->\n\n| ms a scene |")
    assert after.endswith(" |\n\n<!-- end of table -->\nafter\n") and "old" not in after
    assert written(after) == after
    with pytest.raises(KeyError):
        written(page.replace("speed", "of nothing"))
    for half in (page.replace("\n\nold", "\nold"), page.replace("<!-- end of table -->", "prose") + page):
        with pytest.raises(ValueError, match="both"):
            written(half)
