"""The page of `dvc plots` draws its plots without a network."""

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from flows.plots_page import page
from tests.browser.user_interface import PAGE_MILLISECONDS
from tests.pipeline.working_copy import WorkingCopy

pytestmark = pytest.mark.slow

CURVE = """
stages:
  one:
    cmd: "true"
    plots:
      - curve.csv:
          cache: false
"""


def test_plots_are_drawn_without_a_network(browser: str, tmp_path: Path) -> None:
    template = tmp_path / "template.html"
    template.write_text(page(), "utf-8")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "curve.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
    (repository / "dvc.yaml").write_text(CURVE)
    copy = WorkingCopy(repository)
    copy.succeed("git", "init", "--quiet")
    copy.succeed("dvc", "init", "--quiet")
    copy.succeed("dvc", "plots", "show", "--html-template", str(template), "--out", str(tmp_path / "plots"))
    asked: list[str] = []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=browser, args=["--disable-gpu"]) as program,
    ):
        context = program.new_context(offline=True)
        shown = context.new_page()
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto((tmp_path / "plots" / "index.html").as_uri())
        shown.locator("canvas, svg.marks").first.wait_for(timeout=PAGE_MILLISECONDS)
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
