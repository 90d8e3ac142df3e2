"""Ask for the answers and generate a project: what `make project` runs."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from cookiecutter.config import get_user_config
from cookiecutter.exceptions import CookiecutterException, FailedHookException
from cookiecutter.main import cookiecutter
from cookiecutter.prompt import prompt_for_config

from local_extensions import ROOT, refusals

# What cookiecutter.json holds: public questions with their defaults, settings (_name) and derived values (__name).
Questions = dict[str, Any]


class BadAnswerError(ValueError):
    """An answer, or a file of answers, that cannot be used; the message says in one sentence what would be."""


def main() -> int:
    """Generate a project.

    :return: 0 done, 1 failed, 2 bad input.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(".."), help="the folder that will hold the project")
    parser.add_argument("--config", type=Path, help="a YAML file with answers under default_context")
    parser.add_argument("--no-input", action="store_true", help="ask nothing: take the answers given and the defaults")
    options = parser.parse_args()
    # cookiecutter would log a traceback below the sentence of a hook.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    logging.getLogger("cookiecutter").propagate = False
    questions: Questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    try:
        answers = given_answers(questions, options.config)
        if not options.no_input and sys.stdin.isatty():
            answers = ask(questions, answers)
        generate(questions, answers, options.output)
    except (BadAnswerError, FailedHookException) as error:
        print(error, file=sys.stderr)
        return 2
    except CookiecutterException as error:
        print(f"cookiecutter could not generate the project: {error}", file=sys.stderr)
        return 1
    return 0


def given_answers(questions: Questions, config: Path | None) -> dict[str, str]:
    """Collect the answers given beforehand.

    :param questions: What ``cookiecutter.json`` holds.
    :param config: A file whose every answer must be one to this template. Without it the user's own configuration of
        cookiecutter is read, which serves other templates too: what does not fit is left out.
    :return: Answers by the names of their questions.
    :raises BadAnswerError: When the file cannot be read or does not fit.
    """
    if config is None:
        answers = get_user_config()["default_context"]
        return {name: answer for name, answer in answers.items() if misfit(questions, name, answer) is None}
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise BadAnswerError(f"CONFIG is {config}, which cannot be read as YAML: {reason}.") from error
    answers = content.get("default_context") if isinstance(content, dict) else None
    if not isinstance(answers, dict):
        raise BadAnswerError(
            f"CONFIG is {config}, but it must hold answers under default_context, "
            'for example {default_context: {project_name: "My Research"}}.'
        )
    for name, answer in answers.items():
        if rule := misfit(questions, name, answer):
            raise BadAnswerError(f"{name} is {json.dumps(answer, default=str)} in {config}, but {rule}.")
    return answers


def misfit(questions: Questions, name: str, answer: object) -> str | None:
    """Say why an answer does not fit its question, if it does not."""
    names = [question for question in questions if not question.startswith("_")]
    if name not in names:
        return f"there is no such question, it must be one of {', '.join(names)}"
    if not isinstance(answer, str):
        return f'it must be text, in quotes, for example {name}: "{answer}"'
    choices = questions[name]
    if isinstance(choices, list) and answer not in choices:
        return f"it must be one of {', '.join(choices)}"
    return None


def ask(questions: Questions, given: dict[str, str]) -> dict[str, str]:
    """Ask every question on the terminal, and one again until its answer is good.

    :param questions: What ``cookiecutter.json`` holds.
    :param given: Answers to propose instead of the defaults.
    :return: An answer to each question.
    """
    # Without the derived values, since deriving them refuses bad answers for good.
    asked = {name: value for name, value in questions.items() if not name.startswith("__")}
    signature = {name: value for name in ("author_name", "author_email") if (value := signs_with(name))}
    answers = put(questions, propose(asked, signature | given))
    while found := refusals(answers):
        for field, sentence in found.items():
            print(sentence, file=sys.stderr)
            settings = {name: value for name, value in asked.items() if name.startswith("_")}
            answers |= put(questions, {field: answers[field], **settings})
    return answers


def put(questions: Questions, asked: Questions) -> dict[str, str]:
    """Put some of the questions, in their wording, and return the answers."""
    answers = prompt_for_config({"cookiecutter": {**asked, "__prompts__": questions["__prompts__"]}})
    return {name: answer for name, answer in answers.items() if not name.startswith("_")}


def propose(questions: Questions, answers: dict[str, str]) -> Questions:
    """Put answers in the places of the defaults, of which a choice's is its first."""
    proposed = questions | answers
    for name, default in questions.items():
        if name in answers and isinstance(default, list):
            proposed[name] = [answers[name], *(choice for choice in default if choice != answers[name])]
    return proposed


def signs_with(question: str) -> str:
    """Look up how the user signs commits, to propose it as the author."""
    key = question.replace("author_", "user.")
    try:
        done = subprocess.run(["git", "config", "--global", key], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def generate(questions: Questions, answers: dict[str, str], output: Path) -> None:
    """Render the template and let its hooks finish the project.

    :param questions: What ``cookiecutter.json`` holds.
    :param answers: Answers by the names of their questions; the others take their defaults.
    :param output: The folder in which the project's folder is made.
    :raises BadAnswerError: When the project's folder exists, or cannot be made.
    :raises CookiecutterException: When the template refuses.
    """
    complete = prompt_for_config({"cookiecutter": propose(questions, answers)}, no_input=True)
    slug = complete["project_slug"]
    if (output / slug).exists():
        raise BadAnswerError(
            f'project_slug is "{slug}", but {output.resolve() / slug} exists and is never overwritten: '
            f"move it away or choose another name, for example {slug}-2."
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadAnswerError(f"OUTPUT is {output}, but no folder can be made there: {error.strerror}.") from error
    with tempfile.TemporaryDirectory() as folder:
        # A configuration of its own, so that neither the user's answers count twice nor these are left in their home.
        configuration = Path(folder, "cookiecutter.yaml")
        configuration.write_text(json.dumps({"replay_dir": folder}), encoding="utf-8")
        cookiecutter(
            str(ROOT),
            no_input=True,
            extra_context={name: answer for name, answer in complete.items() if not name.startswith("_")},
            output_dir=str(output),
            config_file=str(configuration),
        )


if __name__ == "__main__":
    sys.exit(main())
