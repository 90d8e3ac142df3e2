"""YAML files that a user edits, held to a model: one clear sentence says what is wrong."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final, cast

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from labkit.command import UsageError


class Record(BaseModel):
    """What a file may say; unknown keys are refused, and what cannot be said in YAML is not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would forget the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value).replace("-", "_")
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Read a file.

    :param path: The file.
    :return: What is in it.
    :raises UsageError: If it is not there, or no YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  it is a safe loader
    except OSError as error:
        raise UsageError(f"the file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"the file {path} is no text in UTF-8.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"the file {path}{where} is no YAML: {getattr(error, 'problem', None) or error}.") from None


def with_underscores(content: Any) -> Any:
    """Write the keys of mappings as Python's names: ``signal-before`` is ``signal_before``."""
    if not isinstance(content, dict):
        return content
    mapping = cast("dict[Hashable, Any]", content)
    return {str(key).replace("-", "_"): with_underscores(value) for key, value in mapping.items()}


def explain(error: ValidationError) -> str:  # noqa: PLR0911  one for each kind
    """Make one sentence of what a model has against its content.

    :param error: What pydantic raised.
    :return: The sentence, about the first thing that is wrong.
    """
    first = error.errors(include_url=False)[0]
    path = [str(part).replace("_", "-") for part in first["loc"] if part not in SCHEDULERS]
    key = ".".join(path)
    context = first.get("ctx", {})
    match first["type"]:
        case "extra_forbidden":
            return f"there is no key '{key}'."
        case "missing":
            return f"the key '{key}' is missing."
        case "value_error":
            return f"{key + ': ' if key else ''}{context['error']}."
        case "literal_error" | "enum":
            return f"{key} is {first['input']!r}: write {context['expected']}."
        case "union_tag_not_found":
            return f"the key '{key}.scheduler' is missing."
        case "union_tag_invalid":
            return f"{key}.scheduler is {context['tag']!r}: write {context['expected_tags']}."
        case _:
            message = first["msg"][0].lower() + first["msg"][1:]
            return f"{key} is {first['input']!r}: {message}."


SCHEDULERS: Final = frozenset({"slurm", "apptainer", "kubernetes"})
"""Tags of a union, which pydantic names among the keys."""
