"""Texts from the templates in ``deploy/``, which a user edits; pure."""

import shlex
from pathlib import Path
from typing import Any

from labkit.command import UsageError


def render(template: Path, /, **values: Any) -> str:
    """Fill in a template.

    In it ``{{ value }}`` is a text as it is, and ``{{ value | quote }}`` one word of a shell, whatever it holds.

    :param template: The file.
    :param values: What it may name.
    :return: The text.
    :raises UsageError: If there is no such file, it is no template, or names what is not there.
    """
    import jinja2

    surroundings = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  no page, but a script
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    surroundings.filters["quote"] = lambda value: shlex.quote(str(value))
    try:
        return surroundings.from_string(template.read_text(encoding="utf-8")).render(**values)
    except FileNotFoundError:
        raise UsageError(f"there is no file {template}: `git checkout {template.name}` brings it back.") from None
    except jinja2.TemplateError as error:
        line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        known = ", ".join(sorted(values))
        raise UsageError(f"{template}{line}: {error.message}; a template may name {known}.") from None
