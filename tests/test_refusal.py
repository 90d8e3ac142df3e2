"""Bad answers are refused in one sentence, before anything is written."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from project import ENVIRONMENT, TEMPLATE, TOOLS, cookiecutter_by, interpreter, run

from local_extensions import refusals, starters

GOOD = {"project_name": "My Research", "project_slug": "my-research", "package_name": "my_research"}

REFUSALS = [
    ("project_name", "", "must not be empty", "My Research"),
    ("project_name", "two\nlines", "one line of text", "My Research"),
    ("bucket", "a bell \a", "one line of text", "my-group-data"),
    ("description", "  ", "must not be empty", "How well are digits read?"),
    ("author_name", "...", "at least one letter or digit", "Ada Lovelace"),
    ("project_slug", "", "must not be empty", "my-research"),
    ("project_slug", "1 bad name!", "letters, digits and inner dots", "my-research"),
    ("project_slug", "a/b", "letters, digits and inner dots", "my-research"),
    ("project_slug", "../outside", "letters, digits and inner dots", "my-research"),
    ("project_slug", "..", "letters, digits and inner dots", "my-research"),
    ("project_slug", "-option", "letters, digits and inner dots", "my-research"),
    ("project_slug", "größe", "letters, digits and inner dots", "my-research"),
    ("project_slug", "n" * 101, "at most 100 characters", "my-research"),
    ("project_slug", "Torch", "a dependency of the project has that name", "my-research"),
    ("project_slug", "scikit_learn", "a dependency of the project has that name", "my-research"),
    ("package_name", "my-research", "a Python identifier", "my_research"),
    ("package_name", "1st", "a Python identifier", "my_research"),
    ("package_name", "größe", "a Python identifier", "my_research"),
    ("package_name", "n" * 101, "at most 100 characters", "my_research"),
    ("package_name", "class", "a keyword of Python", "my_research"),
    ("package_name", "json", "Python's standard library", "my_research"),
    ("package_name", "Random", "Python's standard library", "my_research"),
    ("package_name", "labkit", "the bench of every project", "my_research"),
    ("package_name", "sklearn", "a dependency of the project is imported by that name", "my_research"),
    ("package_name", "torchmetrics", "a dependency of the project is imported by that name", "my_research"),
    ("package_name", "tests", "the project has a folder of that name", "my_research"),
    ("starter", "", "must not be empty", "image-classification"),
    ("starter", "../labkit", f"it must be one of {', '.join(starters())}", "image-classification"),
    ("starter", "image_classification", f"it must be one of {', '.join(starters())}", "image-classification"),
    ("package_name", "starters", "the project has a folder of that name", "my_research"),
    ("author_email", "ada", "an e-mail address", "ada@example.org"),
    ("author_email", "ada@localhost", "an e-mail address", "ada@example.org"),
    ("author_email", "ada lovelace@example.org", "an e-mail address", "ada@example.org"),
    ("repository_url", "github.com/ada", "the web address of a repository", "https://github.com/ada/my-research"),
    ("repository_url", "https://ada:secret@github.com/ada", "the web address", "https://github.com/ada/my-research"),
    ("container_registry", "https://ghcr.io", "a registry's host", "ghcr.io/my-group"),
    ("container_registry", "ghcr.io/My-Group", "a registry's host", "ghcr.io/my-group"),
    ("slurm_host", "-oProxyCommand=touch", "a host as ssh takes it", "ada@login.example.org"),
    ("slurm_host", "login example", "a host as ssh takes it", "ada@login.example.org"),
    ("kubernetes_namespace", "My_Group", "lower-case letters", "my-group"),
    ("bucket", "s3://data", "3 to 63 lower-case letters", "my-group-data"),
    ("bucket", "my..data", "single inner dots", "my-group-data"),
    ("bucket", "192.168.1.1", "no IP address", "my-group-data"),
    ("bucket", "ab", "3 to 63 lower-case letters", "my-group-data"),
]


def name_of(value: str) -> str:
    return ascii(value[:20])[1:-1] or "empty"


def generate(folder: Path, answers: object, *arguments: str) -> CompletedProcess[str]:
    config = folder / "answers.yaml"
    config.write_text(yaml.safe_dump({"default_context": answers}), encoding="utf-8")
    command = [TOOLS / "python", TEMPLATE / "generate.py", "--output", folder / "output", "--config", config]
    return run(*command, *arguments, folder=folder, check=False)


@pytest.mark.parametrize(
    ("field", "value", "rule", "example"), REFUSALS, ids=[f"{refusal[0]}-{name_of(refusal[1])}" for refusal in REFUSALS]
)
def test_a_bad_answer_is_refused_in_one_sentence(
    tmp_path: Path, field: str, value: str, rule: str, example: str
) -> None:
    done = generate(tmp_path, GOOD | {field: value})

    assert done.returncode == 2
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"{field} is {json.dumps(value)}, but ")
    assert rule in sentence
    assert sentence.endswith(f" {example}.")
    assert [path.name for path in tmp_path.iterdir()] == ["answers.yaml"]


def test_every_bad_answer_is_named(tmp_path: Path) -> None:
    done = generate(tmp_path, GOOD | {"package_name": "class", "author_email": "ada"})

    assert [line.split()[0] for line in done.stderr.splitlines()] == ["package_name", "author_email"]


@pytest.mark.parametrize("slug", ["a/b", "../outside", "", "."])
def test_plain_cookiecutter_refuses_it_just_so(tmp_path: Path, slug: str) -> None:
    answers = [f"{name}={value}" for name, value in (GOOD | {"project_slug": slug}).items()]
    output = tmp_path / "output"

    done = run(
        *(TOOLS / "cookiecutter", TEMPLATE, "--no-input", "--default-config", "--output-dir", output, *answers),
        folder=tmp_path,
        variables={"HOME": str(tmp_path)},
        check=False,
    )

    assert done.returncode == 1
    (sentence,) = done.stdout.splitlines()
    assert sentence.startswith(f'project_slug is "{slug}", but ')
    assert not output.exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_hook_refuses_by_itself_on_every_python(tmp_path: Path, version: str) -> None:
    """As in a replay, which derives nothing and so meets the rules in the hook alone."""
    python = interpreter(version)
    replay = tmp_path / "replay.json"
    context = {
        **json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8")),
        **GOOD,
        "license": "MIT",
        "python_version": "3.11",
        "starter": "image-classification",
        "package_name": "class",
        "author_name": "'\"\\ $(touch x) 😀",
        "__license_expression": "MIT",
        "__year": "2026",
        "__accepted": "yes",
    }
    replay.write_text(json.dumps({"cookiecutter": context}), encoding="utf-8")
    done = run(
        *(*cookiecutter_by(python), TEMPLATE, "--replay-file", replay, "--output-dir", "output"),
        folder=tmp_path,
        variables={"HOME": str(tmp_path)},
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == (
        'package_name is "class", but that is a keyword of Python, choose another, for example my_research.\n'
    )
    assert list((tmp_path / "output").iterdir()) == []


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "output" / "my-research"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work", encoding="utf-8")

    done = generate(tmp_path, GOOD)

    assert done.returncode == 2
    assert done.stderr == (
        f'project_slug is "my-research", but {folder} exists and is never overwritten: '
        "move it away or choose another name, for example my-research-2.\n"
    )
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_nor_when_cookiecutter_is_told_to(tmp_path: Path) -> None:
    folder = tmp_path / "my-research"
    folder.mkdir()
    (folder / "README.md").write_text("years of work", encoding="utf-8")

    done = run(
        *(TOOLS / "cookiecutter", TEMPLATE, "--no-input", "--default-config", "--overwrite-if-exists"),
        folder=tmp_path,
        variables={"HOME": str(tmp_path)},
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith('project_slug is "my-research", but that folder exists and is never overwritten')
    assert [(path.name, path.read_text(encoding="utf-8")) for path in folder.iterdir()] == [
        ("README.md", "years of work")
    ]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        pytest.param(
            {"projet_name": "A"}, 'projet_name is "A" in {config}, but there is no such question', id="unknown question"
        ),
        pytest.param(
            {"python_version": 3.12},
            'python_version is 3.12 in {config}, but it must be text, in quotes, for example python_version: "3.12".',
            id="no text",
        ),
        pytest.param(
            {"license": "WTFPL"},
            'license is "WTFPL" in {config}, but it must be one of MIT, BSD-3-Clause, Apache-2.0, GPL-3.0-or-later, '
            "Proprietary.",
            id="no such choice",
        ),
        pytest.param("MIT", "CONFIG is {config}, but it must hold answers under default_context", id="no answers"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, answers: object, sentence: str) -> None:
    done = generate(tmp_path, answers)

    assert done.returncode == 2
    assert done.stderr.startswith(sentence.format(config=tmp_path / "answers.yaml"))
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    done = run(TOOLS / "python", TEMPLATE / "generate.py", "--config", "missing.yaml", folder=tmp_path, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("CONFIG is missing.yaml, which cannot be read as YAML: ")


def test_the_names_of_all_dependencies_are_refused(tmp_path: Path) -> None:
    """Whatever can be imported in the environment of a project would be hidden by a package of that name."""
    program = "from importlib.metadata import packages_distributions; print(*packages_distributions())"
    imported = run(ENVIRONMENT / "bin" / "python", "-c", program, folder=tmp_path).stdout.split()
    own = {"labkit", "my_research"}
    names = {name for name in imported if name.isidentifier() and not name.startswith("_")} - own

    assert len(names) > 100
    assert [name for name in sorted(names) if "package_name" not in refusals({"package_name": name})] == []
