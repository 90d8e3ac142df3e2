"""What a job must know of its user's surroundings: where stores are, and what opens them."""

import shlex
from collections.abc import Mapping
from typing import Final

from labkit.credentials import FILE, open_vault, parse_credentials
from labkit.environment import NAMES_OF_SECRETS, Environment, read_variables

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


def write_exports(variables: Mapping[str, str]) -> str:
    """Write variables as lines of shell, which count more than what the shell has.

    :param variables: The values by name.
    :return: The lines.
    """
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
