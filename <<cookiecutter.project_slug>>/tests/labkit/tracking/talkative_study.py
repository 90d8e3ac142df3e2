"""A study that tells all it knows, and ends as it is told to."""

import hashlib
import os
import signal
import sys
from typing import Literal

from labkit.tracking.entry_point import entry_point
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Run
from labkit.tracking.state import State


@entry_point
def train(
    run: Run,
    *,
    api_key: str | None = None,
    password: str = "",
    repository: str = "",
    variables: tuple[str, ...] = (),
    end: Literal["well", "badly", "interrupted", "killed"] = "well",
) -> None:
    """Train nothing.

    :param api_key: A secret.
    :param password: Another one.
    :param repository: An address, which may have a password in it.
    :param variables: The environment variables to print, as a whole and in pieces.
    :param end: How it ends.
    """
    run.log_metrics({"validation/accuracy": 0.5}, step=1)
    run.log_metrics({"validation/accuracy": 0.9375, "train/loss": 2.0}, step=2)
    values = [os.environ[name] for name in variables] + [value for value in (api_key, repository) if value]
    print("digest", hashlib.sha256(repr([api_key, password, repository]).encode()).hexdigest())
    for value in values:
        print("whole", value, file=sys.stderr)
        print(value[:5], end="")
        sys.stdout.flush()
        print(value[5:])
        print({"value": value})
    run.log_tags({"values": " ".join(values)})
    print("slack_sdk" in sys.modules)
    print("last words")
    if end == "badly":
        raise RuntimeError(f"no <!channel> & nothing: {values}")
    if end == "interrupted":
        raise Interruption(State.INTERRUPTED)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(train.main())
