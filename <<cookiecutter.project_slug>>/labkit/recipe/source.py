"""The code that a function stands on: every function, class and constant of the study that it reaches.

Code is read, never executed: its syntax tree, so that comments, docstrings and formatting do not count. A name that is
bound twice is taken for both; better one definition too many than one too few.
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from labkit.recipe.configuration import find_module, walk

BENCH: Final = "labkit"
"""Known by its version, rather than read."""
REST: Final = ""
"""Stands for what a module does besides defining: it concerns everything in it."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Place(NamedTuple):
    """Where something is defined."""

    module: str
    name: str


@dataclass
class Closure:
    """What a function stands on."""

    digests: dict[str, str] = field(default_factory=dict)
    """Of definitions, by what they are: ``function my_research.model.cnn``."""
    packages: set[str] = field(default_factory=set)
    """The packages of others that are imported, by the names of their imports."""


@dataclass
class _Module:
    """The definitions of a module."""

    nodes: dict[str, list[ast.AST]] = field(default_factory=dict)
    """Statements by the names that they define."""
    imports: dict[str, list[Place]] = field(default_factory=dict)
    """What imported names stand for; a whole module has no name."""
    is_package: bool = False


def find_closure(value: object) -> Closure:
    """Find the code that a part of a configuration stands on.

    :param value: A function, a class, an object, or lists and mappings of such; what comes of libraries counts by its
        package.
    :return: The closure.
    """
    closure = Closure()
    waiting: list[Place] = []
    for part in walk(value):
        if isinstance(part, ModuleType):
            waiting.append(Place(part.__name__, ""))
            continue
        root = part if isinstance(part, FunctionType | MethodType | BuiltinFunctionType | type) else type(part)
        name = find_module(root)
        package = name.partition(".")[0]
        if _is_of_study(package):
            waiting.extend(_place_root(root, name, closure))
        elif package != "builtins":
            _add_package(package, closure)
    seen: set[Place] = set()
    while waiting:
        place = waiting.pop()
        if place not in seen:
            seen.add(place)
            waiting.extend(_follow(place, closure))
    return closure


def _follow(place: Place, closure: Closure) -> Iterator[Place]:
    """Add the digest of a definition, and yield what it refers to."""
    if not _is_of_study(place.module.partition(".")[0]):
        _add_package(place.module.partition(".")[0], closure)
        return
    module = _read_module(place.module)
    if module is None:
        # `from package import module` and `package.function` look alike: the last part is then the name.
        parent, _, last = place.module.rpartition(".")
        if parent and not place.name:
            yield Place(parent, last)
        return
    if not place.name:
        # A module as such: whatever is taken from it, by any name.
        names = set(module.nodes) | {REST}
        yield from (Place(place.module, name) for name in names if name)
    if place.name and place.name not in module.nodes:
        yield from module.imports.get(place.name, [])
        yield from (Place(star.module, place.name) for star in module.imports.get("*", []))
        if place.name not in module.imports and _read_module(f"{place.module}.{place.name}"):
            yield Place(f"{place.module}.{place.name}", "")
        return
    nodes = module.nodes.get(place.name, [])
    if nodes:
        closure.digests[_label(place, nodes[0])] = _digest(nodes)
    for node in nodes:
        yield from _references(node, place.module, module)
    if place.name != REST and REST in module.nodes:
        closure.digests.setdefault(f"module {place.module}", _digest(module.nodes[REST]))
        for node in module.nodes[REST]:
            yield from _references(node, place.module, module)


def _references(node: ast.AST, name: str, module: _Module) -> Iterator[Place]:
    """Yield what a statement refers to: names of its module, and what it imports itself."""
    local: dict[str, list[Place]] = {}
    for child in ast.walk(node):
        for bound, target in _bindings(child, name, is_package=module.is_package):
            local.setdefault(bound, []).append(target)
            if bound == "*":
                yield target
    for child in ast.walk(node):
        match child:
            case ast.Name(id=word):
                for target in [*local.get(word, []), *module.imports.get(word, [])]:
                    if target.name or not _is_attribute_base(node, child):
                        yield target
                if word in module.nodes:
                    yield Place(name, word)
                elif word not in module.imports:
                    yield from (Place(star.module, word) for star in module.imports.get("*", []))
            case ast.Attribute():
                yield from _resolve_attribute(child, local, module)
            case _:
                pass
    for targets in local.values():
        yield from (target for target in targets if not _is_of_study(target.module.partition(".")[0]))


@functools.lru_cache(maxsize=1024)
def _bases_of_attributes(node: ast.AST) -> frozenset[int]:
    return frozenset(id(child.value) for child in ast.walk(node) if isinstance(child, ast.Attribute))


def _is_attribute_base(node: ast.AST, child: ast.Name) -> bool:
    return id(child) in _bases_of_attributes(node)


def _resolve_attribute(node: ast.Attribute, local: dict[str, list[Place]], module: _Module) -> Iterator[Place]:
    """Yield what ``module.name`` and ``package.module.name`` stand for, also where a name is a module."""
    words = [node.attr]
    base = node.value
    while isinstance(base, ast.Attribute):
        words.insert(0, base.attr)
        base = base.value
    if not isinstance(base, ast.Name):
        return
    for target in [*local.get(base.id, []), *module.imports.get(base.id, [])]:
        *path, last = words
        yield Place(".".join([*target, *path] if target.name else [target.module, *path]), last)


