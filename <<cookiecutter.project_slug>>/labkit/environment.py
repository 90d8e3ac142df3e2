"""Every environment variable that Labkit reads, in one frozen record."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from labkit.command import UsageError
from labkit.secret import Masker, find_secrets

NUMERICS: Final = (
    *("CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS"),
    *("OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"),
)
"""How many threads add up a sum, for one, decides about its rounding."""
VARIABLES_OF_RANK: Final = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
TORCHRUN: Final = ("WORLD_SIZE", "LOCAL_WORLD_SIZE")
SLURM_STEP: Final = ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES")
"""Only what `srun` starts shares a job: its shell is one process, however many the job may have."""
SCHEMES_OF_DATABASES: Final = frozenset({"sqlite", "postgresql", "mysql", "mssql"})
WORDS_FOR_TRUE: Final = frozenset({"1", "true", "yes", "on"})
WORDS_FOR_FALSE: Final = frozenset({"0", "false", "no", "off"})
NAMES_OF_SECRETS: Final = (
    "MLFLOW_TRACKING_PASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "SLACK_URL",
    "PROXY_URL",
)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the surroundings say: where things are, and who may reach them. Secrets stay out of its ``repr``."""

    project_path: Path
    """The project's root: the nearest folder upwards that holds an ``MLproject`` file, else the working directory."""
    runs_path: Path
    """``RUNS_PATH``: where each run keeps checkpoints, logs and unsent metrics; ``runs`` in the project by default."""
    mlflow_tracking_uri: str
    """``MLFLOW_TRACKING_URI``: an SQLite file in the project by default."""
    mlflow_tracking_username: str | None = None
    mlflow_tracking_password: str | None = field(default=None, repr=False)
    mlflow_run_id: str | None = None
    """``MLFLOW_RUN_ID``: the run that ``mlflow run`` made before it called the entry point."""
    data_path: Path | None = None
    """``DATA_PATH``: a cache that machines share."""
    data_ephemeral_path: Path | None = None
    """``DATA_EPHEMERAL_PATH``: a cache on this machine's own disk."""
    s3_endpoint_url: str | None = None
    s3_verify: bool | str = True
    """``S3_VERIFY``: whether certificates are checked, or the path of the certificates to check against."""
    aws_access_key_id: str | None = field(default=None, repr=False)
    aws_secret_access_key: str | None = field(default=None, repr=False)
    aws_session_token: str | None = field(default=None, repr=False)
    slack_url: str | None = field(default=None, repr=False)
    slack_user: str | None = None
    development_mode: bool = False
    training_image: str | None = None
    docker_url: str | None = None
    default_slurm_account: str | None = None
    proxy_url: str | None = field(default=None, repr=False)
    job_id: str | None = None
    variables_of_numerics: tuple[tuple[str, str], ...] = ()
    """Variables of other libraries that can change the last bits of a result, by name."""
    rank: int = 0
    """The process's number among those that execute one run together, as torchrun, Slurm or Lightning say it."""
    nodes: int = 1
    """The machines whose processes torchrun or Slurm's ``srun`` has started to execute one run together."""
    processes_per_node: int = 1
    """How many of these processes each machine has."""
    leading_run_id: str | None = None
    """``LABKIT_RUN_ID``: the run that the first of these processes tells the others to join."""
    credentials_key_file: Path | None = None
    """``CREDENTIALS_KEY_FILE``: the key of the project's credentials, on a machine that has no keychain."""
    editor: str = "vi"
    """``VISUAL`` or ``EDITOR``: the command that edits a text file."""
    further_secrets: tuple[str, ...] = field(default=(), repr=False)
    """The values of variables that Labkit does not know, but that are named like secrets; passwords in addresses."""

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ, directory: Path | None = None) -> Self:
        """Read the environment.

        :param variables: Names and values; an empty value counts as absent.
        :param directory: Where to look for the project; the working directory by default.
        :return: The record.
        :raises UsageError: If a value cannot be understood.
        """
        values = {name: value for name, value in variables.items() if value}
        project = find_project(directory or Path.cwd())

        def path(name: str) -> Path | None:
            return Path(values[name]).expanduser() if name in values else None

        nodes, processes_per_node = _read_distribution(values)
        return cls(
            project_path=project,
            runs_path=(path("RUNS_PATH") or project / "runs").absolute(),
            mlflow_tracking_uri=_read_tracking_uri(
                values.get("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
            ),
            mlflow_tracking_username=values.get("MLFLOW_TRACKING_USERNAME"),
            mlflow_tracking_password=values.get("MLFLOW_TRACKING_PASSWORD"),
            mlflow_run_id=values.get("MLFLOW_RUN_ID"),
            data_path=path("DATA_PATH"),
            data_ephemeral_path=path("DATA_EPHEMERAL_PATH"),
            s3_endpoint_url=values.get("S3_ENDPOINT_URL") or values.get("AWS_ENDPOINT_URL"),
            s3_verify=_read_verification(values.get("S3_VERIFY", "true")),
            aws_access_key_id=values.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=values.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=values.get("AWS_SESSION_TOKEN"),
            slack_url=values.get("SLACK_URL"),
            slack_user=values.get("SLACK_USER"),
            development_mode=_read_boolean("DEVELOPMENT_MODE", values.get("DEVELOPMENT_MODE", "false")),
            training_image=values.get("TRAINING_IMAGE"),
            docker_url=values.get("DOCKER_URL"),
            default_slurm_account=values.get("DEFAULT_SLURM_ACCOUNT"),
            proxy_url=values.get("PROXY_URL"),
            job_id=values.get("JOB_ID"),
            variables_of_numerics=tuple((name, values[name]) for name in NUMERICS if name in values),
            leading_run_id=values.get("LABKIT_RUN_ID"),
            rank=next((_read_rank(name, values[name]) for name in VARIABLES_OF_RANK if name in values), 0),
            credentials_key_file=path("CREDENTIALS_KEY_FILE"),
            editor=values.get("VISUAL") or values.get("EDITOR") or "vi",
            nodes=nodes,
            processes_per_node=processes_per_node,
            further_secrets=find_secrets({name: values[name] for name in values if name not in NAMES_OF_SECRETS}),
        )

    def secrets(self) -> tuple[str, ...]:
        """Return the values that no log, tag, parameter or message may show."""
        candidates = (
            self.mlflow_tracking_password,
            self.aws_access_key_id,
            self.aws_secret_access_key,
            self.aws_session_token,
            self.slack_url,
            self.proxy_url,
            *self.further_secrets,
        )
        return tuple(value for value in candidates if value)


def read_variables(names: Iterable[str], variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Read variables that only a user's own files name, as credentials.

    :param names: Their names.
    :param variables: Names and values; an empty value counts as absent.
    :return: The values of those that are set, by name.
    """
    return {name: variables[name] for name in names if variables.get(name)}


def find_project(directory: Path) -> Path:
    """Find the root of the project that a directory belongs to.

    :param directory: Where to begin.
    :return: The nearest folder upwards with an ``MLproject`` file, or the directory itself.
    """
    directory = directory.absolute()
    for folder in (directory, *directory.parents):
        if (folder / "MLproject").is_file():
            return folder
    return directory


def _read_boolean(name: str, value: str) -> bool:
    word = value.strip().lower()
    if word in WORDS_FOR_TRUE:
        return True
    if word in WORDS_FOR_FALSE:
        return False
    raise UsageError(f"The variable {name} is '{value}': write 'true' or 'false'.")


def _read_rank(name: str, value: str) -> int:
    if not value.isdecimal():
        raise UsageError(f"The variable {name} is '{value}': write the number of the process, from 0.")
    return int(value)


def _read_distribution(values: Mapping[str, str]) -> tuple[int, int]:
    """Read how many machines execute the run together, and by how many processes each."""
    if all(values.get(name, "").isdecimal() for name in TORCHRUN):
        processes, processes_per_node = (int(values[name]) for name in TORCHRUN)
        return processes // processes_per_node, processes_per_node
    if all(values.get(name, "").isdecimal() for name in SLURM_STEP):
        processes, nodes = (int(values[name]) for name in SLURM_STEP)
        return nodes, processes // nodes
    return 1, 1


def _read_tracking_uri(value: str) -> str:
    """Read ``MLFLOW_TRACKING_URI``: the address of a server or of a database."""
    with contextlib.suppress(ValueError):  # of a port that is none
        address = urlsplit(value)
        if "://" in value and address.port != 0 and (_is_database(address) or _is_server(address)):
            return value
    raise UsageError(
        f"The variable MLFLOW_TRACKING_URI is '{Masker(find_secrets({'MLFLOW_TRACKING_URI': value})).mask(value)}': "
        "write the address of a server, such as http://127.0.0.1:5000, or of a database, such as sqlite:////path/mlflow.db."
    )


def _is_server(address: SplitResult) -> bool:
    return address.scheme in {"http", "https"} and bool(address.hostname)


def _is_database(address: SplitResult) -> bool:
    """Tell whether an address is one of SQLAlchemy's: the kind of the database, and perhaps a driver."""
    return address.scheme.partition("+")[0] in SCHEMES_OF_DATABASES


def _read_verification(value: str) -> bool | str:
    """Read ``S3_VERIFY``: a word for yes or no, else the path of a certificate bundle."""
    if value.strip().lower() in WORDS_FOR_TRUE | WORDS_FOR_FALSE:
        return _read_boolean("S3_VERIFY", value)
    if not Path(value).expanduser().exists():
        raise UsageError(
            f"The variable S3_VERIFY is '{value}': write 'true', 'false' or the path of a certificate file."
        )
    return str(Path(value).expanduser())
