"""The house keeps its shape: who may import whom, and what may not be touched at all, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

RANKS = {
    "errors": 0, "clock": 0, "compat": 0,
    "core": 1, "http1": 1,
    "telemetry": 2, "settings": 2, "ipc": 2,
    "dataplane": 3, "controlplane": 3, "comparison": 3,
    "admin": 4,
    "cli": 5,
    "__main__": 6,
}
"""A module imports from lower ranks or from its own package. The root package holds the version number and is free."""

IMPURE_MODULES = frozenset({
    "asyncio", "concurrent", "datetime", "fcntl", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib",
    "random", "resource", "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "structlog",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uvloop",
})
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})
PURE_PACKAGES = ("core", "http1")

NOT_IN_WORKERS = frozenset({"aiohttp", "click", "prometheus_client", "pydantic", "structlog", "yaml"})


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(), filename=str(MODULES[module]))


def for_types_only(tree: ast.Module) -> set[int]:
    """The nodes below `if TYPE_CHECKING:`, which no running program ever sees."""
    return {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for statement in block.body
        for node in ast.walk(statement)
    }


def imports_of(module: str, *, types_too: bool = True) -> Iterator[str]:
    """The dotted names that a module imports anywhere, also inside functions; submodules rather than packages."""
    tree = tree_of(module)
    skipped = set() if types_too else for_types_only(tree)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write out where it comes from"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


def package_of(module: str) -> str:
    """The room of a module: the name below `proxy`; empty for the root package itself."""
    return module.split(".")[1] if "." in module else ""


def own_imports(module: str, *, types_too: bool = True) -> set[str]:
    return {name for name in imports_of(module, types_too=types_too) if name == "proxy" or name.startswith("proxy.")}


def test_every_room_of_the_house_has_a_rank() -> None:
    assert {package_of(module) for module in MODULES} - {""} <= set(RANKS)


@pytest.mark.parametrize("module", [module for module in MODULES if package_of(module)])
def test_a_module_imports_lower_ranks_or_its_own_package(module: str) -> None:
    own = package_of(module)
    for imported in own_imports(module):
        other = package_of(imported)
        allowed = other in ("", own) or RANKS[other] < RANKS[own]
        assert allowed, f"{module} (rank {RANKS[own]}) imports {imported} (rank {RANKS[other]})"


def test_no_module_imports_itself_in_a_circle() -> None:
    # What is imported for types only is never executed, so it cannot close a circle.
    graph = {module: own_imports(module, types_too=False) & set(MODULES) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "circle: " + " → ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for imported in sorted(graph[module] - {module}):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", [module for module in MODULES if package_of(module) in PURE_PACKAGES])
def test_core_and_http1_touch_neither_the_world_nor_the_clock_nor_chance(module: str) -> None:
    for imported in imports_of(module):
        parts = imported.split(".")
        prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
        assert not prefixes & IMPURE_MODULES, f"{module} imports {imported}"
        assert imported != "proxy.clock", f"{module} imports the clock: take the time as an argument"
    calls = {
        node.func.id
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & IMPURE_CALLS


def test_only_the_exposition_knows_prometheus() -> None:
    users = {
        module
        for module in MODULES
        if any(name.split(".")[0] == "prometheus_client" for name in imports_of(module))
    }
    assert users <= {"proxy.telemetry.exposition"}


@pytest.mark.parametrize("room", ["dataplane", "comparison"])
def test_a_worker_and_the_comparer_import_nothing_that_costs_start_time_and_memory(room: str) -> None:
    """Read from a real process: what third-party modules import in turn counts too."""
    program = f"import sys, proxy.{room}.__main__; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert not set(run.stdout.split()) & NOT_IN_WORKERS
