"""What the code does not do: draw from global state, print, open files in the core, invent defaults, catch
everything, pass over what it caught, differentiate eigenvectors.
"""

import ast
from collections.abc import Iterator

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
TERMINAL = "risolve/running/terminal.py"
"""What writes to standard output and standard error."""

WRITES_FILES = {
    "risolve/files/atomic.py": "every file that a stage writes",
    "stages/running/device.py": "the locks of the devices",
    "risolve/running/work.py": "the locks of work",
    "stages/trials/study.py": "the journal of the trials",
    TERMINAL: "standard streams that are closed",
}
_WRITING_MODES = frozenset("wax+")
_WRITING_FLAGS = frozenset({"os.O_WRONLY", "os.O_RDWR", "os.O_CREAT"})
_SERIALIZERS = {"torch.save": 1, "numpy.save": 0, "numpy.savez": 0, "numpy.savez_compressed": 0}
"""Function -> which argument it writes to."""

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
DIFFERENTIATED = ("risolve/networks/", "risolve/covariance.py")
"""What backward passes run through."""

_SHELLS = frozenset(
    {("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput")}
)
ARGUMENTS = "flows/arguments.py"
_SPAWN = frozenset(
    f"multiprocessing.{name}" for name in ("get_context", "Pool", "Process", "set_start_method")
)
SPAWNS = {
    "risolve/running/shards.py": "`spawning`",
}
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
    """Of the stages, `TERMINAL` alone prints: names in its lines are text, and no stream stops a verb."""
    if path == TERMINAL:
        return
    names = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names).removeprefix("builtins.")
            if name == "print" or name in _STREAMS:
                yield node.lineno, f"prints: uses {name}"


def one_writer(path: str, tree: ast.Module) -> Iterator[Finding]:
    """A stage makes a file in memory and has `atomic` write it: libraries that write by themselves end the
    process on a full disk, follow links and leave halves; `WRITES_FILES` says what else is opened to write.
    """
    if path in WRITES_FILES:
        return
    names = imports(tree)
    in_memory = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if dotted(node.value.func, names) in {"io.BytesIO", "io.StringIO"}
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and dotted(node, names) in _WRITING_FLAGS:
            yield node.lineno, f"opens a file to write: {ast.unparse(node)}"
        if not isinstance(node, ast.Call):
            continue
        name, method = dotted(node.func, names), word(node.func)
        modes = {
            value.value
            for value in (*node.args, *(k.value for k in node.keywords if k.arg == "mode"))
            if isinstance(value, ast.Constant) and isinstance(value.value, str)
        }
        is_open = method == "open" and any(_WRITING_MODES & set(mode) and len(mode) <= 3 for mode in modes)
        is_library = (
            name == "h5py.File"
            and modes & {"w", "a", "r+", "x", "w-"}
            and not any(
                keyword.arg == "driver" and ast.unparse(keyword.value) == "'core'"
                for keyword in node.keywords
            )
        )
        is_serializer = name in _SERIALIZERS and not (
            len(node.args) > _SERIALIZERS[name] and ast.unparse(node.args[_SERIALIZERS[name]]) in in_memory
        )
        is_table = (
            method in {"to_csv", "to_json", "savefig"}
            and bool(node.args)
            and (ast.unparse(node.args[0]) not in in_memory)
        )
        is_method = isinstance(node.func, ast.Attribute) and method in {
            "write_text",
            "write_bytes",
            "touch",
            "tofile",
        }
        if is_open or is_library or is_serializer or is_table or is_method:
            yield node.lineno, f"writes a file by itself: {ast.unparse(node)}"


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


def no_shell(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Programs are started from lists of arguments; those of flows are made in flows/arguments.py."""
    names = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            library, *parts = dotted(node, names).split(".")
            if (library, *parts) in _SHELLS or parts == ["create_subprocess_shell"]:
                yield node.lineno, f"starts a shell: {ast.unparse(node)}"
        elif isinstance(node, ast.Call):
            shell = [keyword.value for keyword in node.keywords if keyword.arg == "shell"]
            if shell and ast.unparse(shell[0]) != "False":
                yield node.lineno, "starts a shell: shell="
            if dotted(node.func, names).split(".")[-1] == "CommandLine" and path != ARGUMENTS:
                yield node.lineno, f"makes an argument list of its own: {ast.unparse(node)}"


def safe_path(path: str, tree: ast.Module) -> Iterator[Finding]:
    """A Python child imports nothing from the folder that it runs in: after `sys.executable` comes -P, or -I.

    As a path it names the folder of the environment. Pools and processes of multiprocessing start theirs from
    `SPAWNS`, in which PYTHONSAFEPATH says the same.
    """
    names = imports(tree)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        name = dotted(node, names) if isinstance(node, ast.Name | ast.Attribute) else ""
        if name in _SPAWN and path not in SPAWNS:
            yield node.lineno, f"starts processes of its own: {name}"
        if isinstance(node, ast.Call) and word(node.func) == "ProcessPoolExecutor":
            contexts = [ast.unparse(one.value) for one in node.keywords if one.arg == "mp_context"]
            if contexts != ["spawning()"]:
                yield node.lineno, "starts a pool without mp_context=spawning()"
        if name != "sys.executable":
            continue
        parent = parents[node]
        if (
            isinstance(parent, ast.Call)
            and dotted(parent.func, names) == "os.execv"
            and parent.args[0] is node
        ):
            continue  # the list that follows begins with it again
        following: list[ast.expr] = []
        if isinstance(parent, ast.Tuple | ast.List):
            following = parent.elts[parent.elts.index(node) + 1 :]
        elif isinstance(parent, ast.Call) and dotted(parent.func, names) == "pathlib.Path":
            continue
        elif isinstance(parent, ast.Call) and isinstance(outer := parents[parent], ast.Call):
            following = outer.args
        flag = following[0] if following else None
        if not (isinstance(flag, ast.Constant) and flag.value in ("-P", "-I")):
            yield node.lineno, f"starts Python without -P: {ast.unparse(parent)}"


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
