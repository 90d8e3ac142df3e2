import re
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.environment import Environment, find_project

SECRETS = {
    "MLFLOW_TRACKING_PASSWORD": "secret-1",
    "AWS_ACCESS_KEY_ID": "secret-2",
    "AWS_SECRET_ACCESS_KEY": "secret-3",
    "AWS_SESSION_TOKEN": "secret-4",
    "SLACK_URL": "https://hooks.example.org/secret-5",
    "PROXY_URL": "http://user:secret-6@proxy.example.org",
}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("project")
    (path / "MLproject").touch()
    return path


def test_without_variables_everything_is_in_the_project(folder: Path) -> None:
    assert Environment.read({}, folder) == Environment(
        project_path=folder,
        runs_path=folder / "runs",
        mlflow_tracking_uri=f"sqlite:///{folder}/mlflow.db",
        mlflow_tracking_username=None,
        mlflow_tracking_password=None,
        mlflow_run_id=None,
        data_path=None,
        data_ephemeral_path=None,
        s3_endpoint_url=None,
        s3_verify=True,
        aws_access_key_id=None,
        aws_secret_access_key=None,
        aws_session_token=None,
        slack_url=None,
        slack_user=None,
        development_mode=False,
        training_image=None,
        docker_url=None,
        default_slurm_account=None,
        proxy_url=None,
        job_id=None,
        rank=0,
        leading_run_id=None,
        further_secrets=(),
    )


def test_every_variable_of_the_contract_is_read(folder: Path) -> None:
    variables = {
        "RUNS_PATH": "/scratch/runs",
        "MLFLOW_TRACKING_URI": "https://mlflow.example.org",
        "MLFLOW_TRACKING_USERNAME": "ada",
        "MLFLOW_TRACKING_PASSWORD": "password",
        "MLFLOW_RUN_ID": "run",
        "DATA_PATH": "/data",
        "DATA_EPHEMERAL_PATH": "/tmp/data",
        "S3_ENDPOINT_URL": "https://s3.example.org",
        "S3_VERIFY": "false",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "SLACK_URL": "https://hooks.example.org",
        "SLACK_USER": "ada",
        "DEVELOPMENT_MODE": "true",
        "TRAINING_IMAGE": "image",
        "DOCKER_URL": "docker",
        "DEFAULT_SLURM_ACCOUNT": "account",
        "PROXY_URL": "http://proxy.example.org",
        "JOB_ID": "7",
        "RANK": "1",
        "LABKIT_RUN_ID": "leading",
        "CREDENTIALS_KEY_FILE": "/private/key",
        "EDITOR": "nano",
        "GITHUB_TOKEN": "unknown to Labkit",
    }
    assert Environment.read(variables, folder) == Environment(
        project_path=folder,
        runs_path=Path("/scratch/runs"),
        mlflow_tracking_uri="https://mlflow.example.org",
        mlflow_tracking_username="ada",
        mlflow_tracking_password="password",
        mlflow_run_id="run",
        data_path=Path("/data"),
        data_ephemeral_path=Path("/tmp/data"),
        s3_endpoint_url="https://s3.example.org",
        s3_verify=False,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        aws_session_token="token",
        slack_url="https://hooks.example.org",
        slack_user="ada",
        development_mode=True,
        training_image="image",
        docker_url="docker",
        default_slurm_account="account",
        proxy_url="http://proxy.example.org",
        job_id="7",
        rank=1,
        leading_run_id="leading",
        credentials_key_file=Path("/private/key"),
        editor="nano",
        further_secrets=("unknown to Labkit",),
    )


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID", "LOCAL_RANK"])
def test_a_process_learns_its_rank_from_whoever_started_it(folder: Path, name: str) -> None:
    assert Environment.read({name: "3"}, folder).rank == 3
    assert Environment.read({}, folder).rank == 0


@pytest.mark.parametrize(
    ("variables", "nodes", "processes_per_node"),
    [
        ({}, 1, 1),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, 2, 4),
        ({"SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_NUM_NODES": "3"}, 3, 2),
        ({"SLURM_NTASKS": "6", "SLURM_NNODES": "3"}, 1, 1),
    ],
    ids=["alone", "torchrun", "srun", "the shell of a job"],
)
def test_a_process_learns_who_else_executes_the_run(
    folder: Path, variables: dict[str, str], nodes: int, processes_per_node: int
) -> None:
    environment = Environment.read(variables, folder)
    assert (environment.nodes, environment.processes_per_node) == (nodes, processes_per_node)


