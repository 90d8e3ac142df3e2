"""Asking the tracking store where nothing can go on without its answer."""

import contextlib
import functools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from labkit.command import UnavailableError
from labkit.environment import Environment
from labkit.secret import Masker
from labkit.tracking.patient_file import DISK_IS_FULL

if TYPE_CHECKING:
    from mlflow.environment_variables import (
        _EnvironmentVariable as Setting,  # pyright: ignore[reportPrivateUsage]  the only name that it has
    )

P = ParamSpec("P")
R = TypeVar("R")

SECONDS_FOR_AN_ANSWER: Final = 10
RETRIES: Final = 1
LONGEST_REASON: Final = 300
LIBRARIES: Final = frozenset({"boto3", "botocore", "mlflow", "sqlalchemy", "sqlite3"})
"""Those whose errors tell of a store; to import them all for their types would take longer than most questions."""


def asks_the_store(function: Callable[Concatenate[Environment, P], R]) -> Callable[Concatenate[Environment, P], R]:
    """Let a function give up soon, and in one sentence, where the tracking store does not answer.

    MLflow by itself tries for minutes, and then explains itself on a page.

    :param function: Asks the store that the environment names.
    :return: The function, which raises :class:`labkit.command.UnavailableError` then.
    """

    @functools.wraps(function)
    def ask(environment: Environment, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _impatience(environment.mlflow_tracking_uri):
                return function(environment, *args, **kwargs)
        except Exception as error:
            if not is_of_a_store(error):
                raise
            sentence = (
                f"the tracking store {environment.mlflow_tracking_uri} cannot be used ({describe(error)}): "
                "start it, or name another one in MLFLOW_TRACKING_URI."
            )
            raise UnavailableError(Masker(environment.secrets()).mask(sentence)) from error

    return ask


def is_of_a_store(error: Exception) -> bool:
    """Tell whether an error is one that the tracking store or the artifact store is to blame for.

    :param error: What was raised where a store was asked.
    :return: Whether it is one of the machine's own, or of a library that talks to stores.
    """
    if isinstance(error, OSError):
        return error.errno not in DISK_IS_FULL
    return type(error).__module__.partition(".")[0] in LIBRARIES


def describe(error: Exception) -> str:
    """Return why something failed, on one line: of causes that are told one inside of the other, the innermost.

    :param error: What MLflow raised.
    :return: The name of the error and the beginning of what it says.
    """
    line = f"{type(error).__name__}: {error}".partition("\n")[0]
    return line.rpartition("Caused by ")[2].rstrip(")")[:LONGEST_REASON]


@contextlib.contextmanager
def _impatience(uri: str) -> Generator[None]:
    """Wait but little for a server; of a database, which is asked without one, there is nothing to be set."""
    if not uri.startswith("http"):
        yield
        return
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

    with _set(MLFLOW_HTTP_REQUEST_TIMEOUT, SECONDS_FOR_AN_ANSWER), _set(MLFLOW_HTTP_REQUEST_MAX_RETRIES, RETRIES):
        yield


@contextlib.contextmanager
def _set(setting: "Setting", value: int) -> Generator[None]:
    """Set one of MLflow's settings, if the user has not."""
    if setting.is_set():
        yield
        return
    setting.set(value)
    try:
        yield
    finally:
        setting.unset()
