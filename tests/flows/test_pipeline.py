import inspect
import re
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from ruamel.yaml import YAML

import flows.dvc
import flows.reproduction
from flows.dvc import GraphError, StageFailed, StageOvertimeError
from flows.pipeline import main, pipeline
from tests.messages import shows

# A server, and flows that start dvc.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def last_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        return max(client.read_flow_runs(), key=lambda run: run.created)


def test_the_flow_reproduces_the_graph_and_a_second_run_finds_it_up_to_date(repository):
    names = ["prepare", "side@left", "side@right", "join"]
    assert pipeline(target="join") == dict.fromkeys(names, "Completed")
    assert (repository / "joined.txt").read_text() == "3.0"
    assert not (repository / "unrelated.txt").exists()

    run = last_run()
    with get_client(sync_client=True) as client:
        task_runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run.id]}))
        shown = {
            artifact.key: artifact for artifact in client.read_artifacts() if artifact.flow_run_id == run.id
        }
    by_id = {task_run.id: task_run.name for task_run in task_runs}
    waits = {t.name: {by_id[i.id] for i in t.task_inputs.get("wait_for", [])} for t in task_runs}
    assert waits == {
        "prepare": set(),
        "side@left": {"prepare"},
        "side@right": {"prepare"},
        "join": {"side@left", "side@right"},
    }
    assert str(repository / "joined.txt") in shown["results"].data
    assert '"metric": "total", "value": 3.0' in shown["metrics"].data
    assert shown["stages"].data == 100.0

    assert pipeline(target="join") == dict.fromkeys(names, "UpToDate")


def test_a_failing_stage_is_tried_again_and_named(repository):
    (repository / "join.py").write_text("open('tries', 'a').write('.'); raise SystemExit('no such luck')\n")
    with pytest.raises(StageFailed, match=shows("'join' ... failed ... no such")):
        pipeline(target="join")
    assert (repository / "tries").read_text() == ".."
    assert (repository / "right.txt").exists()
    run = last_run()
    assert run.state.is_failed()
    assert "'join'" in run.state.message


def test_a_stage_that_refuses_its_input_is_not_tried_again(repository):
    """Exit code 2 says that a person has to put something right first."""
    refuse = "import sys; open('tries', 'a').write('.'); print('error: a law'); sys.exit(2)\n"
    (repository / "join.py").write_text(refuse)
    with pytest.raises(StageFailed, match=shows("'join' ... failed ... error: a law")) as caught:
        pipeline(target="join")
    assert caught.value.refused
    assert (repository / "tries").read_text() == "."


def test_a_stage_that_reaches_its_limit_is_stopped_and_not_tried_again(repository):
    join = "open('tries', 'a').write('.'); import time; time.sleep(600)\n"
    (repository / "join.py").write_text(join)
    with pytest.raises(StageOvertimeError, match=shows("'join' ... 0.05 min")):
        pipeline(target="join", stage_limit_min=0.05)
    assert (repository / "tries").read_text() == "."
    assert (repository / "right.txt").exists()


def test_an_interrupted_flow_stops_its_stage_and_does_not_retry_it(repository, monkeypatch):
    (repository / "join.py").write_text("open('tries', 'a').write('.'); import time; time.sleep(600)\n")

    def interrupt(futures):
        while not (repository / "tries").exists():
            futures["join"].wait(timeout=0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(flows.reproduction, "follow", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pipeline(target="join")
    assert (repository / "tries").read_text() == "."
    assert last_run().state.is_crashed()


def test_an_unknown_target_fails_the_run_with_the_names_there_are(repository):
    with pytest.raises(GraphError, match="'jion'"):
        pipeline(target="jion")
    assert "prepare, side@left" in last_run().state.message


def test_the_command_prints_how_each_stage_ended(repository, capsys):
    assert main(["prepare"]) == 0
    assert capsys.readouterr().out.split() == ["Completed", "prepare"]
    assert main(["jion"]) == 1
    assert "'jion'" in capsys.readouterr().err


def test_the_form_has_a_title_and_a_description():
    form = pipeline.parameters.properties["target"]
    assert form["title"] == "Stage to reproduce"
    assert "params.yaml" in form["description"]
    assert form["default"] == "report"


def test_flows_name_no_stage_but_the_default_target():
    pipeline_file = Path(__file__).parents[2] / "dvc.yaml"
    stages = set(YAML(typ="safe").load(pipeline_file)["stages"])
    assert "report" in stages
    for module in (flows.dvc, flows.pipeline):
        strings = re.findall(r"""["'](\w+)["']""", inspect.getsource(module))
        assert stages.intersection(strings) <= {"report"}


def test_flow_modules_evaluate_their_annotations():
    for path in Path(flows.pipeline.__file__).parent.glob("*.py"):
        assert "from __future__ import annotations" not in path.read_text()