def test_a_rank_that_is_no_number_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^The variable RANK is 'first': write the number of the process, from 0\.$"):
        Environment.read({"RANK": "first"}, folder)


def test_an_empty_variable_counts_as_absent(folder: Path) -> None:
    variables = dict.fromkeys(["RUNS_PATH", "DATA_PATH", "S3_VERIFY", "DEVELOPMENT_MODE", "MLFLOW_TRACKING_URI"], "")
    assert Environment.read(variables, folder) == Environment.read({}, folder)


def test_a_home_directory_may_be_written_as_a_tilde(folder: Path) -> None:
    assert Environment.read({"DATA_PATH": "~/data"}, folder).data_path == Path.home() / "data"


def test_the_bucket_of_labkit_goes_before_that_of_the_aws_tools(folder: Path) -> None:
    aws = {"AWS_ENDPOINT_URL": "https://aws.example.org"}
    own = {"S3_ENDPOINT_URL": "https://own.example.org"}
    assert Environment.read(aws, folder).s3_endpoint_url == "https://aws.example.org"
    assert Environment.read(aws | own, folder).s3_endpoint_url == "https://own.example.org"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("True", True), ("yes", True), (" on ", True), ("0", False), ("FALSE", False), ("no", False)],
)
def test_words_for_yes_and_no_are_understood(folder: Path, text: str, *, value: bool) -> None:
    environment = Environment.read({"DEVELOPMENT_MODE": text, "S3_VERIFY": text}, folder)
    assert environment.development_mode is value
    assert environment.s3_verify is value


def test_certificates_can_be_checked_against_a_file(folder: Path) -> None:
    certificates = folder / "certificates.pem"
    certificates.touch()
    assert Environment.read({"S3_VERIFY": str(certificates)}, folder).s3_verify == str(certificates)


def test_a_development_mode_that_is_neither_yes_nor_no_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^The variable DEVELOPMENT_MODE is 'maybe': write 'true' or 'false'\.$"):
        Environment.read({"DEVELOPMENT_MODE": "maybe"}, folder)


def test_certificates_that_are_not_there_are_refused(folder: Path) -> None:
    sentence = r"^The variable S3_VERIFY is '/no/file\.pem': write 'true', 'false' or the path of a certificate file\.$"
    with pytest.raises(UsageError, match=sentence):
        Environment.read({"S3_VERIFY": "/no/file.pem"}, folder)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5000",
        "https://mlflow.example.org/research",
        "https://ada:password@mlflow.example.org",
        "sqlite:///mlflow.db",
        "sqlite:////shared/mlflow.db",
        "postgresql+psycopg2://ada:password@host/mlflow",
    ],
)
def test_addresses_of_servers_and_of_databases_are_tracking_stores(folder: Path, address: str) -> None:
    assert Environment.read({"MLFLOW_TRACKING_URI": address}, folder).mlflow_tracking_uri == address


@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1:5000", "./mlruns", "http://", "http:/host", "htp://host", "http://host:x"]
)
def test_an_address_of_no_tracking_store_is_refused(folder: Path, address: str) -> None:
    sentence = (
        f"The variable MLFLOW_TRACKING_URI is '{address}': write the address of a server, such as http://127.0.0."
    )
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}"):
        Environment.read({"MLFLOW_TRACKING_URI": address}, folder)


def test_the_password_in_such_an_address_is_not_shown(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^The variable MLFLOW_TRACKING_URI is 'htp://\[secret\]@host': write "):
        Environment.read({"MLFLOW_TRACKING_URI": "htp://ada:p4ssword@host"}, folder)


def test_the_project_is_found_from_a_folder_in_it(folder: Path) -> None:
    inner = folder / "notebooks" / "drafts"
    inner.mkdir(parents=True)
    assert find_project(inner) == folder
    assert Environment.read({}, inner).mlflow_tracking_uri == f"sqlite:///{folder}/mlflow.db"


def test_the_nearest_project_is_taken(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "MLproject").touch()
    assert find_project(inner) == inner


def test_without_a_project_the_folder_itself_is_one(tmp_path: Path) -> None:
    assert find_project(tmp_path) == tmp_path


def test_the_working_directory_is_where_the_search_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")
    assert Environment.read({}).project_path == folder


def test_no_secret_is_shown(folder: Path) -> None:
    environment = Environment.read(SECRETS, folder)
    assert "secret" not in repr(environment)
    assert set(environment.secrets()) == set(SECRETS.values())


def test_what_is_absent_is_no_secret(folder: Path) -> None:
    assert Environment.read({}, folder).secrets() == ()
