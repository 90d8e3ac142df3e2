"""Run a tracking server for this machine: MLflow as locked, an SQLite database, artifacts on the disk or in a bucket.

The server needs much that training does not. It has an environment of its own, `.server`, with the packages of the
group `server` in `poetry.lock`, which is set up when the server is first started.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from environment import (  # pyright: ignore[reportImplicitRelativeImport]  its neighbour, as both are programs
    PROJECT,
    SetupError,
    fingerprint,
    parse_requirements,
    read_stamp,
    run,
    run_poetry,
    run_uv,
    set_up_tools,
    write_stamp,
)

SERVER = PROJECT / ".server"
ADDRESS = "127.0.0.1"
# What the server needs to reach a bucket, of the main group.
S3_CLIENT = frozenset({"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"})


def set_up_server() -> None:
    """Install the server into its environment.

    :raises SetupError: It could not be installed.
    """
    lock = PROJECT / "poetry.lock"
    key = fingerprint([lock, Path(__file__)])
    if read_stamp(SERVER).get("key") == key:
        return
    set_up_tools()
    print("Setting up the tracking server", flush=True)
    try:
        server = parse_requirements(run_poetry("export", "--only=server", stdout=subprocess.PIPE))
        main = parse_requirements(run_poetry("export", stdout=subprocess.PIPE))
        requirements = {package.name: package for package in main if package.name in S3_CLIENT}
        requirements |= {package.name: package for package in server}
        run(sys.executable, "-m", "venv", "--clear", "--without-pip", SERVER)
        file = SERVER / "requirements.txt"
        file.write_text("".join(package.text for package in requirements.values()))
        python = f"--python={SERVER / 'bin' / 'python'}"
        run_uv("install", "--quiet", "--no-deps", "--require-hashes", python, "--requirement", file)
    except subprocess.CalledProcessError as error:
        message = "The server could not be installed (see above); once the cause is gone: make tracking-server"
        raise SetupError(message) from error
    write_stamp(SERVER, {"key": key})


def make_command(port: int, folder: Path, artifacts: str) -> list[str]:
    """Write the server's command line.

    :param port: The port that it listens on.
    :param folder: What keeps the database and, unless they go elsewhere, the artifacts.
    :param artifacts: Where artifacts go; empty for the folder.
    :return: The program and its arguments.
    """
    return [
        str(SERVER / "bin" / "python"), "-m", "mlflow", "server",
        "--host", ADDRESS,
        "--port", str(port),
        "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", artifacts or str(folder / "artifacts"),
        "--serve-artifacts",
    ]  # fmt: skip


def make_variables() -> dict[str, str]:
    """Return the environment variables of the server: ours, and for the bucket those by which MLflow knows it."""
    variables = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    variables |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    if endpoint := os.environ.get("S3_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL"):
        variables["MLFLOW_S3_ENDPOINT_URL"] = endpoint
    verification = os.environ.get("S3_VERIFY", "")
    if verification.lower() in {"0", "false", "no", "off"}:
        variables["MLFLOW_S3_IGNORE_TLS"] = "true"
    elif Path(verification).is_file():
        variables["AWS_CA_BUNDLE"] = verification
    return variables


def main(arguments: Sequence[str]) -> int:
    """Set the server up where it is not, and become it, unless only the former is asked for.

    :param arguments: `install`, or nothing.
    :return: The exit code.
    """
    port, artifacts = os.environ.get("TRACKING_PORT", "5000"), os.environ.get("TRACKING_ARTIFACTS", "")
    folder = PROJECT / os.environ.get("TRACKING_PATH", "tracking")
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        print(f"TRACKING_PORT={port} is no port: choose a number from 1 to 65535", file=sys.stderr)
        return 2
    if artifacts and not artifacts.startswith("s3://"):
        print(f"TRACKING_ARTIFACTS={artifacts} is no place in a bucket, such as s3://bucket/folder", file=sys.stderr)
        return 2
    try:
        set_up_server()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Continue with: make tracking-server", file=sys.stderr)
        return 130
    if list(arguments) == ["install"]:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    print(f"The tracking server keeps its data in {folder}. In .envrc.private, or in your shell:", flush=True)
    print(f"export MLFLOW_TRACKING_URI=http://{ADDRESS}:{port}", flush=True)
    become(make_command(int(port), folder, artifacts), make_variables())
    return 0


def become(command: list[str], variables: dict[str, str]) -> None:
    """Let another program take the place of this one, so that whoever ends this process ends that program."""
    os.execve(command[0], command, variables)  # noqa: S606  there is no shell in between that is missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
