"""The rules on source text hold in the repository, and each rule finds what it is there to find."""

import ast
from textwrap import dedent

import pytest

from tests.architecture import conduct_rules, covariance_rules, message_rules
from tests.architecture.source import ROOT, Rule, modules, violations, word
from tests.messages import shows

_COVARIANCE = ast.parse((ROOT / covariance_rules.COVARIANCE).read_text("utf-8"))
RAW = covariance_rules.raw_names(_COVARIANCE)
FIELDS = covariance_rules.held_fields(_COVARIANCE)
HOUSE = ("risolve", "stages", "flows")
RULES: dict[str, tuple[Rule, tuple[str, ...]]] = {
    "one construction of covariances": (covariance_rules.one_construction, HOUSE),
    "covariances are kept whole": (covariance_rules.kept_whole(FIELDS), HOUSE),
    "raw amplitudes stay in normalize": (
        covariance_rules.raw_amplitudes(RAW),
        ("risolve", "stages", "flows"),
    ),
    "traces are computed in covariance": (covariance_rules.trace_computed, HOUSE),
    "traces scale in covariance alone": (covariance_rules.scaled_by_trace, HOUSE),
    "no global randomness": (conduct_rules.global_randomness, (*HOUSE, "benchmarks")),
    "one module prints": (conduct_rules.silent_core, ("risolve", "stages")),
    "one module writes files": (conduct_rules.one_writer, ("risolve", "stages")),
    "the core has no files": (conduct_rules.no_files, ("risolve", "stages")),
    "no second defaults": (conduct_rules.second_default, (*HOUSE, "benchmarks")),
    "no broad except": (conduct_rules.broad_except, (*HOUSE, "benchmarks")),
    "no eigenvectors in what is trained": (conduct_rules.no_eigenvectors, ("risolve", "stages")),
    "no shell": (conduct_rules.no_shell, (*HOUSE, "benchmarks")),
    "no code of the folder": (conduct_rules.safe_path, HOUSE),
    "no silent except": (conduct_rules.silent_except, (*HOUSE, "benchmarks")),
    "the words of errors are free": (message_rules.free_words, ("tests",)),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name: str) -> None:
    rule, packages = RULES[name]
    trees = modules(*packages)
    assert trees
    assert violations(rule, trees) == []


EXEMPT: list[tuple[Rule, str]] = [
    *((covariance_rules.trace_computed, path) for path in sorted(covariance_rules.READS_TRACES)),
    *((covariance_rules.scaled_by_trace, path) for path in sorted(covariance_rules.SCALES_BY_TRACES)),
    (conduct_rules.silent_core, conduct_rules.TERMINAL),
    *((conduct_rules.one_writer, path) for path in sorted(conduct_rules.WRITES_FILES)),
    *((conduct_rules.silent_except, path) for path in sorted(conduct_rules.SWALLOWS)),
    *((conduct_rules.safe_path, path) for path in sorted(conduct_rules.SPAWNS)),
    (conduct_rules.no_shell, conduct_rules.ARGUMENTS),
]


