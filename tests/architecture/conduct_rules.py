"""What the code does not do: draw from global state, print, invent defaults, catch everything."""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.architecture.source import Finding, dotted, imports, word

_NUMPY_TYPES = frozenset({"BitGenerator", "Generator", "PCG64", "Philox", "SeedSequence", "default_rng"})
_TORCH_STATE = frozenset(
    {
        *("manual_seed", "manual_seed_all", "seed", "seed_all", "initial_seed"),
        *("get_rng_state", "set_rng_state", "default_generator"),
    }
)
_TORCH_DRAWS = frozenset(
    {
        *("rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm"),
        *("bernoulli", "multinomial", "normal", "poisson"),
        *("DataLoader", "RandomSampler", "random_split"),
    }
)
_BROAD = frozenset({"Exception", "BaseException"})


def global_randomness(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Every draw names its generator; torch's global state is touched only inside `torch.random.fork_rng`."""
    names = imports(tree)
    forked = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any(
            isinstance(n, ast.Call) and word(n.func) == "fork_rng"
            for item in node.items
            for n in ast.walk(item)
        )
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            taken = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            )
            if "random" in taken:
                yield node.lineno, "imports the random module"
        elif isinstance(node, ast.Attribute | ast.Name):
            library, *parts = dotted(node, names).split(".")
            if (
                library == "numpy"
                and parts[:1] == ["random"]
                and len(parts) > 1
                and parts[1] not in _NUMPY_TYPES
            ):
                yield node.lineno, f"uses NumPy's global generator: {ast.unparse(node)}"
            elif library == "torch" and node not in forked and parts and parts[-1] in _TORCH_STATE:
                yield node.lineno, f"touches torch's global generator: {ast.unparse(node)}"
        elif isinstance(node, ast.Call):
            library, *parts = dotted(node.func, names).split(".")
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if parts == ["random", "default_rng"] and not node.args and not keywords:
                yield node.lineno, "makes a generator without a seed: default_rng()"
            elif library == "torch" and node not in forked and parts and parts[-1] in _TORCH_DRAWS:
                ordered = parts[-1] == "DataLoader" and keywords.get("shuffle", "False") == "False"
                if "generator" not in keywords and not ordered:
                    yield node.lineno, f"draws without generator=: {ast.unparse(node)}"


def silent_core(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Of the stages, the report and the `main` of a verb print."""
    if path == "stages/report.py":
        return
    allowed: set[ast.AST] = set()
    if PurePosixPath(path).parent == PurePosixPath("stages"):
        mains = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
        allowed = {inner for main in mains for inner in ast.walk(main)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func, {}) == "print" and node not in allowed:
            yield node.lineno, f"prints: {ast.unparse(node)}"


def second_default(path: str, tree: ast.Module) -> Iterator[Finding]:
    """`getattr(x, name, default)` is a second default: parameters have one, in params.yaml."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func, {}) == "getattr" and len(node.args) > 2:
            yield node.lineno, f"brings a default of its own: {ast.unparse(node)}"


def broad_except(path: str, tree: ast.Module) -> Iterator[Finding]:
    """No handler of everything; flows/dvc.py may catch BaseException to end its children, and re-raises."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if all(one is not None and word(one) not in _BROAD for one in caught):
                continue
            leaves = any(
                isinstance(n, ast.Return | ast.Continue | ast.Break) for s in node.body for n in ast.walk(s)
            )
            last = node.body[-1]
            re_raises = isinstance(last, ast.Raise) and last.exc is None and not leaves
            if not (path == "flows/dvc.py" and node.type is not None and re_raises):
                yield node.lineno, "catches everything"
        elif (
            isinstance(node, ast.Call)
            and word(node.func) == "suppress"
            and _BROAD & {word(a) for a in node.args}
        ):
            yield node.lineno, "suppresses everything"
