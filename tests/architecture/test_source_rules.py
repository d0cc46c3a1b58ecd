"""The rules on source text hold in the repository, and each rule finds what it is there to find."""

import ast
from textwrap import dedent

import pytest

from tests.architecture import conduct_rules, covariance_rules
from tests.architecture.source import ROOT, Rule, modules, violations

RAW = covariance_rules.raw_names(ast.parse((ROOT / covariance_rules.COVARIANCE).read_text("utf-8")))
RULES: dict[str, tuple[Rule, tuple[str, ...]]] = {
    "one construction of covariances": (covariance_rules.one_construction, ("stages", "flows")),
    "raw amplitudes stay in normalize": (covariance_rules.raw_amplitudes(RAW), ("stages", "flows")),
    "traces are computed in covariance": (covariance_rules.trace_computed, ("stages", "flows")),
    "traces scale in covariance alone": (covariance_rules.scaled_by_trace, ("stages", "flows")),
    "no global randomness": (conduct_rules.global_randomness, ("stages", "flows", "benchmarks")),
    "the core is silent": (conduct_rules.silent_core, ("stages",)),
    "no second defaults": (conduct_rules.second_default, ("stages", "flows", "benchmarks")),
    "no broad except": (conduct_rules.broad_except, ("stages", "flows", "benchmarks")),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name: str) -> None:
    rule, packages = RULES[name]
    trees = modules(*packages)
    assert trees
    assert violations(rule, trees) == []


