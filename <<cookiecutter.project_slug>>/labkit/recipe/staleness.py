"""Whether a step has changed since it was executed, and what of it."""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Final

from labkit.recipe.result import Plain, Result
from labkit.recipe.source import Closure

ALWAYS_USED: Final = ("torch", "lightning", "torchmetrics", "numpy")
"""What every training depends on, whether or not the study imports it."""
LONGEST_VALUE: Final = 60
"""Characters of a value that is shown."""
RECORD_OF_TEMPLATE: Final = ".labkit.json"


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """All that a step's results depend on."""

    code: Mapping[str, str] = field(default_factory=dict)
    """Digests of the study's functions, classes and constants."""
    arguments: Mapping[str, Plain] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    """Root hashes of footprints."""
    dependencies: Mapping[str, str] = field(default_factory=dict)
    """Versions of libraries."""
    before: Mapping[str, str] = field(default_factory=dict)
    """Keys of the steps before it, by name: see :func:`key_of`."""


def key_of(fingerprint: Fingerprint, result: Result) -> str:
    """Return what a step was to those after it: what it depended on, and what came out.

    :param fingerprint: What it depended on.
    :param result: What it left.
    :return: The same for the same.
    """
    content = [asdict(fingerprint), dict(result.scores), dict(result.data)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def find_changes(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Say what has changed.

    :param old: What a step depended on when it was executed.
    :param new: What it would depend on now.
    :return: Sentences without an end, one a change: ``function my_research.model.cnn changed``.
    """
    return [
        *_compare(old.code, new.code),
        *(
            f"argument {name}: {_show(old.arguments, name)} became {_show(new.arguments, name)}"
            for name in _different(old.arguments, new.arguments)
        ),
        *(
            f"the data changed: {_show(old.data, name)} became {_show(new.data, name)}"
            for name in _different(old.data, new.data)
        ),
        *(
            f"dependency {name}: {_show(old.dependencies, name)} became {_show(new.dependencies, name)}"
            for name in _different(old.dependencies, new.dependencies)
        ),
        *(_describe_step(name, old.before, new.before) for name in _different(old.before, new.before)),
    ]


def find_versions(closure: Closure, project: Path) -> dict[str, str]:
    """Find the versions of the libraries that code stands on, the bench among them.

    :param closure: The code.
    :param project: The project's root.
    :return: Versions by the names of the distributions.
    """
    versions = {name: version for name in {*closure.packages, *ALWAYS_USED} for name, version in _find_version(name)}
    record = project / RECORD_OF_TEMPLATE
    if record.exists():
        versions["labkit"] = str(json.loads(record.read_text(encoding="utf-8")).get("version"))
    return dict(sorted(versions.items()))


def flatten(arguments: Mapping[str, Plain], prefix: str = "") -> Iterator[tuple[str, Plain]]:
    """Yield nested arguments with one name each: ``changes.learning_rate``."""
    for name, value in arguments.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@functools.cache
def _find_version(package: str) -> tuple[tuple[str, str], ...]:
    """Return name and version of the distribution that brings a package, if one does."""
    try:
        return ((package, importlib.metadata.version(package)),)
    except importlib.metadata.PackageNotFoundError:
        names = _distributions().get(package, [])
        return tuple((name, importlib.metadata.version(name)) for name in sorted(set(names)))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _compare(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[str]:
    for name in _different(old, new):
        word = "changed" if name in old and name in new else "is new" if name in new else "is no longer used"
        yield f"{name} {word}"


def _describe_step(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if name not in old:
        return f"the step '{name}' before it is new"
    if name not in new:
        return f"the step '{name}' is no longer before it"
    return f"the step '{name}' before it changed"


def _different(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    absent = object()
    return [name for name in sorted({*old, *new}) if old.get(name, absent) != new.get(name, absent)]


def _show(values: Mapping[str, object], name: str) -> str:
    if name not in values:
        return "nothing"
    return shorten(str(values[name]), LONGEST_VALUE, placeholder="…")
