"""One run: its entry in the tracking store, and the folder beside it.

A run is created before anything executes and carries all that is needed to execute it. While it executes, it only
appends to files in its folder; :mod:`labkit.tracking.sender`, a process of its own, brings them to the store.
"""

import contextlib
import functools
import json
import logging
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import Timeout

from labkit.atomic import write_atomically
from labkit.command import UnavailableError, UsageError
from labkit.environment import Environment
from labkit.secret import Masker, find_secrets_in_arguments
from labkit.tracking.contact import asks_the_store, describe, is_of_a_store
from labkit.tracking.interruption import SignalWatch
from labkit.tracking.parameter import Plain
from labkit.tracking.source import ARCHIVE, Source, is_unpacked
from labkit.tracking.spool import FILE_NAME, Spool, read_history
from labkit.tracking.state import ATTEMPT_TAG, STATE_TAG, State, conclude, is_up_to_date, read_state, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

    from labkit.data.footprint import Footprint

ENVELOPE: Final = "envelope.json"
ENTRY_POINT_TAG: Final = "labkit.entry_point"
FOOTPRINT: Final = "footprint.json"
FOOTPRINT_TAG: Final = "labkit.footprint"
"""The root hash of the data that the run uses."""
UNUSABLE_IN_A_PATH: Final = "'?#%"
"""MLflow writes the working directory into SQL as it is, and the rest ends the path in an address."""
LIMIT_OF_PARAMETER: Final = 6000
"""Characters of a parameter's text that MLflow keeps; the envelope holds all of it."""
LIMIT_OF_BATCH: Final = 100
"""Parameters or tags that MLflow takes at once."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What must be known to execute a run."""

    entry_point: str
    arguments: dict[str, Plain]
    """Every argument as the entry point receives it, as plain data; of secrets, only that there is one."""
    seed: int
    source: Source | None = None
    """The code; None only for what is no run of a project."""
    expect: str | None = None
    """The root hash that the footprint of the data must have, or its beginning."""
    session: str | None = None
    """The run of the session that it is a trial of, which keeps the code of all of them."""