@pytest.mark.parametrize("path", sorted(covariance_rules.READS_TRACES))
def test_every_exemption_is_used(path: str) -> None:
    """An exemption names a file that exists and computes a trace: the list cannot outlive its reasons."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert list(covariance_rules.trace_computed("stages/elsewhere.py", tree))


def test_raw_names_are_closed_under_calls() -> None:
    covariance = ast.parse(
        dedent("""
        def ls_amplitudes(y): return y
        def joint_ls_amplitudes(y): return y
        def sample_factor(y): return _centred(y)
        def _centred(y): return ls_amplitudes(y)
        def blend(a, b): return a + b
        """)
    )
    expected = {"ls_amplitudes", "joint_ls_amplitudes", "sample_factor", "_centred"}
    assert covariance_rules.raw_names(covariance) == expected


def test_raw_names_refuse_a_renamed_function() -> None:
    with pytest.raises(ValueError, match="defines no joint_ls_amplitudes"):
        covariance_rules.raw_names(ast.parse("def ls_amplitudes(y): return y"))


_RAW_RULE = covariance_rules.raw_amplitudes(frozenset({"ls_amplitudes", "sample_factor"}))

CAUGHT: list[tuple[Rule, str, str]] = [
    (
        covariance_rules.one_construction,
        "stages/train.py",
        "from stages.covariance import NormalizedCovariance as C\nC(x)",
    ),
    (covariance_rules.one_construction, "stages/train.py", "object.__new__(covariance.NormalizedCovariance)"),
    (covariance_rules.one_construction, "stages/train.py", "covariance.LoadedBlend(a, b, beta, eps)"),
    (covariance_rules.one_construction, "stages/train.py", "class Mine(NormalizedCovariance): pass"),
    (covariance_rules.one_construction, "stages/train.py", "from stages.covariance import _normalized"),
    (
        covariance_rules.one_construction,
        "stages/train.py",
        "from stages import covariance\ncovariance.normalize(x)",
    ),
    (_RAW_RULE, "stages/train.py", "from stages.covariance import ls_amplitudes"),
    (
        _RAW_RULE,
        "stages/evaluate.py",
        "from stages import covariance as c\nc.sample_factor(observation, ridge)",
    ),
    (
        _RAW_RULE,
        "stages/networks/fit.py",
        "import stages.covariance\nstages.covariance.sample_factor(y, ridge)",
    ),
    (_RAW_RULE, "stages/evaluate.py", "from stages.normalize import factors"),
    (covariance_rules.trace_computed, "stages/evaluate.py", "power = torch.trace(matrix)"),
    (
        covariance_rules.trace_computed,
        "stages/evaluate.py",
        "power = matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1)",
    ),
    (covariance_rules.trace_computed, "stages/evaluate.py", "power = np.sum(np.diag(matrix))"),
    (covariance_rules.trace_computed, "stages/evaluate.py", "power = torch.einsum('b i i -> b', matrix)"),
    (
        covariance_rules.scaled_by_trace,
        "stages/networks/health.py",
        "scaled = matrix * n / covariance.trace()",
    ),
    (
        covariance_rules.scaled_by_trace,
        "stages/networks/health.py",
        """
        def f(covariance, matrix):
            traces = covariance.trace()
            scale = 1.0 + traces
            matrix *= scale[:, None]
        """,
    ),
    (
        covariance_rules.scaled_by_trace,
        "stages/networks/health.py",
        """
        def f(covariance, matrix):
            total = covariance.trace()
            return torch.div(matrix, total)
        """,
    ),
    (conduct_rules.global_randomness, "stages/simulate.py", "import numpy as np\nnp.random.seed(1)"),
    (conduct_rules.global_randomness, "stages/simulate.py", "import numpy.random as r\nr.normal()"),
    (
        conduct_rules.global_randomness,
        "stages/simulate.py",
        "from numpy.random import default_rng\ndefault_rng()",
    ),
    (conduct_rules.global_randomness, "stages/simulate.py", "import torch\ntorch.manual_seed(1)"),
    (conduct_rules.global_randomness, "stages/simulate.py", "import torch\ntorch.randn(3, 4)"),
    (
        conduct_rules.global_randomness,
        "stages/simulate.py",
        "from torch import default_generator\nf(default_generator)",
    ),
    (conduct_rules.global_randomness, "stages/simulate.py", "from torch import randperm\nrandperm(4)"),
    (
        conduct_rules.global_randomness,
        "stages/simulate.py",
        "from torch.utils.data import DataLoader\nDataLoader(scenes, shuffle=True)",
    ),
    (conduct_rules.global_randomness, "stages/simulate.py", "import random"),
    (conduct_rules.global_randomness, "stages/simulate.py", "from random import shuffle"),
    (conduct_rules.silent_core, "stages/physics/steering.py", "def main():\n    print(1)"),
    (conduct_rules.silent_core, "stages/train.py", "def train():\n    print(1)"),
    (conduct_rules.second_default, "stages/train.py", "getattr(params, 'beta', 0.1)"),
    (conduct_rules.broad_except, "stages/train.py", "try:\n    f()\nexcept Exception:\n    raise"),
    (conduct_rules.broad_except, "stages/train.py", "try:\n    f()\nexcept:\n    raise"),
    (
        conduct_rules.broad_except,
        "stages/train.py",
        "try:\n    f()\nexcept (OSError, BaseException):\n    raise",
    ),
    (conduct_rules.broad_except, "stages/train.py", "with contextlib.suppress(Exception):\n    f()"),
    (conduct_rules.broad_except, "flows/dvc.py", "try:\n    f()\nexcept BaseException:\n    end()"),
    (
        conduct_rules.broad_except,
        "flows/dvc.py",
        "try:\n    f()\nexcept BaseException:\n    return\n    raise",
    ),
]


@pytest.mark.parametrize(("rule", "path", "text"), CAUGHT)
def test_rule_catches(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule(path, ast.parse(dedent(text))))) == 1


ALLOWED: list[tuple[Rule, str, str]] = [
    (covariance_rules.one_construction, covariance_rules.COVARIANCE, "NormalizedCovariance(x)"),
    (covariance_rules.one_construction, "stages/train.py", "from stages.covariance import sample_covariance"),
    (_RAW_RULE, "stages/normalize.py", "from stages.covariance import sample_factor"),
    (
        covariance_rules.trace_computed,
        "stages/evaluate.py",
        "field = torch.einsum('bin,bn->bi', sensing, wave)",
    ),
    (
        covariance_rules.scaled_by_trace,
        "stages/networks/health.py",
        "deviation = covariance.trace() / n_elements",
    ),
    (
        conduct_rules.global_randomness,
        "stages/train.py",
        "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(seed)\n    net = build()",
    ),
    (conduct_rules.global_randomness, "stages/train.py", "import torch\ntorch.randn(3, generator=generator)"),
    (conduct_rules.global_randomness, "stages/train.py", "import torch\ntorch.Generator().manual_seed(seed)"),
    (
        conduct_rules.global_randomness,
        "stages/seeds.py",
        "import numpy as np\nnp.random.Generator(np.random.Philox(s))",
    ),
    (conduct_rules.silent_core, "stages/train.py", "def main():\n    print(1)"),
    (conduct_rules.second_default, "stages/train.py", "getattr(params, name)"),
    (
        conduct_rules.broad_except,
        "flows/dvc.py",
        "try:\n    f()\nexcept BaseException:\n    end()\n    raise",
    ),
    (conduct_rules.broad_except, "stages/train.py", "try:\n    f()\nexcept (OSError, ValueError):\n    g()"),
]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_rule_allows(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, ast.parse(dedent(text)))) == []
