"""Covariances are made, and scaled to trace N, in one module.

A static rule sees names: a trace, a construction, a raw amplitude. What it cannot see (an energy summed by
hand) is left to the type `NormalizedCovariance`, which only covariance.py can construct.
"""

import ast
import re
from collections.abc import Iterator

from tests.architecture.source import Finding, Rule, dotted, imports, references, word

COVARIANCE = "stages/covariance.py"
TYPES = frozenset({"NormalizedCovariance", "LoadedBlend"})
RAW_AMPLITUDES = frozenset({"ls_amplitudes", "joint_ls_amplitudes"})
READS_RAW_AMPLITUDES = frozenset({"stages/normalize.py", "stages/localize.py"})
READS_TRACES = {
    COVARIANCE: "the normalization itself",
    "stages/networks/health.py": "measures the law tr R = N; scaling by it is refused there too",
    "stages/bounds/cramer_rao.py": "the unconditional Fisher information is a trace of products",
}


def one_construction(path: str, tree: ast.Module) -> Iterator[Finding]:
    """covariance.py alone constructs and subclasses its types and calls the normalization."""
    if path == COVARIANCE:
        return
    names = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            used, what = node.bases, "subclasses"
        elif isinstance(node, ast.Call):
            used, what = [node.func, *(node.args if word(node.func) == "__new__" else [])], "constructs"
        else:
            continue
        made = TYPES & {dotted(one, names).rpartition(".")[2] for one in used}
        if made:
            yield node.lineno, f"{what} {', '.join(made)}"
    for line, name in references(tree, "stages.covariance"):
        if name == "*" or re.match(r"_|normalized?(_|$)", name):
            yield (
                line,
                f"takes {name} from stages.covariance; its public functions normalize what they return",
            )


def raw_names(covariance: ast.Module) -> frozenset[str]:
    """The raw least-squares amplitudes and every definition of covariance.py that reaches them."""
    bodies = {n.name: n for n in covariance.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    if not bodies.keys() >= RAW_AMPLITUDES:
        raise ValueError(f"{COVARIANCE} defines no {', '.join(sorted(RAW_AMPLITUDES - bodies.keys()))}")
    reached: set[str] = set()
    found = set(RAW_AMPLITUDES)
    while found > reached:
        reached = set(found)
        found |= {
            name
            for name, body in bodies.items()
            if any(isinstance(n, ast.Name) and n.id in reached for n in ast.walk(body))
        }
    return frozenset(reached)


def raw_amplitudes(raw: frozenset[str]) -> Rule:
    """Only `normalize` (and `localize`, on a user's file) reaches raw least-squares amplitudes."""

    def rule(path: str, tree: ast.Module) -> Iterator[Finding]:
        if path == COVARIANCE or path in READS_RAW_AMPLITUDES:
            return
        for line, name in references(tree, "stages.covariance"):
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


def _names(target: ast.expr) -> set[str]:
    """Names that an assignment binds; what it stores in an object or a container has no name."""
    if isinstance(target, ast.Tuple | ast.List):
        return {name for element in target.elts for name in _names(element)}
    return {target.id} if isinstance(target, ast.Name) else set()


def _tainted(scope: ast.AST) -> set[str]:
    """Names of a scope that hold a trace or anything computed from one."""
    assignments: list[tuple[ast.expr, list[ast.expr]]] = []
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            assignments.append((node.value, node.targets))
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
            assignments.append((node.value, [node.target]))
    names: set[str] = set()
    found = {""}
    while found > names:
        names = set(found)
        for value, targets in assignments:
            if _holds_trace(value, names):
                found |= {name for target in targets for name in _names(target)}
    return names


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
    """Nothing is scaled by a trace outside covariance.py; a trace divided by a count is a reading."""
    if path == COVARIANCE:
        return
    found: dict[int, str] = {}
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    scopes = [(tree, set[str]()), *((function, _tainted(function)) for function in functions)]
    for scope, tainted in scopes:
        for node in ast.walk(scope):
            if any(_holds_trace(operand, tainted) for operand in _scaling(node)):
                found[node.lineno] = ast.unparse(node)
    yield from ((line, f"scales by a trace: {text}") for line, text in sorted(found.items()))
