"""Covariances are made, and scaled to trace N, in one module.

A static rule sees names: a trace, a construction, a raw amplitude, a field. What it cannot see (an energy
summed by hand) is left to the type `NormalizedCovariance`, which only covariance.py can construct.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tests.architecture.source import Finding, Rule, dotted, imports, references, word

COVARIANCE = "risolve/covariance.py"
AMPLITUDES = "risolve.amplitudes"
TYPES = frozenset({"NormalizedCovariance", "LoadedBlend"})
READS_TYPES = frozenset({"isinstance", "issubclass", "cast", "TypeVar"})
RAW_AMPLITUDES = frozenset({"ls_amplitudes", "joint_ls_amplitudes"})
READS_RAW_AMPLITUDES = {
    "stages/normalize.py": "writes the files that others read",
    "risolve/locating.py": "a user's measurements are in no file of normalize",
    "risolve/finetune.py": "nor are those that a network is tuned on",
    "stages/sweep.py": "scenes of a sweep are drawn, estimated and dropped, level by level",
}
SCALES_BY_TRACES = {
    COVARIANCE: "the normalization itself",
    "risolve/amplitudes.py": "the ridge is relative to the mean power of what is solved",
}
READS_TRACES = {
    **SCALES_BY_TRACES,
    "risolve/networks/health.py": "measures the law tr R = N; scaling by it is refused there too",
    "risolve/bounds/cramer_rao.py": "the unconditional Fisher information is a trace of products",
}

Binding = tuple[ast.expr, list[ast.expr]]
"""Value and targets of an assignment or a loop."""

Holds = Callable[[ast.AST, set[str]], bool]
"""(expression, names known to hold something) -> whether the expression holds it."""


def _names(target: ast.expr) -> set[str]:
    """Names that an assignment binds; what it stores in an object or a container has no name."""
    if isinstance(target, ast.Tuple | ast.List):
        return {name for element in target.elts for name in _names(element)}
    return {target.id} if isinstance(target, ast.Name) else set()


def _assignments(scope: ast.AST) -> Iterator[Binding]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            yield node.value, node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
            yield node.value, [node.target]


def _loops(scope: ast.AST) -> Iterator[Binding]:
    for node in ast.walk(scope):
        if isinstance(node, ast.For | ast.comprehension):
            yield node.iter, [node.target]


def _bound(bindings: Iterable[Binding], holds: Holds) -> set[str]:
    """Names bound to what `holds`, or to anything made of it."""
    bindings = list(bindings)
    names: set[str] = set()
    found = {""}
    while found > names:
        names = set(found)
        for value, targets in bindings:
            if holds(value, names):
                found |= {name for target in targets for name in _names(target)}
    return names


def _types_in(node: ast.AST, names: dict[str, str], held: set[str]) -> set[str]:
    """Covariance types, and names that hold them, in an expression; what a call in it returns is no type."""
    if isinstance(node, ast.Name | ast.Attribute):
        return {dotted(node, names).split(".")[-1]} & (TYPES | held)
    if isinstance(node, ast.Call):
        return set()
    return {name for child in ast.iter_child_nodes(node) for name in _types_in(child, names, held)}


def _type_of_object(node: ast.AST, held: set[str]) -> bool:
    """True for type(x), x.__class__ and a name that holds one of them."""
    if isinstance(node, ast.Call):
        return dotted(node.func, {}) == "type" and len(node.args) == 1
    return word(node) == "__class__" or (isinstance(node, ast.Name) and node.id in held)


def one_construction(path: str, tree: ast.Module) -> Iterator[Finding]:
    """covariance.py alone constructs and subclasses its types and calls the normalization.

    A type is constructed by its name, by another name or a table that holds it, by a function that takes it
    (`partial`, `__new__`), and as type(x)(...) of any object.
    """
    if path == COVARIANCE:
        return
    names = imports(tree)
    bindings = [*_assignments(tree), *_loops(tree)]
    held = _bound(bindings, lambda value, found: bool(_types_in(value, names, found)))
    of_objects = _bound(bindings, _type_of_object)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            used, what = node.bases, "subclasses"
        elif isinstance(node, ast.Call) and word(node.func) not in READS_TYPES:
            used, what = [node.func, *node.args, *(k.value for k in node.keywords)], "constructs"
            if _type_of_object(node.func, of_objects):
                yield node.lineno, f"constructs by the type of an object: {ast.unparse(node)}"
        else:
            continue
        made = {name for one in used for name in _types_in(one, names, held)}
        if made:
            yield node.lineno, f"{what} {', '.join(sorted(made))}"
    for line, name in references(tree, "risolve.covariance"):
        if name == "*" or re.match(r"_|normalized?(_|$)", name):
            yield (
                line,
                f"takes {name} from risolve.covariance; its public functions normalize what they return",
            )


class Fields(NamedTuple):
    """What the covariance types hold: private attributes, and the fields of the blend."""

    private: frozenset[str]
    blend: frozenset[str]


def held_fields(covariance: ast.Module) -> Fields:
    """Fields of `NormalizedCovariance` and `LoadedBlend` as covariance.py defines them."""
    bodies = {n.name: n for n in covariance.body if isinstance(n, ast.ClassDef) and n.name in TYPES}
    if bodies.keys() != TYPES:
        raise ValueError(f"{COVARIANCE} defines no {', '.join(sorted(TYPES - bodies.keys()))}")
    private = {
        n.attr
        for n in ast.walk(bodies["NormalizedCovariance"])
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and n.attr.startswith("_")
    }
    blend = {_names(n.target).pop() for n in bodies["LoadedBlend"].body if isinstance(n, ast.AnnAssign)}
    if not private or not blend:
        raise ValueError(f"{COVARIANCE} defines {', '.join(sorted(TYPES))} without fields")
    return Fields(frozenset(private), frozenset(blend))


def kept_whole(fields: Fields) -> Rule:
    """Nothing outside covariance.py reads the private fields of a covariance, rebuilds it or changes it."""
    public = {name.lstrip("_") for name in fields.private}

    def part(node: ast.AST) -> bool:
        """True for x.weights, x.basis.matrix[0], ..."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node, ast.Attribute) and node.attr in public:
                return True
            node = node.value
        return False

    def changed(node: ast.AST) -> bool:
        """True for an assignment into a part, an in-place method of one, and one as `out`."""
        if isinstance(node, ast.Assign):
            return any(isinstance(t, ast.Attribute | ast.Subscript) and part(t.value) for t in node.targets)
        if isinstance(node, ast.AugAssign):
            return part(node.target)
        if not isinstance(node, ast.Call):
            return False
        in_place = re.fullmatch(r"[a-z]\w*_", word(node.func)) and word(node.func) != "requires_grad_"
        owner = isinstance(node.func, ast.Attribute) and part(node.func.value)
        return bool(in_place and owner) or any(k.arg == "out" and part(k.value) for k in node.keywords)

    def rule(path: str, tree: ast.Module) -> Iterator[Finding]:
        if path == COVARIANCE:
            return
        for node in ast.walk(tree):
            if changed(node):
                yield node.lineno, f"changes what a covariance holds: {ast.unparse(node)}"
            elif (isinstance(node, ast.Attribute) and node.attr in fields.private) or (
                isinstance(node, ast.Constant) and node.value in fields.private
            ):
                yield node.lineno, f"reaches a private field: {ast.unparse(node)}"
            elif isinstance(node, ast.Call) and word(node.func) in {"replace", "__replace__"}:
                subject = set(word(node.args[0]).split("_")) if node.args else set()
                if subject & {"blend", "covariance"} or fields.blend & {k.arg for k in node.keywords}:
                    yield node.lineno, f"rebuilds a covariance: {ast.unparse(node)}"
            # an object may set itself up
            elif (
                isinstance(node, ast.Call)
                and word(node.func) == "__setattr__"
                and word(node.args[0]) != "self"
            ):
                yield node.lineno, f"changes a frozen object: {ast.unparse(node)}"

    return rule


