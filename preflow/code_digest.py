"""Digest of the code that a verb runs, for the cache key of its step."""

from functools import cache
from pathlib import Path
from typing import Any

import preflow
from preflow.identity import digest_files

_ROOT = Path(preflow.__file__).resolve().parents[1]


def code_digest(module: str) -> str:
    """32 hex digits over the files that a module of the library needs: its import closure and their package data.

    The closure holds imports inside functions too, and the packages that Python runs on the way to a module. A file
    that is not Python counts for a module in the package that holds it. Datasets in `preflow.data` are not code: they
    are inputs with a digest of their own.

    Args:
        module: Dotted name, such as `preflow.ppo.trainer`.
    """
    graph = _import_graph()
    closure = {module, *graph.find_upstream_modules(module)}
    files = {path for name in closure for path in _files(name)}
    return digest_files(sorted(files), _ROOT)


@cache
def _import_graph() -> Any:
    import grimp

    graph = grimp.build_graph("preflow", cache_dir=None)
    for name in graph.modules:
        parent, dot, _ = name.rpartition(".")
        if dot:  # importing a.b.c runs a and a.b first, so their imports belong to the closure of a.b.c
            graph.add_import(importer=name, imported=parent)
    return graph


def _files(name: str) -> list[Path]:
    path = _ROOT.joinpath(*name.split("."))
    if not path.is_dir():
        return [path.with_suffix(".py")]
    packages = {found.parent for found in path.rglob("*/__init__.py")}
    return [
        found
        for found in path.rglob("*")
        if found.is_file()
        and (found == path / "__init__.py" or found.suffix != ".py")
        and "__pycache__" not in found.parts
        and not packages & set(found.parents)
        and not found.name.startswith(".")
    ]
