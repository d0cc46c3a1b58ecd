"""Every estimator by name: what the tables `ESTIMATORS` of the modules of this package hold.

A new estimator is one module of the package with such a table; it appears in the comparison, in `risolve
estimators` and in the suite of contract tests by itself.
"""

import pkgutil

import risolve.estimators
from risolve.estimators.contract import Estimator, Factory, Settings
from risolve.inference.grid import Grid


def _registry() -> dict[str, Factory]:
    """Tables of all modules, in the order of the modules' names.

    Raises:
        ValueError: a name that two modules use.
    """
    factories: dict[str, Factory] = {}
    for module in pkgutil.iter_modules(risolve.estimators.__path__, "risolve.estimators."):
        if module.name == __name__:
            continue
        loaded = pkgutil.resolve_name(module.name)
        if not hasattr(loaded, "ESTIMATORS"):
            continue
        own: dict[str, Factory] = loaded.ESTIMATORS
        taken = sorted(set(own) & set(factories))
        if taken:
            raise ValueError(f"an estimator's name is its own; {module.name} takes {taken} again")
        factories |= own
    return factories


REGISTRY: dict[str, Factory] = _registry()


def estimator(name: str, grid: Grid, settings: Settings) -> Estimator:
    """The estimator of a name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in REGISTRY:
        raise ValueError(f"no estimator is called {name!r}; there are {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name](name, grid, settings)
