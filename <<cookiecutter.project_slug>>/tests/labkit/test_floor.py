"""The floors of the house: a package of the bench imports only what lies below it, and nobody's study."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit

BENCH = Path(labkit.__file__).parent
FLOORS = {
    "atomic": 0,
    "command": 0,
    "credentials": 0,
    "environment": 0,
    "option_group": 0,
    "secret": 0,
    "seed": 0,
    "data": 1,
    "tracking": 2,
    "training": 3,
    "launch": 4,
    "recipe": 5,
    "report": 6,
}
DOORS_OF_LAUNCH = {
    f"labkit.tracking.{room}"
    for room in ("contact", "entry_point", "parameter", "provenance", "run", "source", "spool", "state")
}
"""The only rooms above the ground that a launcher enters: it runs where there is no torch."""


def is_allowed(module: str, imported: str) -> bool:
    """Tell whether one module of the bench may import another, both by their full names."""
    package, other = module.split(".")[1], imported.split(".")[1]
    if package == other:
        return True
    if package == "launch" and FLOORS[other] > 0:
        return imported in DOORS_OF_LAUNCH
    # The ground floor is one: there, what matters is only that nothing goes round in a circle.
    return FLOORS[other] < FLOORS[package] or FLOORS[other] == FLOORS[package] == 0


def find_imports(module: str, source: str, modules: set[str]) -> Iterator[str]:
    """Yield the name of every module that a source imports, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=name, names=names, level=level):
                base = ".".join([*module.split(".")[:-level], *([name] if name else [])]) if level else str(name)
                for alias in names:
                    yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base
            case _:
                pass


def read_bench() -> dict[str, str]:
    """Return the source of every module of the bench by the module's name."""
    sources: dict[str, str] = {}
    for path in BENCH.rglob("*.py"):
        parts = path.relative_to(BENCH.parent).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return sources


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each module of the bench imports."""
    sources = read_bench()
    return {module: set(find_imports(module, source, set(sources))) for module, source in sources.items()}


def test_every_package_has_a_floor(imports: dict[str, set[str]]) -> None:
    assert {module.split(".")[1] for module in imports if "." in module} <= FLOORS.keys()


def test_a_package_imports_only_packages_below(imports: dict[str, set[str]]) -> None:
    assert "labkit.tracking.run" in imports["labkit.training.trainer"], "imports are not found"
    wrong = {
        f"{module} imports {imported}"
        for module, found in imports.items()
        for imported in found
        if imported.startswith("labkit.") and not is_allowed(module, imported)
    }
    assert wrong == set()


def test_nothing_imports_a_study(imports: dict[str, set[str]]) -> None:
    studies = {path.parent.name for path in BENCH.parent.glob("*/__init__.py")} - {"labkit"}
    found = {imported.partition(".")[0] for imports_of_one in imports.values() for imported in imports_of_one}
    assert studies
    assert found & studies == set()


def test_no_imports_go_round_in_a_circle(imports: dict[str, set[str]]) -> None:
    remaining = {module: {name for name in found if name in imports} for module, found in imports.items()}
    while leaves := {module for module, found in remaining.items() if not found & remaining.keys()}:
        for leaf in leaves:
            del remaining[leaf]
    assert remaining.keys() == set()


@pytest.mark.parametrize(
    ("module", "imported", "allowed"),
    [
        ("labkit.training.trainer", "labkit.data.loading", True),
        ("labkit.training.trainer", "labkit.training.task", True),
        ("labkit.data.loading", "labkit.tracking.run", False),
        ("labkit.environment", "labkit.command", True),
        ("labkit.environment", "labkit.data.sampling", False),
        ("labkit.recipe.step", "labkit.report.figures", False),
        ("labkit.launch.slurm", "labkit.environment", True),
        ("labkit.launch.slurm", "labkit.tracking.run", True),
        ("labkit.launch.slurm", "labkit.tracking.sender", False),
        ("labkit.launch.slurm", "labkit.training.duration", False),
    ],
)
def test_the_rule_says(module: str, imported: str, *, allowed: bool) -> None:
    assert is_allowed(module, imported) is allowed


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import labkit.report.figures", "labkit.report.figures"),
        ("from labkit.report import figures", "labkit.report.figures"),
        ("from labkit.report.figures import plot", "labkit.report.figures"),
        ("def f():\n    from labkit.report import figures", "labkit.report.figures"),
        ("if TYPE_CHECKING:\n    import labkit.report.figures", "labkit.report.figures"),
        ("from ..report import figures", "labkit.report.figures"),
        ("from ..report.figures import plot", "labkit.report.figures"),
    ],
)
def test_an_import_is_found_however_it_is_written(source: str, imported: str) -> None:
    modules = {"labkit.report", "labkit.report.figures"}
    assert set(find_imports("labkit.data.loading", source, modules)) == {imported}
