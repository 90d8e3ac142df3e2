"""Asking the tracking store where nothing can go on without its answer."""

import contextlib
import functools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from labkit.command import UnavailableError
from labkit.environment import Environment
from labkit.secret import Masker

if TYPE_CHECKING:
    from mlflow.environment_variables import (
        _EnvironmentVariable as Setting,  # pyright: ignore[reportPrivateUsage]  the only name that it has
    )

P = ParamSpec("P")
R = TypeVar("R")

SECONDS_FOR_AN_ANSWER: Final = 10
RETRIES: Final = 1
LONGEST_REASON: Final = 200


def asks_the_store(function: Callable[Concatenate[Environment, P], R]) -> Callable[Concatenate[Environment, P], R]:
    """Let a function give up soon, and in one sentence, where the tracking store does not answer.

    MLflow by itself tries for minutes, and then explains itself on a page.

    :param function: Asks the store that the environment names.
    :return: The function, which raises :class:`labkit.command.UnavailableError` then.
    """

    @functools.wraps(function)
    def ask(environment: Environment, *args: P.args, **kwargs: P.kwargs) -> R:
        from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with (
                _set(MLFLOW_HTTP_REQUEST_TIMEOUT, SECONDS_FOR_AN_ANSWER),
                _set(MLFLOW_HTTP_REQUEST_MAX_RETRIES, RETRIES),
            ):
                return function(environment, *args, **kwargs)
        except (MlflowException, OSError, SQLAlchemyError) as error:
            reason = str(error).partition("\n")[0][:LONGEST_REASON]
            sentence = (
                f"the tracking store {environment.mlflow_tracking_uri} cannot be used ({reason}): "
                "start it, or name another one in MLFLOW_TRACKING_URI."
            )
            raise UnavailableError(Masker(environment.secrets()).mask(sentence)) from error

    return ask


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