@pytest.mark.parametrize(("rule", "path"), EXEMPT)
def test_every_exemption_is_used(rule: Rule, path: str) -> None:
    """An exemption names a file that exists and breaks the rule: the list cannot outlive its reasons."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert list(rule("stages/running/elsewhere.py", tree))


def test_raw_names_are_closed_under_calls() -> None:
    covariance = ast.parse(
        dedent("""
        from risolve.amplitudes import joint_ls_amplitudes, ls_amplitudes as field
        def sample_factor(y): return _centred(y)
        def _centred(y): return field(y)
        def blend(a, b): return a + b
        """)
    )
    expected = {"field", "joint_ls_amplitudes", "sample_factor", "_centred"}
    assert covariance_rules.raw_names(covariance) == expected


def test_raw_names_refuse_a_renamed_function() -> None:
    for text in ("from risolve.amplitudes import ls_amplitudes", "def joint_ls_amplitudes(y): return y"):
        with pytest.raises(ValueError, match="joint_ls_amplitudes"):
            covariance_rules.raw_names(ast.parse(text))


def test_fields_are_those_of_the_definitions() -> None:
    assert FIELDS.private == {"_basis", "_weights"}
    assert FIELDS.blend == {"predicted", "sample", "beta", "loading"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("class NormalizedCovariance: ...", "no LoadedBlend"),
        ("class NormalizedCovariance: ...\nclass LoadedBlend: ...", "LoadedBlend, NormalizedCovariance"),
    ],
)
def test_fields_refuse_renamed_types(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=shows(fault)):
        covariance_rules.held_fields(ast.parse(text))


_KEPT_WHOLE = covariance_rules.kept_whole(FIELDS)
_RAW_RULE = covariance_rules.raw_amplitudes(frozenset({"ls_amplitudes", "sample_factor"}))

CAUGHT: list[tuple[Rule, str, str]] = [
    (
        covariance_rules.one_construction,
        "stages/train.py",
        "from risolve.covariance import NormalizedCovariance as C\nC(x)",
    ),
    (covariance_rules.one_construction, "stages/train.py", "object.__new__(covariance.NormalizedCovariance)"),
    (covariance_rules.one_construction, "stages/train.py", "covariance.LoadedBlend(a, b, beta, eps)"),
    (covariance_rules.one_construction, "stages/train.py", "class Mine(NormalizedCovariance): pass"),
    (covariance_rules.one_construction, "stages/train.py", "from risolve.covariance import _normalized"),
    (
        covariance_rules.one_construction,
        "stages/train.py",
        "from risolve import covariance\ncovariance.normalize(x)",
    ),
    (covariance_rules.one_construction, "stages/train.py", "D = NormalizedCovariance\nD(x)"),
    (
        covariance_rules.one_construction,
        "stages/train.py",
        "from risolve import covariance as c\nD = E = c.LoadedBlend\nF = E\nF(a, b, beta, eps)",
    ),
    (covariance_rules.one_construction, "stages/train.py", "(D := NormalizedCovariance)(x)"),
    (
        covariance_rules.one_construction,
        "risolve/estimators/spectral.py",
        "_KINDS = {'sample': NormalizedCovariance}\n_KINDS[kind](x)",
    ),
    (
        covariance_rules.one_construction,
        "stages/train.py",
        "for kind in (NormalizedCovariance, LoadedBlend):\n    kind(x)",
    ),
    (covariance_rules.one_construction, "stages/train.py", "make = partial(LoadedBlend, beta=beta)"),
    (covariance_rules.one_construction, "stages/train.py", "type(cov)(basis, weights)"),
    (covariance_rules.one_construction, "stages/train.py", "cov.__class__(basis, weights)"),
    (covariance_rules.one_construction, "stages/train.py", "kind = type(cov)\nkind(basis, weights)"),
    (_KEPT_WHOLE, "stages/train.py", "cov._weights = weights"),
    (_KEPT_WHOLE, "stages/train.py", "held = cov._basis.matrix"),
    (_KEPT_WHOLE, "stages/train.py", "object.__setattr__(blend, 'beta', 3.0)"),
    (_KEPT_WHOLE, "stages/train.py", "setattr(cov, '_weights', weights)"),
    (_KEPT_WHOLE, "stages/train.py", "vars(cov)['_basis'] = basis"),
    (_KEPT_WHOLE, "stages/train.py", "from dataclasses import replace\nreplace(blend, beta=3)"),
    (_KEPT_WHOLE, "stages/train.py", "import dataclasses\ndataclasses.replace(mixed, loading=eps)"),
    (_KEPT_WHOLE, "stages/train.py", "copy.replace(self.blend, **changes)"),
    (_KEPT_WHOLE, "stages/train.py", "mixed.__replace__(predicted=predicted)"),
    (_KEPT_WHOLE, "stages/train.py", "cov.weights.mul_(2.0)"),
    (_KEPT_WHOLE, "stages/train.py", "cov.weights[0] = 2.0"),
    (_KEPT_WHOLE, "stages/train.py", "cov.weights *= scale"),
    (_KEPT_WHOLE, "stages/train.py", "cov.basis.matrix = matrix"),
    (_KEPT_WHOLE, "stages/train.py", "torch.mul(a, b, out=blend.sample.weights)"),
    (_RAW_RULE, "stages/train.py", "from risolve.covariance import ls_amplitudes"),
    (_RAW_RULE, "stages/train.py", "from risolve.amplitudes import ls_amplitudes"),
    (_RAW_RULE, "stages/normalize.py", "from risolve.amplitudes import *"),
    (_RAW_RULE, "stages/sweep.py", "from risolve import amplitudes as a\na.joint_ls_amplitudes(y, ridge)"),
    (
        _RAW_RULE,
        "stages/evaluate.py",
        "from risolve import covariance as c\nc.sample_factor(observation, ridge)",
    ),
    (
        _RAW_RULE,
        "risolve/networks/fit.py",
        "import risolve.covariance\nrisolve.covariance.sample_factor(y, ridge)",
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
        "risolve/networks/health.py",
        "scaled = matrix * n / covariance.trace()",
    ),
    (
        covariance_rules.scaled_by_trace,
        "risolve/networks/health.py",
        """
        def f(covariance, matrix):
            traces = covariance.trace()
            scale = 1.0 + traces
            matrix *= scale[:, None]
        """,
    ),
    (
        covariance_rules.scaled_by_trace,
        "risolve/networks/health.py",
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
    (conduct_rules.global_randomness, "stages/simulate.py", "import torch\ntorch.randn(3, generator=None)"),
    *(
        (conduct_rules.global_randomness, "stages/simulate.py", f"x.{fill}")
        for fill in ("normal_()", "uniform_(-1, 1)", "random_()", "exponential_()", "bernoulli_(0.5)")
    ),
    (conduct_rules.global_randomness, "stages/simulate.py", "mask = probability.bernoulli()"),
    (conduct_rules.global_randomness, "stages/simulate.py", "import torch\ntorch.empty(3).normal_()"),
    (conduct_rules.global_randomness, "stages/simulate.py", "nn.init.kaiming_normal_(layer.weight)"),
    (
        conduct_rules.global_randomness,
        "stages/simulate.py",
        "from torch.nn.init import xavier_uniform_\nxavier_uniform_(layer.weight)",
    ),
    (conduct_rules.global_randomness, "stages/simulate.py", "import random"),
    (conduct_rules.global_randomness, "stages/simulate.py", "from random import shuffle"),
    (conduct_rules.no_eigenvectors, "risolve/networks/losses.py", "torch.linalg.eigh(covariance.dense())"),
    (conduct_rules.no_eigenvectors, "risolve/networks/fit.py", "from torch.linalg import svd as f\nf(x)"),
    (conduct_rules.no_eigenvectors, "risolve/covariance.py", "values = self.dense().svd().S"),
    (conduct_rules.silent_core, "risolve/physics/steering.py", "def main():\n    print(1)"),
    (conduct_rules.silent_core, "stages/train.py", "def train():\n    print(1)"),
    (conduct_rules.silent_core, "stages/train.py", "say = print"),
    (conduct_rules.silent_core, "risolve/physics/steering.py", "import sys\nsys.stdout.write(text)"),
    (conduct_rules.silent_core, "risolve/physics/steering.py", "import sys as s\ns.stderr.write(text)"),
    (conduct_rules.silent_core, "risolve/physics/steering.py", "from sys import stderr\nstderr.write(text)"),
    (conduct_rules.silent_core, "risolve/files/hdf5.py", "import sys\nsys.__stdout__.write(text)"),
    (conduct_rules.silent_core, "risolve/running/entry.py", "import sys\nsys.stderr.write(text)"),
    *(
        (conduct_rules.one_writer, "stages/train.py", text)
        for text in (
            "with path.open('wb') as file:\n    pass",
            "open(path, mode='a')",
            "import os\nos.open(path, os.O_CREAT)",
            "path.write_text(text)",
            "import h5py\nh5py.File(path, 'w')",
            "import torch\ntorch.save(state, path)",
            "import numpy as np\nnp.savez(path, a=a)",
            "table.to_csv(path, index=False)",
            "figure.savefig(path)",
        )
    ),
    (conduct_rules.no_files, "risolve/physics/steering.py", "with open(name) as file:\n    pass"),
    (conduct_rules.no_files, "risolve/metrics/assignment.py", "name.open()"),
    (conduct_rules.no_files, "risolve/covariance.py", "import torch\ntorch.save(state, name)"),
    (conduct_rules.no_files, "risolve/networks/fit.py", "from torch import load as fetch\nfetch(name)"),
    (conduct_rules.no_files, "risolve/networks/fit.py", "import numpy as np\nnp.load(name)"),
    (conduct_rules.no_files, "risolve/seeds.py", "import numpy as np\nnp.save(name, state)"),
    (conduct_rules.no_files, "risolve/inference/grid.py", "grid.numpy().tofile(name)"),
    (conduct_rules.no_files, "risolve/inference/grid.py", "path.write_text(text)"),
    (conduct_rules.no_files, "risolve/shapes.py", "__import__('os').remove(name)"),
    (conduct_rules.second_default, "stages/train.py", "getattr(params, 'beta', 0.1)"),
    (conduct_rules.second_default, "stages/train.py", "params.get('beta', 0.1)"),
    (conduct_rules.second_default, "stages/train.py", "params['covariance'].get(name, -1)"),
    (conduct_rules.second_default, "stages/train.py", "params.get('beta', 1 / 3)"),
    (conduct_rules.second_default, "stages/train.py", "params.get('kind', 'random')"),
    (conduct_rules.second_default, "stages/train.py", "params.get('range_m', (0.5, 10.0))"),
    (conduct_rules.second_default, "stages/train.py", "params.setdefault('beta', 0.1)"),
    (conduct_rules.second_default, "stages/train.py", "params.pop('beta', 0.1)"),
    (conduct_rules.second_default, "stages/train.py", "beta = params.get('beta') or 0.1"),
    (conduct_rules.second_default, "stages/train.py", "weights[name] = params.get(name, 0) + 1"),
    (conduct_rules.broad_except, "stages/train.py", "try:\n    f()\nexcept Exception:\n    raise"),
    (conduct_rules.broad_except, "stages/train.py", "try:\n    f()\nexcept:\n    raise"),
    (
        conduct_rules.broad_except,
        "stages/train.py",
        "try:\n    f()\nexcept (OSError, BaseException):\n    raise",
    ),
    (conduct_rules.broad_except, "stages/train.py", "with contextlib.suppress(Exception):\n    f()"),
    (conduct_rules.broad_except, "flows/processes.py", "try:\n    f()\nexcept BaseException:\n    end()"),
    (
        conduct_rules.broad_except,
        "flows/processes.py",
        "try:\n    f()\nexcept BaseException:\n    return\n    raise",
    ),
    (conduct_rules.no_shell, "flows/dvc.py", "subprocess.run(line, shell=True)"),
    (conduct_rules.no_shell, "flows/dvc.py", "import os\nos.system(line)"),
    (conduct_rules.no_shell, "flows/dvc.py", "from subprocess import getoutput as run\nrun(line)"),
    (conduct_rules.no_shell, "flows/dvc.py", "await asyncio.create_subprocess_shell(line)"),
    (conduct_rules.no_shell, "flows/dvc.py", "CommandLine(('dvc', name))"),
    (conduct_rules.safe_path, "flows/dvc.py", "import sys\nrun([sys.executable, '-m', 'risolve.cli'])"),
    (conduct_rules.safe_path, "flows/dvc.py", "from sys import executable\nrun((executable, script))"),
    (conduct_rules.safe_path, "flows/dvc.py", "import sys\nprogram = sys.executable"),
    (conduct_rules.safe_path, "flows/dvc.py", "import sys\nlaunch(config, sys.executable)('-m', module)"),
    (conduct_rules.safe_path, "stages/sweep.py", "import multiprocessing\nmultiprocessing.get_context()"),
    (
        conduct_rules.safe_path,
        "risolve/cli.py",
        "import os, sys\nos.execv(sys.executable, [sys.executable, '-m', 'x'])",
    ),
    (conduct_rules.safe_path, "stages/sweep.py", "import multiprocessing as m\nm.Process(target=f)"),
    (
        conduct_rules.safe_path,
        "stages/sweep.py",
        "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor(2)",
    ),
    (
        conduct_rules.silent_except,
        "stages/train.py",
        "try:\n    f()\nexcept (OSError, ValueError, KeyError):\n    pass",
    ),
    (conduct_rules.silent_except, "stages/train.py", "try:\n    f()\nexcept OSError:\n    ..."),
    (conduct_rules.silent_except, "stages/train.py", "try:\n    f()\nexcept OSError:\n    'no matter'"),
    (
        conduct_rules.silent_except,
        "flows/serve.py",
        "try:\n    f()\nexcept (KeyboardInterrupt, OSError):\n    pass",
    ),
    (
        conduct_rules.silent_except,
        "stages/train.py",
        "with contextlib.suppress(OSError, ValueError):\n    f()",
    ),
    *(
        (message_rules.free_words, "tests/test_train.py", text)
        for text in (
            "pytest.raises(ValueError, match='epochs: a whole number, got 0.5')",
            "pytest.raises(ValueError, match=r'scenes \\[1\\] of this batch')",
            "pytest.raises(ValueError, match=shows('epochs ... is not finite'))",
            "pytest.raises(ValueError, match=shows(f'{key} ... is not finite'))",
            "pytest.raises(ValueError, match=law)",
            "pytest.raises(ValueError, match=f'{key}: .*{law}')",
            "pytest.warns(UserWarning, match='power lies below the noise')",
            "assert re.match(shows('epochs: a whole number'), line)",
            "assert 'there is no such file' in str(caught.value)",
            "assert f'{path}: cannot be read' in done.stderr",
            "assert capsys.readouterr().err.startswith('error: there is no file')",
        )
    ),
]


@pytest.mark.parametrize(("rule", "path", "text"), CAUGHT)
def test_rule_catches(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule(path, ast.parse(dedent(text))))) == 1


ALLOWED: list[tuple[Rule, str, str]] = [
    (covariance_rules.one_construction, covariance_rules.COVARIANCE, "NormalizedCovariance(x)"),
    (
        covariance_rules.one_construction,
        "stages/train.py",
        "from risolve.covariance import sample_covariance",
    ),
    (
        covariance_rules.one_construction,
        "risolve/estimators/spectral.py",
        """
        _KINDS = {'sample': NormalizedCovariance}
        if not isinstance(covariance, _KINDS[kind]):
            raise TypeError(f"{_KINDS[kind].__name__}, got {type(covariance).__name__}")
        """,
    ),
    (
        covariance_rules.one_construction,
        "risolve/estimators/contract.py",
        "Covariance: TypeAlias = NormalizedCovariance | LoadedBlend",
    ),
    (_KEPT_WHOLE, covariance_rules.COVARIANCE, "self._weights = weights"),
    (_KEPT_WHOLE, "stages/train.py", "replace(covariances, factor=factor)"),
    (_KEPT_WHOLE, "stages/train.py", "scaled = 2.0 * cov.weights[0].sqrt()"),
    (_RAW_RULE, "stages/normalize.py", "from risolve.covariance import sample_factor"),
    (
        covariance_rules.trace_computed,
        "stages/evaluate.py",
        "field = torch.einsum('bin,bn->bi', sensing, wave)",
    ),
    (
        covariance_rules.scaled_by_trace,
        "risolve/networks/health.py",
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
        "risolve/seeds.py",
        "import numpy as np\nnp.random.Generator(np.random.Philox(s))",
    ),
    (conduct_rules.global_randomness, "stages/train.py", "x.normal_(0.0, 1.0, generator=generator)"),
    (conduct_rules.global_randomness, "stages/train.py", "generator.normal(0.0, 1.0)"),
    (conduct_rules.global_randomness, "stages/train.py", "nn.init.constant_(final.bias, prior)"),
    (conduct_rules.silent_core, conduct_rules.TERMINAL, "import sys\nsys.stderr.write(text)"),
    (
        conduct_rules.one_writer,
        "stages/train.py",
        "from a import write_text\nwrite_text(path, text)",
    ),
    (conduct_rules.one_writer, "stages/train.py", "import io, torch\nb = io.BytesIO()\ntorch.save(state, b)"),
    (conduct_rules.one_writer, "stages/train.py", "import h5py\nh5py.File(path, 'w', driver='core')"),
    (conduct_rules.one_writer, "stages/train.py", "import h5py\nh5py.File(path, 'r')\npath.open('rb')"),
    (conduct_rules.one_writer, "stages/train.py", "text = table.to_csv(index=False)"),
    (conduct_rules.no_eigenvectors, "risolve/estimators/music.py", "torch.linalg.eigh(x)"),
    (conduct_rules.no_eigenvectors, "risolve/networks/losses.py", "torch.linalg.cholesky(gram)"),
    (conduct_rules.no_files, "risolve/files/checkpoint.py", "import torch\ntorch.save(state, file)"),
    (conduct_rules.no_files, "risolve/networks/fit.py", "network.load_state_dict(weights)"),
    (conduct_rules.second_default, "stages/train.py", "getattr(params, name)"),
    (conduct_rules.second_default, "stages/evaluate.py", "n_scenes[m] = n_scenes.get(m, 0) + len(scenes)"),
    (conduct_rules.second_default, "stages/train.py", "table.get(name, math.nan)"),
    (conduct_rules.second_default, "stages/train.py", "incident.get('description', '')"),
    (conduct_rules.second_default, "stages/train.py", "import os\nos.environ.get('DVC_ROOT', '.')"),
    (conduct_rules.second_default, "stages/train.py", "parts.setdefault(name, [])"),
    (
        conduct_rules.broad_except,
        "flows/processes.py",
        "try:\n    f()\nexcept BaseException:\n    end()\n    raise",
    ),
    (conduct_rules.broad_except, "stages/train.py", "try:\n    f()\nexcept (OSError, ValueError):\n    g()"),
    (conduct_rules.silent_except, "stages/train.py", "try:\n    f()\nexcept (OSError, ValueError):\n    g()"),
    (conduct_rules.no_shell, "flows/dvc.py", "subprocess.run(command_line(DVC, names=[name]), shell=False)"),
    (conduct_rules.safe_path, "flows/dvc.py", "import sys\nrun([*LEASH, sys.executable, '-P', '-m', 'x'])"),
    (conduct_rules.safe_path, "flows/dvc.py", "import sys\nlaunch(sys.executable)('-P', '-m', module)"),
    (
        conduct_rules.safe_path,
        "flows/dvc.py",
        "import sys\nfrom pathlib import Path\ndvc = Path(sys.executable).with_name('dvc')",
    ),
    (
        conduct_rules.safe_path,
        "stages/sweep.py",
        "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor(2, mp_context=spawning())",
    ),
    (conduct_rules.silent_except, "stages/train.py", "with contextlib.suppress(OSError):\n    f()"),
    (
        conduct_rules.silent_except,
        "flows/serve.py",
        "try:\n    f()\nexcept KeyboardInterrupt:\n    pass",
    ),
    *(
        (message_rules.free_words, "tests/test_train.py", text)
        for text in (
            "pytest.raises(ValueError, match='noise power')",
            "pytest.raises(ValueError, match=r'epochs: .* got 0')",
            "pytest.raises(ValueError, match=shows('noise power ... scenes [1] ... `dvc repro train`'))",
            "pytest.raises(ValueError, match=shows(f'{key} ... {law}'))",
            "assert 'one constant amplitude a source' in page",
            "assert 'train.epochs' in str(caught.value)",
        )
    ),
]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_rule_allows(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, ast.parse(dedent(text)))) == []


def test_no_test_patches_a_private_name() -> None:
    """What is private may change without a test."""
    found = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in modules("tests").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and word(node.func) == "setattr"
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and (name := argument.value.rpartition(".")[2]).startswith("_")
        and not name.endswith("__")
    ]
    assert found == []
