"""Shape annotations, executed: arguments and result of every call in one pass, axis names bound anew by each.

The decorator of jaxtyping checks the arguments twice, the second time for names that they share with the
result, and binds them to the signature for its messages: that is half of the time of a numerical test. Here
`beartype` checks each value once, in the same context of axis names.
"""

import dataclasses
import functools
import inspect
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep484ForwardRefStrException
from jaxtyping import TypeCheckError

_check = beartype(conf=BeartypeConf(violation_type=TypeCheckError, is_pep484_tower=True))
_jaxtyped = jaxtyping.jaxtyped
_CONTEXT = _jaxtyped("context")


def jaxtyped(fn: Any = None, *, typechecker: Any) -> Any:
    """In place of `jaxtyping.jaxtyped`: checks a function; of a dataclass, its `__init__`."""
    if fn is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if inspect.isclass(fn):
        if dataclasses.is_dataclass(fn) and "__init__" in vars(fn):
            fn.__init__ = jaxtyped(fn.__init__, typechecker=typechecker)
        return fn
    # What a generator yields comes after the call, outside of its context of names.
    if inspect.isgeneratorfunction(fn):
        return _jaxtyped(fn, typechecker=typechecker)
    try:
        body = _check(fn)
    except BeartypeDecorHintPep484ForwardRefStrException:
        # A type for mypy alone, as "pd.Series[float]": jaxtyping takes it for any.
        return _jaxtyped(fn, typechecker=typechecker)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with _CONTEXT:
            return body(*args, **kwargs)

    return call


def install(modules: list[str]) -> None:
    """Check modules when they are imported: the hook of jaxtyping takes its decorator from the package."""
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook(modules, "beartype.beartype")
