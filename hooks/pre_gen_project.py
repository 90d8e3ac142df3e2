"""Refuse the answers that no project can be made of, before a file of it is written.

The answers arrive as JSON in a raw string, so that no answer can become code: JSON never holds three quotes in a row.
"""

import json
import keyword
import re
import sys
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

FOLDERS = "benchmarks build data deploy dist docker docs make mlartifacts mlruns runs sessions starters test tests"
LONGEST_NAME = 100

FORMS = {
    "author_email": (
        r"(?i)[\w.+'-]+@[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+",
        "an e-mail address",
        "ada@example.org",
    ),
    "repository_url": (
        r"(?i)https?://[a-z0-9.-]+(:\d+)?(/[\w.~%/+-]*)?",
        "the web address of a repository",
        "https://github.com/ada/my-research",
    ),
    "container_registry": (
        r"[a-z0-9]+([.-][a-z0-9]+)*(:\d+)?(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*",
        "a registry's host, with a path where it has one, in lower case",
        "ghcr.io/my-group",
    ),
    "slurm_host": (
        r"(?i)([a-z_][\w.-]*@)?[a-z0-9]([\w.-]*[a-z0-9])?",
        "a host as ssh takes it",
        "ada@login.example.org",
    ),
    "kubernetes_namespace": (
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "lower-case letters, digits and inner hyphens, at most 63",
        "my-group",
    ),
    "bucket": (
        r"(?=.{3,63}$)(?!\d+(\.\d+){3}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*",
        "3 to 63 lower-case letters, digits, single inner dots and inner hyphens, and no IP address",
        "my-group-data",
    ),
}
EXAMPLES = {
    "project_name": "My Research",
    "project_slug": "my-research",
    "package_name": "my_research",
    "description": "How well are digits read?",
    "author_name": "Ada Lovelace",
    "license": "MIT",
    "python_version": "3.11",
    "starter": "image-classification",
} | {field: example for field, (_, _, example) in FORMS.items()}
OPTIONAL = frozenset({"repository_url", "container_registry", "slurm_host", "kubernetes_namespace", "bucket"})


def refusals(
    answers: Mapping[str, object],
    *,
    distributions: Collection[str],
    import_names: Collection[str],
    starters: Collection[str],
) -> dict[str, str]:
    """Say of every bad answer what is wrong with it.

    :param answers: The answers by the names of their questions; names that begin with an underscore are no answers.
    :param distributions: Names of the locked dependencies, lower-case, with hyphens.
    :param import_names: Names under which the locked dependencies are imported, lower-case.
    :param starters: The studies that a project can begin with.
    :return: One sentence for each bad answer, by the name of its question: the value, the rule, an example.
    """
    found: dict[str, str] = {}
    for field, value in answers.items():
        if field.startswith("_"):
            continue
        rules = broken_rules(field, value, distributions=distributions, import_names=import_names, starters=starters)
        rule = next(rules, None)
        if rule is not None:
            found[field] = f"{field} is {json.dumps(value, default=str)}, but {rule}."
    return found


def broken_rules(
    field: str,
    value: object,
    *,
    distributions: Collection[str],
    import_names: Collection[str],
    starters: Collection[str],
) -> Iterator[str]:
    """Yield the rules that an answer breaks, the plainest first, each with an example that would pass."""
    if not isinstance(value, str):
        yield 'it must be text, for example "3.11" in quotes'
    elif any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        yield f"it must be one line of text without control characters, for example: {EXAMPLES[field]}"
    elif not value.strip():
        if field not in OPTIONAL:
            yield f"it must not be empty, for example: {EXAMPLES[field]}"
    elif field == "project_slug":
        yield from broken_slug_rules(value, distributions)
    elif field == "package_name":
        yield from broken_package_rules(value, import_names)
    elif field == "starter":
        if value not in starters:
            yield f"it must be one of {', '.join(starters)}, for example {EXAMPLES['starter']}"
    elif field in FORMS:
        form, rule, example = FORMS[field]
        if not re.fullmatch(form, value, re.ASCII):
            yield f"it must be {rule}, for example {example}"
    elif field == "author_name" and not any(character.isalnum() for character in value):
        yield "git asks for at least one letter or digit in it, for example: Ada Lovelace"


def broken_slug_rules(slug: str, distributions: Collection[str]) -> Iterator[str]:
    """Yield the rules that the name of a folder and distribution breaks."""
    example = f"for example {EXAMPLES['project_slug']}"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", slug):
        yield f"it must be letters, digits and inner dots, hyphens and underscores, {example}"
    if len(slug) > LONGEST_NAME:
        yield f"it must have at most {LONGEST_NAME} characters, {example}"
    if re.sub(r"[._-]+", "-", slug).lower() in distributions:
        yield f"a dependency of the project has that name, choose another, {example}"


def broken_package_rules(package: str, import_names: Collection[str]) -> Iterator[str]:
    """Yield the rules that the name of a package breaks."""
    example = f"for example {EXAMPLES['package_name']}"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", package):
        yield f"it must be a Python identifier: a letter, then letters, digits and underscores, {example}"
    if len(package) > LONGEST_NAME:
        yield f"it must have at most {LONGEST_NAME} characters, {example}"
    if keyword.iskeyword(package):
        yield f"that is a keyword of Python, choose another, {example}"
    name = package.lower()
    if name in {module.lower() for module in sys.stdlib_module_names}:
        yield f"a module of Python's standard library has that name, choose another, {example}"
    if name == "labkit":
        yield f"the bench of every project has that name, choose another, {example}"
    if name in import_names:
        yield f"a dependency of the project is imported by that name, choose another, {example}"
    if name in FOLDERS.split():
        yield f"the project has a folder of that name, choose another, {example}"


def main() -> int:
    """Check the answers and the folder of the project that is about to be written, which is the current one."""
    answers = json.loads(r"""<< cookiecutter | jsonify >>""")
    distributions = json.loads(r"""<< "distributions" | known | jsonify >>""")
    import_names = json.loads(r"""<< "import_names" | known | jsonify >>""")
    starters = json.loads(r"""<< "starters" | known | jsonify >>""")
    found = refusals(answers, distributions=distributions, import_names=import_names, starters=starters)
    if any(Path.cwd().iterdir()):
        slug = answers["project_slug"]
        found.setdefault(
            "project_slug",
            f'project_slug is "{slug}", but that folder exists and is never overwritten, '
            f"move it away or choose another name, for example {slug}-2.",
        )
    for sentence in found.values():
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
