"""What a job must know of its user's surroundings: where stores are, and what opens them."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from labkit.command import UsageError
from labkit.credentials import FILE, open_vault, parse_credentials
from labkit.environment import NAMES_OF_SECRETS, Environment, read_variables
from labkit.launch.opening import SQLITE

NAMES: Final = (
    *NAMES_OF_SECRETS,
    *("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_USERNAME", "S3_ENDPOINT_URL", "S3_VERIFY"),
    *("SLACK_USER", "DEVELOPMENT_MODE"),
)
"""Variables that mean the same wherever a run is executed."""


def find_variables(environment: Environment) -> dict[str, str]:
    """Collect what reaches a job, and nobody else.

    :param environment: The user's own.
    :return: Variables by name: those that Labkit knows, and those among the project's credentials.
    :raises UsageError: If the credentials cannot be opened.
    """
    kept: dict[str, str] = {}
    if (environment.project_path / FILE).exists():
        kept = parse_credentials(open_vault(environment).text)
    return {
        **kept,
        **read_variables([*NAMES, *kept]),
        "MLFLOW_TRACKING_URI": environment.mlflow_tracking_uri,
    }


def find_file_of_store(environment: Environment) -> Path | None:
    """Find the file that runs are recorded in.

    :param environment: Names the tracking store.
    :return: The file's path; None where the store is a server.
    """
    uri = environment.mlflow_tracking_uri
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None


def refuse_file_of_store(whoever: str) -> UsageError:
    """Say that a file is no store for what is executed elsewhere.

    :param whoever: Who cannot reach it.
    :return: The error to raise.
    """
    return UsageError(
        f"the runs are recorded in a file of this machine, which {whoever}: name the address of a server in "
        "MLFLOW_TRACKING_URI."
    )


def write_exports(variables: Mapping[str, str]) -> str:
    """Write variables as lines of shell, which count more than what the shell has.

    :param variables: The values by name.
    :return: The lines.
    """
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