def _bindings(node: ast.AST, name: str, *, is_package: bool) -> Iterator[tuple[str, Place]]:
    """Yield the names that an import binds, and what each stands for."""
    match node:
        case ast.Import(names=names):
            for alias in names:
                if alias.asname:
                    yield alias.asname, Place(alias.name, "")
                else:
                    yield alias.name.partition(".")[0], Place(alias.name.partition(".")[0], "")
        case ast.ImportFrom(module=origin, names=names, level=level):
            parents = name.split(".") if is_package else name.split(".")[:-1]
            base = parents[: len(parents) - level + 1] if level else []
            full = ".".join([*base, *([origin] if origin else [])])
            for alias in names:
                if alias.name == "*":
                    yield "*", Place(full, "")
                else:
                    yield alias.asname or alias.name, Place(full, alias.name)
        case _:
            pass


def _read_module(name: str) -> _Module | None:
    path = _find_source(name)
    return _parse(name, path, path.read_bytes()) if path else None


@functools.lru_cache(maxsize=256)
def _parse(name: str, path: Path, code: bytes) -> _Module:
    """Find the definitions of a module."""
    module = _Module(is_package=path.name == "__init__.py")
    for statement in ast.parse(code).body:
        for names, node in _define(statement):
            for bound in names:
                module.nodes.setdefault(bound, []).append(node)
        for child in _imports_of(statement):
            for bound, target in _bindings(child, name, is_package=module.is_package):
                module.imports.setdefault(bound, []).append(target)
    return module


def _imports_of(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the imports that a statement of a module makes for the module, also within a condition or a trial."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            pass
        case ast.If(test=test, orelse=others) if _is_never_true(test):
            for other in others:
                yield from _imports_of(other)
        case _:
            yield from ast.walk(statement)


def _define(statement: ast.stmt) -> Iterator[tuple[list[str], ast.AST]]:
    """Yield the names that a statement of a module defines, and the statement."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield [name], statement
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            yield _targets(statement), statement
        case ast.Import() | ast.ImportFrom():
            pass
        case ast.Expr(value=ast.Constant()):
            pass
        case ast.If(test=test, orelse=others) if _is_never_true(test):
            for other in others:
                yield from _define(other)
        case _:
            yield [*_targets(statement), REST], statement


def _is_never_true(test: ast.expr) -> bool:
    """Tell whether a condition holds for type checkers or for programs only."""
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"}


def _targets(statement: ast.AST) -> list[str]:
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _label(place: Place, node: ast.AST) -> str:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            kind = "function"
        case ast.ClassDef():
            kind = "class"
        case _:
            kind = "constant"
    return f"{kind} {place.module}.{place.name}"


def _digest(nodes: Iterable[ast.AST]) -> str:
    text = "\n".join(ast.dump(_without_docstrings(node)) for node in nodes)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_docstrings(node: ast.AST) -> ast.AST:
    for child in ast.walk(node):
        if isinstance(child, Definition):
            match child.body:
                case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                    child.body = rest or [ast.Pass()]
                case _:
                    pass
    return node


def _place_root(root: Callable[..., Any], name: str, closure: Closure) -> Iterator[Place]:
    """Yield the definition that a function is, or is made by; of what has none, add the digest of its code."""
    word = root.__qualname__.partition(".")[0] if hasattr(root, "__qualname__") else type(root).__qualname__
    module = _read_module(name)
    if module and word in module.nodes:
        yield Place(name, word)
        return
    code = getattr(inspect.unwrap(root), "__code__", None)
    if isinstance(code, CodeType):
        label = f"function {name}.{getattr(root, '__qualname__', word)}"
        number = sum(known.startswith(label) for known in closure.digests)  # as of several lambdas of a module
        label += f" {number + 1}" if number else ""
        closure.digests[label] = hashlib.sha256(_describe_code(code).encode()).hexdigest()[:16]
        for used in _names_in(code):
            if module and (used in module.nodes or used in module.imports):
                yield Place(name, used)


def _describe_code(code: CodeType) -> str:
    constants = [_describe_constant(constant) for constant in code.co_consts]
    if code.co_name != "<lambda>" and isinstance(next(iter(code.co_consts), None), str):
        constants = constants[1:]  # all but the docstring
    return repr((code.co_code, code.co_names, code.co_varnames, constants))


def _describe_constant(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _describe_code(constant)
    if isinstance(constant, frozenset):  # whose order is another one in each process
        return str(sorted(map(repr, constant)))
    return repr(constant)


def _names_in(code: CodeType) -> Iterator[str]:
    """Yield the names that code uses, also within comprehensions and further lambdas."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _is_of_study(package: str) -> bool:
    """Tell whether a package is the user's own: neither the bench, nor installed, nor part of Python."""
    if package in {BENCH, ""} or (package in sys.stdlib_module_names and package != "__main__"):
        return False
    if package == "__main__":
        return True
    path = _find_source(package)
    return path is not None and not {"site-packages", "dist-packages"} & set(path.parts)


def _find_source(name: str) -> Path | None:
    """Find the file of a module without executing it."""
    if name == "__main__":
        path = getattr(sys.modules["__main__"], "__file__", None)
        return Path(path) if path and Path(path).suffix == ".py" else None
    package, *rest = name.split(".")
    try:
        specification = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if specification is None:
        return None
    if not rest:
        return Path(specification.origin) if specification.origin and specification.origin.endswith(".py") else None
    for folder in specification.submodule_search_locations or []:
        base = Path(folder).joinpath(*rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _add_package(package: str, closure: Closure) -> None:
    if package and package != BENCH and package not in sys.stdlib_module_names:
        closure.packages.add(package)
