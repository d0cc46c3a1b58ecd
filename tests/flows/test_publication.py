"""What a run leaves in Prefect: pictures that travel with it, and pages on this machine."""

import base64
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.pipeline import pipeline
from flows.publication import PAGES_URL, pages_directory

SHOW = """
  show:
    cmd: python -c "open('some_rates.svg', 'w').write('<svg/>'); open('page.html', 'w').write('seen')"
    outs: [page.html]
    plots: [some_rates.svg]
"""


@pytest.fixture
def shown(repository: Path) -> Path:
    with (repository / "dvc.yaml").open("a") as file:
        file.write(SHOW)
    return repository


def artifacts() -> dict[str, str]:
    """Key -> content of what the last run left."""
    with get_client(sync_client=True) as client:
        last = max(client.read_flow_runs(), key=lambda run: run.created)
        return {str(a.key): str(a.data) for a in client.read_artifacts() if a.flow_run_id == last.id}


@pytest.mark.usefixtures("prefect_server")
def test_pictures_are_shown_and_the_page_is_linked_to(shown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline(target="show")
    left = artifacts()
    kind, _, content = left["some-rates"].partition(",")
    assert kind == "data:image/svg+xml;base64" and base64.b64decode(content) == b"<svg/>"
    (kept,) = pages_directory(shown).glob("*/page.html")
    assert kept.as_uri() in left["page"]

    monkeypatch.setenv(PAGES_URL, "http://127.0.0.1:1")
    pipeline(target="show")
    (second,) = set(pages_directory(shown).glob("*/page.html")) - {kept}
    address = f"http://127.0.0.1:1/{second.parent.name}"
    assert f"{address}/page.html" in artifacts()["page"]
    assert artifacts()["some-rates"] == f"{address}/some_rates.svg"
    assert (second.parent / "some_rates.svg").read_text() == "<svg/>"
