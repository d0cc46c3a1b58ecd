"""docs/estimators.md names every estimator, and its example runs."""

import re
import types

import torch

from risolve.covariance import sample_covariance, sample_factor
from risolve.estimators.registry import REGISTRY
from risolve.files import model_grid
from stages.params import estimators as estimator_setup
from stages.params.file import read_params
from tests.architecture.source import ROOT
from tests.worlds import DEFAULT, make_scenes

PAGE = (ROOT / "docs/estimators.md").read_text("utf-8")


def test_every_estimator_is_named() -> None:
    assert [name for name in REGISTRY if f"`{name}`" not in PAGE] == []


def test_the_example_is_an_estimator() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module = types.ModuleType("geometric")
    exec(compile(code, "docs/estimators.md", "exec"), module.__dict__)
    ((name, make),) = module.__dict__["ESTIMATORS"].items()
    assert name not in REGISTRY
    params = read_params(ROOT / "params.yaml")
    one = make(name, model_grid.grid(params.of_model()), estimator_setup.settings(params))
    scenes = make_scenes(DEFAULT, 1, 20.0, 8)
    covariance = sample_covariance(sample_factor(scenes.observation, params.covariance.ls_ridge))
    found = one.estimate(scenes.observation, covariance, scenes.n_sources.long())
    error = (found.sources - scenes.sources[:, :1])[..., :2].abs().amax((1, 2))
    assert float(torch.rad2deg(error).median()) < 3.0
