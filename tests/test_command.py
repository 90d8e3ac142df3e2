"""What a project can be told to do: its commands, by themselves and through make."""

import json
import re
import tomllib

from project import ENVIRONMENT, Project, run

SLOW_TO_IMPORT = ("torch", "lightning", "mlflow", "numpy", "numba", "scipy", "sklearn", "boto3", "matplotlib")

# Asks every command for its help, and gives it an option that does not exist, in one process.
PROBE = """
import contextlib, importlib, io, json, sys

scripts, slow = map(json.loads, sys.argv[1:])
answers = {}
for name, target in scripts.items():
    module, _, function = target.partition(":")
    command = getattr(importlib.import_module(module), function.removesuffix(".main"))
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        command.main(["--help"])
    imported = sorted(set(sys.modules) & set(slow))
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = command.main(["--no-such-option"])
    answers[name] = {"help": output.getvalue(), "imported": imported, "code": code, "error": errors.getvalue()}
print(json.dumps(answers))
"""


def test_every_command_explains_itself_at_once_and_refuses_what_it_does_not_know(fresh: Project) -> None:
    scripts = tomllib.loads(fresh.read("pyproject.toml"))["project"]["scripts"]
    assert {"train", "evaluate", "data-fetch", "data-split", "data-analyze", "data-verify", "data-push"} <= set(scripts)
    words = ("-c", PROBE, json.dumps(scripts), json.dumps(SLOW_TO_IMPORT))
    python = ENVIRONMENT / "bin" / "python"
    answers = json.loads(run(python, *words, folder=fresh.folder).stdout)
    for name, answer in answers.items():
        assert answer["help"].startswith(f"usage: {name} ")
        assert re.search(rf"xamples?:\s+{name}\b", answer["help"]), answer["help"]
        assert "\x1b" not in answer["help"]
        assert answer["imported"] == [], name
        assert answer["code"] == 2
        assert re.fullmatch(
            rf"{name}: .+; see `{name} --help`\.\n|{name}: .+`{name} --help` lists all\.\n", answer["error"]
        )


def test_every_command_is_a_target_of_make_that_passes_its_options_on(fresh: Project) -> None:
    for name in tomllib.loads(fresh.read("pyproject.toml"))["project"]["scripts"]:
        lines = fresh.run(f"make --dry-run {name} ARGS='--some option'").stdout.splitlines()
        assert lines[-1] == f".venv/bin/{name} --some option"