class Run:
    """A run that this process works on.

    :ivar identifier: The run's id in the tracking store.
    :ivar name: Its readable name.
    :ivar experiment_name: The experiment that it belongs to.
    :ivar envelope: What it executes.
    :ivar masker: Knows what must not be shown of it: credentials, and arguments that are secret.
    :ivar folder: Its folder on this machine: spool, checkpoints, logs, figures.
    :ivar has_finished: Whether it has done all it was to do, as far as this process knows.
    :ivar stored_root: The root hash of its data, as the store had it when the run was opened.
    :ivar stored_attempt: The newest attempt, as the store had it when the run was opened.
    :ivar signals: Whether and how it has been asked to stop.
    :ivar sender: The process that has created the run, and waits for its beginning to send what it says.
    """

    def __init__(
        self, identifier: str, name: str, experiment_name: str, envelope: Envelope, environment: Environment
    ) -> None:
        """Describe a run that is in the store; :func:`create_run` and :func:`open_run` do so."""
        self.identifier = identifier
        self.name = name
        self.experiment_name = experiment_name
        self.envelope = envelope
        self.environment = environment
        self.has_finished = False
        self.stored_root: str | None = None
        self.stored_attempt: str | None = None
        self._knows_its_data = False
        self.masker = Masker(environment.secrets())
        self.signals = SignalWatch()
        self.sender: subprocess.Popen[bytes] | None = None
        self.folder = environment.runs_path / identifier
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def is_led_here(self) -> bool:
        """Whether this process, the first of those that execute the run together, is the one that records it."""
        return self.environment.rank == 0

    @property
    def seed(self) -> int:
        """The seed from which every random number of the run derives."""
        return self.envelope.seed

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the run's entry point, as plain data."""
        return self.envelope.arguments

    @property
    def command_to_go_on(self) -> str:
        """The command that continues the run, with the code that this process executes."""
        source = self.envelope.source
        if source and is_unpacked(source, self.environment.project_path):
            return f"local-launch {self.identifier}"
        return f"{self.envelope.entry_point} --run-id {self.identifier}"

    def require_unfinished(self) -> None:
        """Make sure that there is something left to do.

        :raises UsageError: If the run has finished.
        """
        if self.has_finished:
            raise UsageError(
                f"the run {self.identifier} has finished: `reproduce-run {self.identifier}` does the same again, and "
                f"`{self.envelope.entry_point}` without --run-id something new."
            )

    def begin_sending(self) -> "subprocess.Popen[bytes] | None":
        """Let the process that waits for it send what the run says, if there is one.

        :return: The process.
        """
        process, self.sender = self.sender, None
        if process is None or process.stdin is None:
            return None
        with contextlib.suppress(BrokenPipeError), process.stdin as line:
            line.write(b"\n")
        return process

    @functools.cached_property
    def spool(self) -> Spool:
        """The file through which everything reaches the store."""
        return Spool(self.folder)

    @property
    def history(self) -> dict[str, tuple[list[int], list[float]]]:
        """The steps and values of every metric that was recorded on this machine."""
        return read_history(self.folder / FILE_NAME) if (self.folder / FILE_NAME).exists() else {}

    @property
    def root(self) -> str | None:
        """The root hash of the data that the run uses, once it has said which."""
        path = self.folder / FOOTPRINT
        return json.loads(path.read_bytes())["root"] if path.exists() else self.stored_root

    def log_footprint(self, footprint: "Footprint") -> None:
        """Say which data the run uses, before it does: ``footprint.json``, and the root hash as a tag.

        :param footprint: The data's footprint.
        :raises UsageError: If other data are expected, or the run used others before it was interrupted.
        """
        from labkit.data.footprint import is_root

        self.check_footprint(footprint)
        if self.envelope.expect is not None and not is_root(self.envelope.expect, footprint):
            raise UsageError(
                f"the data have the root {footprint.root}, not {self.envelope.expect} as --expect says: these are "
                "other data."
            )
        self._knows_its_data = True
        if self.root is None and self.is_led_here:
            path = self.folder / FOOTPRINT
            with write_atomically(path) as file:
                file.write(footprint.to_json().encode())
            self.log_tags({FOOTPRINT_TAG: footprint.root})
            self.log_artifact(path)

    def check_footprint(self, footprint: "Footprint") -> None:
        """Make sure that data are those of the run, if it has said which these are.

        :param footprint: The data's footprint.
        :raises UsageError: If they are others.
        """
        if self.root not in {None, footprint.root}:
            raise UsageError(
                f"the data have the root {footprint.root}, and the run {self.identifier} used data with the root "
                f"{self.root}: bring those back, or begin a new run."
            )

    def check_expectation(self) -> None:
        """Make sure that data which are expected have been compared with those in use.

        :raises UsageError: If the entry point has not said which data it uses.
        """
        if self.envelope.expect is not None and not self._knows_its_data:
            raise UsageError(
                f"--expect cannot be met, since `{self.envelope.entry_point}` does not say which data it uses: let it "
                "call run.log_footprint first."
            )

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics, each under its stage: ``test/accuracy``.

        :param metrics: Values by name.
        :param step: The optimiser steps done.
        """
        if self.is_led_here:
            self.spool.append_metrics([(metrics, step, now())])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags, texts by name."""
        if self.is_led_here:
            self.spool.append({"tags": {name: self.masker.mask(text) for name, text in tags.items()}})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Copy a file or folder to the artifact store; it stays here too.

        :param path: A file or folder in :attr:`folder`.
        :param folder: The folder of the artifact store that receives it.
        """
        if self.is_led_here:
            self.spool.append({"artifact": str(path.relative_to(self.folder)), "folder": folder})

    def log_figure(self, name: str, figure: "Figure") -> Path:
        """Keep a figure under ``figures/``, here and in the artifact store.

        :param name: Its name without an ending.
        :param figure: The figure.
        :return: The picture's path.
        """
        path = self.folder / "figures" / f"{name}.png"
        if self.is_led_here:
            path.parent.mkdir(exist_ok=True)
            figure.savefig(path, dpi=150)
            self.log_artifact(path, "figures")
        return path

    def checkpoint(self, name: str = "best") -> Path:
        """Find one of the run's checkpoints, here or in the artifact store.

        :param name: ``best`` or ``last``.
        :return: The path of the file.
        :raises UsageError: If the run has no such checkpoint.
        :raises UnavailableError: If it cannot be fetched.
        """
        path = self.folder / "checkpoints" / f"{name}.ckpt"
        if path.exists():
            return path
        try:
            return self.download(f"checkpoints/{path.name}", path)
        except UsageError:
            if self.has_finished:
                sentence = f"has finished without a {path.name}: name another checkpoint, or another run."
            else:
                sentence = f"has no {path.name} yet: `{self.command_to_go_on}` continues it."
            raise UsageError(f"the run {self.identifier} {sentence}") from None

    @property
    def folder_of_source(self) -> Path:
        """The folder that the run's code is kept in: its own, or, of a trial, that of the session."""
        return self.environment.runs_path / (self.envelope.session or self.identifier)

    def source_archive(self) -> Path:
        """Find the archive of the run's code, here or in the artifact store.

        :return: The path of the file.
        :raises UsageError: If the run has none.
        """
        return self.sealed_file(ARCHIVE)

    def sealed_file(self, name: str) -> Path:
        """Find what was kept with the run's code, here or in the artifact store.

        :param name: The file: ``source.tar.gz``, or ``difference.patch`` where the code differs from its commit.
        :return: The path of the file.
        :raises UsageError: If the run has no such file.
        """
        path = self.folder_of_source / name
        if path.exists():
            return path
        keeper = open_run(self.environment, self.envelope.session) if self.envelope.session else self
        return keeper.download(name, path)

    def download(self, artifact: str, path: Path) -> Path:
        """Copy an artifact of the run from the store to this machine.

        :param artifact: Its path in the artifact store.
        :param path: Where it goes; complete or not there at all.
        :return: The same path.
        :raises UsageError: If the run has no such artifact.
        :raises UnavailableError: If it cannot be fetched.
        """
        if not _has_artifact(self.environment, self.identifier, artifact):
            raise UsageError(f"the run {self.identifier} has no '{artifact}' in the artifact store.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            try:
                copy = connect(self.environment).download_artifacts(self.identifier, artifact, folder)
            except Exception as error:
                if not is_of_a_store(error):
                    raise
                raise UnavailableError(
                    f"'{artifact}' of the run {self.identifier} cannot be fetched ({describe(error)}): "
                    "try again once the artifact store answers."
                ) from error
            Path(copy).replace(path)
        return path


@asks_the_store
def read_tags(environment: Environment, identifier: str) -> dict[str, str]:
    """Read the tags of a run as the store has them.

    :param environment: Says which store.
    :param identifier: The run's id.
    :return: Texts by name.
    :raises UnavailableError: If the store does not answer.
    """
    return dict(connect(environment).get_run(identifier).data.tags)


@asks_the_store
def create_run(
    environment: Environment,
    envelope: Envelope,
    *,
    experiment_name: str,
    run_name: str | None = None,
    tags: Mapping[str, str] | None = None,
    files: Iterable[Path] = (),
) -> Run:
    """Create a run in the tracking store, sealed and not yet running.

    Secrets are recorded nowhere: in arguments, names and tags a mask stands for them.

    :param environment: Says which store, and where the run's folder goes.
    :param envelope: What the run executes.
    :param experiment_name: The experiment that it belongs to, made where it is new.
    :param run_name: A readable name; MLflow invents one by default.
    :param tags: Further texts to keep with it, by name.
    :param files: What is sealed beside the envelope, such as the archive of the code.
    :return: The run.
    :raises UnavailableError: If the store does not answer.
    """
    from mlflow.entities import Param, RunTag

    store = connect(environment)
    masker = Masker([*environment.secrets(), *find_secrets_in_arguments(envelope.arguments)])
    envelope = replace(envelope, arguments=masker.mask_arguments(envelope.arguments))
    experiment_name = masker.mask(experiment_name)
    run_name = masker.mask(run_name) if run_name else None
    tags = {STATE_TAG: State.CREATED, ENTRY_POINT_TAG: envelope.entry_point, **(tags or {})}
    if environment.mlflow_run_id:
        entry = store.get_run(environment.mlflow_run_id)
        experiment_name = store.get_experiment(entry.info.experiment_id).name
        if run_name:
            store.update_run(entry.info.run_id, name=run_name)
    else:
        experiment = find_or_create_experiment(environment, experiment_name)
        entry = store.create_run(experiment, run_name=run_name)
        store.update_run(entry.info.run_id, status=State.CREATED.mlflow_status)
    identifier = entry.info.run_id
    recorded = {"seed": envelope.seed, **envelope.arguments}
    # `mlflow run` has recorded the parameters that it passed on; the store never lets a parameter change.
    parameters = [
        Param(name, str(value)[:LIMIT_OF_PARAMETER])
        for name, value in recorded.items()
        if name not in entry.data.params
    ]
    run = Run(identifier, run_name or entry.info.run_name or identifier, experiment_name, envelope, environment)
    run.masker = masker
    with _ending_what_cannot_be_sealed(store, identifier):
        for start in range(0, len(parameters), LIMIT_OF_BATCH):
            store.log_batch(identifier, params=parameters[start : start + LIMIT_OF_BATCH])
        store.log_batch(identifier, tags=[RunTag(name, masker.mask(value)) for name, value in tags.items()])
        for file in files:
            store.log_artifact(identifier, str(shutil.copyfile(file, run.folder / file.name)))
        path = run.folder / ENVELOPE
        path.write_text(json.dumps(asdict(envelope), indent=2), encoding="utf-8")
        store.log_artifact(identifier, str(path))
    return run


def read_run(environment: Environment, identifier: str, name: str, experiment_name: str) -> Run:
    """Describe a run that another process of this machine has just created, without asking the store.

    :param environment: Says where the run's folder is.
    :param identifier: The run's id.
    :param name: Its readable name.
    :param experiment_name: The experiment that it belongs to.
    :return: The run.
    """
    envelope = _read_envelope(environment.runs_path / identifier / ENVELOPE)
    return Run(identifier, name, experiment_name, envelope, environment)


@contextlib.contextmanager
def _ending_what_cannot_be_sealed(store: "MlflowClient", identifier: str) -> Generator[None]:
    """Tell the store that a run failed that can never be executed, if that is how the context ends."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            tell(store, identifier, State.FAILED, now())
        raise


@asks_the_store
def open_run(environment: Environment, identifier: str) -> Run:
    """Open a run that is in the tracking store.

    :param environment: Says which store.
    :param identifier: The run's id.
    :return: The run.
    :raises UsageError: If there is no such run, or it was not made by Labkit.
    :raises UnavailableError: If the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    store = connect(environment)
    try:
        entry = store.get_run(identifier)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        raise UsageError(
            f"there is no run '{identifier}' in {Masker(environment.secrets()).mask(environment.mlflow_tracking_uri)}: "
            "give the id that `train` printed."
        ) from None
    folder = environment.runs_path / identifier
    attempt = entry.data.tags.get(ATTEMPT_TAG)
    with contextlib.suppress(Timeout):
        # Where it was executed elsewhere since, what was here is history.
        if (attempt is None or is_up_to_date(folder, attempt)) and conclude(folder):
            tell(store, identifier, State.INTERRUPTED, now())
    path = folder / ENVELOPE
    experiment_name = store.get_experiment(entry.info.experiment_id).name
    unread = Envelope(entry_point=entry.data.tags.get(ENTRY_POINT_TAG, ""), arguments={}, seed=0)
    run = Run(identifier, entry.info.run_name or identifier, experiment_name, unread, environment)
    if not path.exists():
        run.download(ENVELOPE, path)
    run.envelope = _read_envelope(path)
    run.stored_attempt = attempt
    run.stored_root = entry.data.tags.get(FOOTPRINT_TAG)
    run.has_finished = State.FINISHED in {entry.data.tags.get(STATE_TAG), read_state(run.folder)}
    return run


@asks_the_store
def _has_artifact(environment: Environment, identifier: str, artifact: str) -> bool:
    store = connect(environment)
    store.get_run(identifier)  # where the artifacts lie is remembered, and an absent folder looks like an empty one
    folder = artifact.rpartition("/")[0] or None
    return any(file.path == artifact for file in store.list_artifacts(identifier, folder))


def _read_envelope(path: Path) -> Envelope:
    fields = json.loads(path.read_text(encoding="utf-8"))
    source = fields.pop("source", None)
    return Envelope(**fields, source=Source(**source) if source else None)


@asks_the_store
def find_newest_run(environment: Environment, experiment_name: str, entry_point: str) -> Run:
    """Find the run that finished last.

    :param environment: Says which store.
    :param experiment_name: The experiment to look in.
    :param entry_point: The entry point that it executed.
    :return: The run.
    :raises UsageError: If there is none.
    """
    store = connect(environment)
    experiment = store.get_experiment_by_name(experiment_name)
    found = experiment and store.search_runs(
        [experiment.experiment_id],
        f"tags.`{ENTRY_POINT_TAG}` = '{entry_point}' and attributes.status = 'FINISHED'",
        max_results=1,
        order_by=["attributes.end_time DESC"],
    )
    if not found:
        raise UsageError(f"no run of `{entry_point}` has finished in experiment '{experiment_name}': run it first.")
    return open_run(environment, found[0].info.run_id)


def find_or_create_experiment(environment: Environment, name: str) -> str:
    """Return the id of the experiment of a name, making it where it is new."""
    from mlflow.exceptions import MlflowException

    store = connect(environment)
    if experiment := store.get_experiment_by_name(name):
        if experiment.lifecycle_stage != "active":
            raise UsageError(
                f"the experiment '{name}' was deleted: restore it with `mlflow experiments restore -x "
                f"{experiment.experiment_id}`, or give another --experiment-name."
            )
        return experiment.experiment_id
    # A server knows where its artifacts go; those of a local store go into the project, wherever the command was given.
    local = environment.mlflow_tracking_uri.startswith("sqlite:")
    # A name may hold anything, also what leads out of a folder.
    folder = name.replace("/", "_") if name.strip(".") else "_"
    location = (environment.project_path / "mlruns" / folder).as_uri() if local else None
    try:
        return store.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        experiment = store.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


@functools.cache
def connect(environment: Environment) -> "MlflowClient":
    """Return a client of the tracking store that the environment names.

    :raises UsageError: If MLflow could not work in the folder.
    """
    uri = environment.mlflow_tracking_uri
    if uri.startswith("sqlite:") and (
        wrong := sorted(set(f"{environment.project_path}{Path.cwd()}") & set(UNUSABLE_IN_A_PATH))
    ):
        raise UsageError(
            f"MLflow can keep no store in {environment.project_path}, because of the {wrong[0]} in its path. "
            "Give the folder a name of letters, digits, spaces, '-' and '_'."
        )
    for chatter in ("alembic", "mlflow.tracking"):
        logging.getLogger(chatter).setLevel(logging.WARNING)
    # What fails is printed on a page by these, and then raised.
    for chatter in ("mlflow.store.db.utils", "urllib3"):
        logging.getLogger(chatter).setLevel(logging.CRITICAL)
    from mlflow import MlflowClient
    from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR

    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    return MlflowClient(uri)


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
