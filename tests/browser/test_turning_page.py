"""The page of a scene turns in a browser, by dragging, keys and buttons, and asks no network."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, sync_playwright

from risolve.pictures.written import write_picture
from tests.browser.user_interface import PAGE_MILLISECONDS
from tests.pictures.cases import one_view

pytestmark = pytest.mark.slow


def drawn(space: Locator) -> list[str]:
    """Every line as it stands on the screen."""
    lines: list[str] = space.locator("path").evaluate_all("paths => paths.map(p => p.getAttribute('d'))")
    return lines


def test_a_scene_turns_without_a_network(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "scene.html"
    write_picture(page, [one_view()], 1)
    asked: list[str] = []
    faults: list[str] = []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=browser, args=["--disable-gpu"]) as program,
    ):
        shown = program.new_context(offline=True).new_page()
        shown.set_default_timeout(PAGE_MILLISECONDS)
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("pageerror", lambda error: faults.append(str(error)))
        shown.goto(page.as_uri())
        space = shown.locator("figure.space svg")
        assert space.locator("text.located").all_text_contents() == ["0", "1"]
        assert shown.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
        first = drawn(space)
        assert all(first)

        space.scroll_into_view_if_needed()
        box = space.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2.0, box["y"] + box["height"] / 2.0
        shown.mouse.move(x, y)
        shown.mouse.down()
        shown.mouse.move(x + 90.0, y, steps=5)
        shown.mouse.up()
        turned = drawn(space)
        assert turned != first
        shown.mouse.move(x, y)
        assert drawn(space) == turned

        space.press("Home")
        assert drawn(space) == first
        for key in ("ArrowLeft", "ArrowUp", "+", "1"):
            space.press(key)
            assert drawn(space) != first
            shown.get_by_role("button", name="as at first").click()
            assert drawn(space) == first
        # the source that a button names comes to the middle
        shown.get_by_role("button", name="about source 1").click()
        assert space.locator("path.located").nth(1).get_attribute("d") in {"M0.0 0.0h0", "M0.0 -0.0h0"}
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == [] and faults == []
