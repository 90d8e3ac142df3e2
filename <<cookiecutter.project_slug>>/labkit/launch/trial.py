"""The trials of a sealed session: each becomes a run when it starts, and only once."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from labkit.atomic import write_atomically
from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.opening import unpack
from labkit.launch.session import Range, Session
from labkit.tracking.contact import asks_the_store
from labkit.tracking.parameter import Plain
from labkit.tracking.provenance import Provenance, describe_surroundings, write_surroundings
from labkit.tracking.run import Envelope, Run, connect, create_run, open_run

ENTRY_POINT: Final = "session"
"""What the run of a session is, in the place of an entry point: what keeps its code, and is not executed itself."""
SESSION_TAG: Final = "labkit.session"
TRIAL_TAG: Final = "labkit.trial"
CLUSTER_TAG: Final = "labkit.cluster"
"""On a run or a session, the profile that it was last handed over by."""
PARENT_TAG: Final = "mlflow.parentRunId"
SESSION_FILE: Final = "session.json"
MANIFEST: Final = "manifest.jsonl"
TRIALS: Final = "trials"
"""The folder, in that of a session, with what this machine knows about each trial."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run to be.

    :ivar index: Its number in the session.
    :ivar combination: The number of the combination of arguments.
    :ivar repetition: Which of the combination's runs it is.
    :ivar entry_point: What it executes.
    :ivar arguments: Every argument of the entry point; of one that a search chooses, nothing yet.
    :ivar seed: The number from which all its chance derives.
    :ivar expect: The root hash that its data must have.
    """

    index: int
    combination: int
    repetition: int
    entry_point: str
    arguments: dict[str, Plain]
    seed: int
    expect: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A session as it was sealed, but for the list of its trials.

    :ivar session: What was asked for.
    :ivar seed: From which all chance in choosing derives.
    :ivar trials: How many there are.
    :ivar choices: What is chosen when a trial starts: the values of arguments, or their bounds.
    """

    session: Session
    seed: int
    trials: int
    choices: dict[str, list[Plain] | Range]

    def to_json(self) -> str:
        """Return the content of ``session.json``."""
        choices = {
            name: choice.model_dump() if isinstance(choice, Range) else choice for name, choice in self.choices.items()
        }
        fields = {"session": self.session.model_dump(mode="json"), "seed": self.seed, "trials": self.trials}
        return json.dumps({**fields, "choices": choices}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read what :meth:`to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        return cls(
            session=Session.model_validate(fields["session"]),
            seed=fields["seed"],
            trials=fields["trials"],
            choices={
                name: Range.model_validate(choice) if isinstance(choice, dict) else choice
                for name, choice in fields["choices"].items()
            },
        )


class SealedSession:
    """A session in the tracking store.

    :ivar run: Its own run, which keeps the code and is the parent of its trials' runs.
    :ivar manifest: What was asked for.
    """

    def __init__(self, run: Run) -> None:
        """Read a session's manifest.

        :param run: The session's run.
        :raises UsageError: If it is no session's.
        """
        if run.envelope.entry_point != ENTRY_POINT:
            raise UsageError(f"{run.identifier} is a run, and no session that has trials.")
        self.run = run
        self.manifest = Manifest.from_json(run.sealed_file(SESSION_FILE).read_text(encoding="utf-8"))

    @property
    def identifier(self) -> str:
        """The session's id."""
        return self.run.identifier

    @property
    def folder(self) -> Path:
        """Its folder on this machine."""
        return self.run.folder

    def read_trials(self) -> Iterator[Trial]:
        """Yield all trials in their order."""
        with self.run.sealed_file(MANIFEST).open(encoding="utf-8") as file:
            for line in file:
                yield Trial(**json.loads(line))

    def read_trial(self, index: int) -> Trial:
        """Return one trial.

        :param index: Its number.
        :raises UsageError: If there is no such trial.
        """
        if index >= self.manifest.trials:
            last = self.manifest.trials - 1
            raise UsageError(f"the session {self.identifier} has trials 0 to {last}, and none with the number {index}.")
        with self.run.sealed_file(MANIFEST).open("rb") as file:
            for number, line in enumerate(file):
                if number == index:
                    return Trial(**json.loads(line))
        raise UsageError(f"{self.folder / MANIFEST} is incomplete: delete it to fetch it from the store.")

    @contextlib.contextmanager
    def hold(self, index: int) -> Generator[Path]:
        """Be the only process on this file system that begins a trial.

        :param index: Its number.
        :return: A context that gives the path of the file that names the trial's run.
        """
        path = self.folder / TRIALS / str(index)
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield path


def write_trials(trials: Sequence[Trial], folder: Path) -> Path:
    """Write the list of a session's trials.

    :param trials: The trials in their order.
    :param folder: Receives the file.
    :return: Its path.
    """
    path = folder / MANIFEST
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(trial)) + "\n" for trial in trials)
    return path


def find_differences(trials: Sequence[Trial]) -> list[str]:
    """Return the names of the arguments that are not the same in all trials."""
    names = dict.fromkeys(name for trial in trials for name in trial.arguments)
    return [name for name in names if len({repr(trial.arguments.get(name)) for trial in trials}) > 1]


def begin(
    session: SealedSession, index: int, choose: Callable[[Trial], dict[str, Plain]] = lambda trial: trial.arguments
) -> Run:
    """Open the run of a trial, which is made if there is none yet.

    However many processes begin a trial, and however often, it has one run.

    :param session: The session.
    :param index: The trial's number.
    :param choose: Gives the arguments of a trial that has no run yet.
    :return: The run.
    """
    trial = session.read_trial(index)
    environment = session.run.environment
    with session.hold(index) as path:
        if path.exists():
            return open_run(environment, path.read_text(encoding="utf-8"))
        run = find_run(environment, session, index)
        if run is None:
            created = _create(session, replace(trial, arguments=choose(trial)))
            # Last, so that nobody finds a run that is not complete.
            mark(environment, created.identifier, TRIAL_TAG, f"{session.identifier}/{index}")
            # On machines without a file system in common, another process may have been as fast: the first one counts.
            run = find_run(environment, session, index) or created
            if run.identifier != created.identifier:
                _forget(environment, created.identifier)
        with write_atomically(path) as file:
            file.write(run.identifier.encode())
        return run


@asks_the_store
def find_run(environment: Environment, session: SealedSession, index: int) -> Run | None:
    """Find the run of a trial in the store; of several, the first.

    :param environment: Says which store.
    :param session: The session.
    :param index: The trial's number.
    :return: The run, None if there is none yet.
    """
    store = connect(environment)
    experiment = store.get_run(session.identifier).info.experiment_id
    found = store.search_runs(
        [experiment],
        f"tags.`{TRIAL_TAG}` = '{session.identifier}/{index}'",
        max_results=1,
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    return open_run(environment, found[0].info.run_id) if found else None


@asks_the_store
def mark(environment: Environment, identifier: str, tag: str, text: str) -> None:
    """Set a tag of a run that nobody executes at the moment.

    :param environment: Says which store.
    :param identifier: The run's id.
    :param tag: The tag's name.
    :param text: Its text.
    """
    connect(environment).set_tag(identifier, tag, text)


@asks_the_store
def _forget(environment: Environment, identifier: str) -> None:
    connect(environment).delete_run(identifier)


def _create(session: SealedSession, trial: Trial) -> Run:
    environment = replace(session.run.environment, mlflow_run_id=None)
    source = session.run.envelope.source
    assert source is not None  # noqa: S101  a session is sealed with its code
    code = replace(environment, project_path=unpack(session.run))
    unit = f"{session.identifier}/{trial.index}"
    surroundings = describe_surroundings(code, ["local-launch", unit])
    with tempfile.TemporaryDirectory() as folder:
        return create_run(
            environment,
            Envelope(
                entry_point=trial.entry_point,
                arguments=trial.arguments,
                seed=trial.seed,
                source=source,
                expect=trial.expect,
                session=session.identifier,
            ),
            experiment_name=session.run.experiment_name,
            run_name=f"{session.run.name}-{trial.index}",
            tags={
                **Provenance(source=source, surroundings=surroundings).tags,
                SESSION_TAG: session.identifier,
                PARENT_TAG: session.identifier,
            },
            files=[write_surroundings(surroundings, Path(folder))],
        )
