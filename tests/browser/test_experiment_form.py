"""An experiment asked for in a browser: the parameters of the form run, and a wrong one is refused."""

import csv
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.user_interface import PAGE_MILLISECONDS, connected, field, open_form, opened
from tests.pipeline.working_copy import SMALL, WorkingCopy

pytestmark = pytest.mark.slow

# Beyond what a page takes: stages run meanwhile.
RUN_MILLISECONDS = 300_000.0
DEPLOYMENT = "experiment/experiment"
ENDED = re.compile("Completed|Failed|Crashed|Cancelled")


def submit(page: Page, shown: int, epochs: int, name: str) -> Response:
    """Ask in the form for a training with another number of epochs than is shown; what the server answers."""
    open_form(page, "experiment")
    epochs_field = field(page, "Parameters of params.yaml (Optional)", "train", "epochs")
    expect(epochs_field).to_have_value(str(shown), timeout=PAGE_MILLISECONDS)
    epochs_field.fill(str(epochs))
    field(page, "Stage to reproduce (Optional)").fill("train")
    field(page, "Name of the experiment (Optional)").fill(name)
    with page.expect_response("**/create_flow_run") as answer:
        page.get_by_role("button", name="Submit", exact=True).click()
    return answer.value


def test_parameters_of_the_form_run_and_become_an_experiment(
    browser: str, served: str, own: WorkingCopy, tmp_path: Path
) -> None:
    """In the order of the README: a run, serving, the form; nothing is committed between them."""
    parameters = (own.root / "params.yaml").read_text("utf-8")
    before = own.contents("data"), own.succeed("git", "status", "--porcelain").stdout
    assert " M dvc.lock" in before[1]
    with opened(browser, served, tmp_path / "page.png") as page:
        created = submit(page, SMALL["train.epochs"], epochs=1, name="from-the-form")
        assert created.ok, created.text()
        page.get_by_role("link", name=created.json()["name"], exact=True).click()
        state = page.locator(".state-badge").filter(has_text=ENDED)
        state.wait_for(timeout=RUN_MILLISECONDS)
        assert state.inner_text() == "Completed"
    assert own.experiments() == ["from-the-form"]
    shown = csv.DictReader(own.succeed("dvc", "exp", "show", "--csv").stdout.splitlines())
    # the rows without a name are the working copy and HEAD
    assert {row["Experiment"]: row["train.epochs"] for row in shown} == {"": "2", "from-the-form": "1"}
    assert (own.contents("data"), own.succeed("git", "status", "--porcelain").stdout) == before
    assert (own.root / "params.yaml").read_text("utf-8") == parameters
    own.succeed("dvc", "exp", "apply", "from-the-form")
    assert len((own.root / "data/models/history.csv").read_text("utf-8").splitlines()) == 1 + 1


def test_a_wrong_value_is_refused_before_anything_runs(
    browser: str, served: str, own: WorkingCopy, tmp_path: Path
) -> None:
    """The form begins with params.yaml as it is on disk, not as it was when serving began."""
    own.write_params({"train.epochs": 3})
    with opened(browser, served, tmp_path / "page.png") as page:
        deadline = time.monotonic() + PAGE_MILLISECONDS / 1000.0
        with connected(served) as client:
            while client.read_deployment_by_name(DEPLOYMENT).parameters["parameters"]["train"]["epochs"] != 3:
                assert time.monotonic() < deadline, "the form does not follow params.yaml"
                time.sleep(0.2)
        assert submit(page, 3, epochs=0, name="wrong").status == 409
        reason = "'parameters.train.epochs'. Failure reason: 0 is less than or equal to the minimum of 0"
        page.get_by_text(reason).first.wait_for()
        with connected(served) as client:
            assert client.read_flow_runs() == []
    assert own.experiments() == []