def raw_names(covariance: ast.Module) -> frozenset[str]:
    """What covariance.py takes from amplitudes.py, by any name, and all that it defines of it."""
    bodies = {n.name: n for n in covariance.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    named = imports(covariance)
    found = {own for own, of in named.items() if f"{of}.".startswith(f"{AMPLITUDES}.")}
    if missing := RAW_AMPLITUDES - {named[own].rpartition(".")[2] for own in found}:
        raise ValueError(f"{COVARIANCE} takes no {', '.join(sorted(missing))} from {AMPLITUDES}")
    reached: set[str] = set()
    while found > reached:
        reached = set(found)
        found |= {
            name
            for name, body in bodies.items()
            if any(isinstance(n, ast.Name) and n.id in reached for n in ast.walk(body))
        }
    return frozenset(reached)


def raw_amplitudes(raw: frozenset[str]) -> Rule:
    """Only `READS_RAW_AMPLITUDES` reach raw least-squares amplitudes, for the reasons given there; and all of
    amplitudes.py is covariance.py's alone.
    """

    def rule(path: str, tree: ast.Module) -> Iterator[Finding]:
        if path == COVARIANCE:
            return
        for line, name in references(tree, AMPLITUDES):
            yield line, f"takes {name} from {AMPLITUDES}; covariance.py normalizes what is made of it"
        if path in READS_RAW_AMPLITUDES:
            return
        for line, name in references(tree, "risolve.covariance"):
            if name in raw:
                yield (
                    line,
                    f"reaches raw least-squares amplitudes ({name}); covariances come from normalize's files",
                )
        for line, name in references(tree, "stages.normalize"):
            yield line, f"takes {name} from the verb normalize; read its files"

    return rule


def _contracts_a_pair(equation: str) -> bool:
    """True for an einsum equation with an index twice in one operand and not in the result, like "bii->b"."""
    operands, _, result = equation.replace(" ", "").partition("->")
    return any(
        operand.count(letter) > 1 and letter not in result
        for operand in operands.split(",")
        for letter in filter(str.isalpha, operand)
    )


def _is_trace(node: ast.AST) -> bool:
    """True for trace(x), x.trace(), x.diagonal().real.sum(), mean(diag(x)), einsum("ii", x)."""
    if not isinstance(node, ast.Call):
        return False
    name = word(node.func)
    if {"trace", "traces"} & set(name.lower().split("_")):
        return True
    if name in {"sum", "mean", "nansum", "nanmean"}:
        operands = [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
        inner = [n for operand in operands for n in ast.walk(operand) if isinstance(n, ast.Call)]
        return any(word(n.func) in {"diagonal", "diag"} for n in inner)
    equation = node.args[0] if name == "einsum" and node.args else None
    return isinstance(equation, ast.Constant) and _contracts_a_pair(str(equation.value))


def trace_computed(path: str, tree: ast.Module) -> Iterator[Finding]:
    """A trace is computed only where `READS_TRACES` says why."""
    if path in READS_TRACES:
        return
    for node in ast.walk(tree):
        if _is_trace(node):
            yield node.lineno, f"computes a trace: {ast.unparse(node)}"


def _holds_trace(node: ast.AST, tainted: set[str]) -> bool:
    return any(_is_trace(n) or (isinstance(n, ast.Name) and n.id in tainted) for n in ast.walk(node))


def _scaling(node: ast.AST) -> list[ast.expr]:
    """Operands that scale: the factors of a product, the divisor of a quotient, operator or function."""
    if isinstance(node, ast.BinOp):
        operator, operands = type(node.op).__name__, [node.left, node.right]
    elif isinstance(node, ast.AugAssign):
        operator, operands = type(node.op).__name__, [node.target, node.value]
    elif isinstance(node, ast.Call):
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        operator, operands = word(node.func).strip("_"), [*owner, *node.args][-2:]
    else:
        return []
    if operator in {"Mult", "mul", "multiply"}:
        return operands
    return operands[1:] if operator in {"Div", "div", "divide", "true_divide"} else []


def scaled_by_trace(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Nothing is scaled by a trace but in `SCALES_BY_TRACES`; a trace divided by a count is a reading."""
    if path in SCALES_BY_TRACES:
        return
    found: dict[int, str] = {}
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    scopes = [
        (tree, set[str]()),
        *((function, _bound(_assignments(function), _holds_trace)) for function in functions),
    ]
    for scope, tainted in scopes:
        for node in ast.walk(scope):
            if any(_holds_trace(operand, tainted) for operand in _scaling(node)):
                found[node.lineno] = ast.unparse(node)
    yield from ((line, f"scales by a trace: {text}") for line, text in sorted(found.items()))
