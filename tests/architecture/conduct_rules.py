"""What the code does not do: draw from global state, print, open files in the core, invent defaults, catch
everything, pass over what it caught, differentiate eigenvectors.
"""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.architecture.source import Finding, dotted, imports, is_core, word

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
_TENSOR_FILLS = frozenset(
    {
        *("bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_"),
        *("random_", "uniform_", "trunc_normal_", "orthogonal_", "sparse_"),
        *("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"),
    }
)
"""Methods of tensors, and functions of torch.nn.init."""

_STREAMS = frozenset({"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"})
WRITES_STDERR = {
    "stages/artifacts/entry.py": "the line that an expected error ends with",
    "stages/artifacts/progress.py": "the line of progress",
}
_OPENS = frozenset(
    {
        *("open", "read_bytes", "read_text", "write_bytes", "write_text", "tofile"),
        *("__import__", "import_module"),
    }
)
_LOADS = frozenset(
    {
        *("load", "save", "savez", "savez_compressed", "loadtxt", "savetxt", "genfromtxt", "fromfile"),
        *("memmap", "loadmat", "savemat", "from_file"),
    }
)
_EIGEN = frozenset(
    {
        *("eig", "eigh", "eigvals", "eigvalsh", "lobpcg"),
        *("svd", "svdvals", "svd_lowrank", "pca_lowrank"),
    }
)
DIFFERENTIATED = ("stages/networks/", "stages/covariance.py")
"""What backward passes run through."""

_BROAD = frozenset({"Exception", "BaseException"})
SWALLOWS = {
    "flows/serve.py": "Ctrl-C is how serving ends",
}


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
            name = parts[-1] if parts else library
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if parts == ["random", "default_rng"] and not node.args and not keywords:
                yield node.lineno, "makes a generator without a seed: default_rng()"
            elif node not in forked and (
                (library == "torch" and parts and parts[-1] in _TORCH_DRAWS) or name in _TENSOR_FILLS
            ):
                ordered = name == "DataLoader" and keywords.get("shuffle", "False") == "False"
                if keywords.get("generator", "None") == "None" and not ordered:
                    yield node.lineno, f"draws without generator=: {ast.unparse(node)}"


def silent_core(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Of the stages, the report and the `main` of a verb print; `WRITES_STDERR` says who else writes."""
    if path == "stages/report.py":
        return
    names = imports(tree)
    allowed: set[ast.AST] = set()
    if PurePosixPath(path).parent == PurePosixPath("stages"):
        mains = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
        allowed = {inner for main in mains for inner in ast.walk(main)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and node not in allowed:
            name = dotted(node, names).removeprefix("builtins.")
            if name == "print" or (name in _STREAMS and not (name == "sys.stderr" and path in WRITES_STDERR)):
                yield node.lineno, f"prints: uses {name}"


def no_files(path: str, tree: ast.Module) -> Iterator[Finding]:
    """The core takes tensors and returns tensors; of whole modules the import contract `core` says so."""
    if not is_core(path):
        return
    names = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            library, *parts = dotted(node, names).split(".")
            last = parts[-1] if parts else library
            if last in _OPENS or (library in {"torch", "numpy", "scipy"} and last in _LOADS):
                yield node.lineno, f"reaches a file or a module by name: {ast.unparse(node)}"


def no_eigenvectors(path: str, tree: ast.Module) -> Iterator[Finding]:
    """The derivative of an eigenvector has the gaps of the eigenvalues as denominators, and NaN without a
    gap: what is trained knows subspaces by projectors and triangular factors.
    """
    if not path.startswith(DIFFERENTIATED):
        return
    names = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and dotted(node, names).split(".")[-1] in _EIGEN:
            yield node.lineno, f"takes eigenvectors: {ast.unparse(node)}"


def _running_totals(tree: ast.Module) -> Iterator[ast.AST]:
    """Calls d.get(k, 0) of d[k] = d.get(k, 0) + x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            total = node.targets[0]
            for start in ("0", "0.0"):
                text = f"{ast.unparse(total.value)}.get({ast.unparse(total.slice)}, {start})"
                yield from (n for n in ast.walk(node.value) if ast.unparse(n) == text)


def _invented(node: ast.expr, kinds: tuple[type, ...] = (int, float, complex, str, bytes)) -> bool:
    """True for a number, or a text that is not empty, written out: alone, in arithmetic or in a container."""
    parts = list(ast.walk(node))
    return not any(isinstance(n, ast.Name | ast.Call) for n in parts) and any(
        isinstance(n, ast.Constant) and isinstance(n.value, kinds) and n.value not in ("", b"") for n in parts
    )


def second_default(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Parameters have one default, the value in params.yaml.

    A second one is `getattr(x, name, default)`, `x.get(name, 0.1)` (`setdefault`, `pop`) or `x or 0.1`. A
    running total starts at zero, and the environment holds no parameters.
    """
    names, totals = imports(tree), set(_running_totals(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            falls_back = (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in {"get", "setdefault", "pop"}
                and len(node.args) == 2
                and _invented(node.args[1])
                and node not in totals
                and dotted(node.func.value, names) != "os.environ"
            )
            if falls_back or (dotted(node.func, {}) == "getattr" and len(node.args) > 2):
                yield node.lineno, f"brings a default of its own: {ast.unparse(node)}"
        elif (
            isinstance(node, ast.BoolOp)
            and isinstance(node.op, ast.Or)
            and _invented(node.values[-1], (int, float, complex))
        ):
            yield node.lineno, f"brings a default of its own: {ast.unparse(node)}"


def broad_except(path: str, tree: ast.Module) -> Iterator[Finding]:
    """No handler of everything; flows/processes.py may catch BaseException to end its children."""
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
            if not (path == "flows/processes.py" and node.type is not None and re_raises):
                yield node.lineno, "catches everything"
        elif (
            isinstance(node, ast.Call)
            and word(node.func) == "suppress"
            and _BROAD & {word(a) for a in node.args}
        ):
            yield node.lineno, "suppresses everything"


def silent_except(path: str, tree: ast.Module) -> Iterator[Finding]:
    """No handler does nothing: `contextlib.suppress` of one error says so; `SWALLOWS` says where else."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            empty = all(
                isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
                for s in node.body
            )
            one = node.type is not None and not isinstance(node.type, ast.Tuple)
            if empty and not (one and path in SWALLOWS):
                yield node.lineno, "catches and says nothing"
        elif isinstance(node, ast.Call) and word(node.func) == "suppress" and len(node.args) > 1:
            yield node.lineno, f"suppresses several errors at once: {ast.unparse(node)}"
