"""What the status of every launcher shows: runs, and in the words of whoever executes them their jobs, side by side."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.arguments import write_arguments
from labkit.launch.conclusion import conclude_if_over
from labkit.launch.ranking import read_results
from labkit.launch.standing import PRUNED_TAG, search_trials, tell_state
from labkit.launch.trial import ENTRY_POINT, TRIAL_TAG, SealedSession, Trial, find_differences
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import connect, open_run
from labkit.tracking.state import ATTEMPT_TAG, STATE_TAG, State

if TYPE_CHECKING:
    from mlflow.entities import Run as StoredRun

MOST_ROWS: Final = 100
"""Of more, those are left out that only wait, and those that have finished."""
METRICS: Final = ("validation/loss", "train/loss", "train/loss_step")
"""What is shown of a run is the first of these that it has."""
NOT_SUBMITTED: Final = "not submitted"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What executes a unit.

    :ivar name: What its executor knows it by.
    :ivar word: The executor's word for where it stands.
    :ivar detail: What the executor says further: for how long it has been running, or why it waits.
    :ivar restarts: How often it was begun anew.
    :ivar is_active: Whether it waits or runs.
    :ivar is_waiting: Whether it waits.
    """

    name: str
    word: str
    detail: str = ""
    restarts: int = 0
    is_active: bool = True
    is_waiting: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """Where a run or a trial stands.

    :ivar unit: The run's id or ``SESSION/NUMBER``.
    :ivar arguments: What tells it from the others.
    :ivar job: What executes it, as far as the executor knows.
    :ivar run_id: Its run; None before it starts.
    :ivar state: The run's state.
    :ivar is_pruned: Whether it was ended early, as others did better.
    :ivar attempts: How often the run was begun, in whatever job.
    :ivar step: The newest step that has been recorded.
    :ivar metric: A metric of the run, with its name.
    """

    unit: str
    arguments: str = ""
    job: Job | None = None
    run_id: str | None = None
    state: str | None = None
    is_pruned: bool = False
    attempts: int = 0
    step: int | None = None
    metric: str = ""

    @property
    def word(self) -> str:
        """One word for it: the executor's while a job is active, else the run's."""
        if self.job and (self.job.is_active or self.state is None):
            return self.job.word
        return self.state or NOT_SUBMITTED

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to tell about it."""
        if self.job and self.job.is_active:
            return self.job.is_waiting
        return self.word in {NOT_SUBMITTED, State.FINISHED}

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in the table under the headings."""
        restarts = max(self.attempts - 1, self.job.restarts if self.job else 0)
        return (
            self.unit,
            self.job.name if self.job else "",
            f"{self.job.word} {self.job.detail}".rstrip() if self.job else "",
            self.run_id or "",
            self.state or "",
            str(restarts),
            "" if self.step is None else str(self.step),
            self.metric,
            self.arguments,
        )


def choose(jobs: Iterable[tuple[str, Job]]) -> dict[str, Job]:
    """Choose for each unit the job that says where it stands; pure.

    :param jobs: Units and their jobs, the oldest first; of a unit perhaps several, where it was launched again.
    :return: By unit, one that is active where there is one, else the newest.
    """
    return dict(sorted(jobs, key=lambda pair: pair[1].is_active))


def collect(environment: Environment, launches: Iterable[str], jobs: Mapping[str, Job]) -> list[Row]:
    """Put together what the store and an executor know of launches; the store hears where sessions stand.

    :param environment: Says which store.
    :param launches: The ids of runs and sessions.
    :param jobs: The executor's jobs, by unit.
    :return: A row for each run and each trial; of another project's, only what the executor says.
    """
    return [row for launch in launches for row in _collect(environment, launch, jobs)]


def show(rows: Sequence[Row], executor: str) -> str:
    """Write rows for a reader; pure.

    :param rows: The rows.
    :param executor: What the executor's words stand under.
    :return: A line that counts them, and a table.
    """
    return f"{summarise(rows)}\n{make_table(rows, executor)}"


def summarise(rows: Sequence[Row]) -> str:
    """Say in a line how many there are of each kind; pure.

    :param rows: All of them.
    :return: The line, the most frequent kind first.
    """
    counts = Counter(row.word for row in rows)
    return f"{len(rows)}: {', '.join(f'{count} {word}' for word, count in counts.most_common())}"


def make_table(rows: Sequence[Row], executor: str) -> str:
    """Write a line for each run or trial; pure.

    :param rows: All of them; of very many, those about which there is nothing to tell are left out.
    :param executor: What the executor's words stand under.
    :return: Lines, the columns under each other, without those that are empty.
    """
    headings = ("unit", "job", executor, "run", "state", "restarts", "step", "metric", "arguments")
    shown = [row for row in rows if len(rows) <= MOST_ROWS or not row.is_quiet]
    return _align([headings, *(row.cells for row in shown)])


def show_ranking(environment: Environment, rows: Sequence[Row]) -> str:
    """Write the best trials of those sessions that are over, whose end the store is told if nobody has.

    :param environment: Says which store.
    :param rows: The rows of runs, and of sessions all of their trials.
    :return: Lines, also none.
    """
    sessions: dict[str, list[Row]] = {}
    for row in rows:
        launch, slash, _ = row.unit.partition("/")
        if slash:
            sessions.setdefault(launch, []).append(row)
    texts: list[str] = []
    for launch, own in sessions.items():
        if conclude(own).is_final:
            session = SealedSession(open_run(environment, launch))
            results = read_results(session) or (conclude_if_over(session) and read_results(session)) or []
            texts.append(_align(results[: MOST_ROWS + 1]))
    return "".join(f"\n\n{text}" for text in texts if text)


def _align(lines: Sequence[Sequence[str]]) -> str:
    """Write cells below each other, without columns that have nothing but a heading."""
    columns = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(len(cell) for cell in column) for column in columns]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in zip(*columns, strict=True))


def describe_differences(trials: Sequence[Trial], chosen: Mapping[int, Mapping[str, str]]) -> dict[int, str]:
    """Write of each trial the arguments that not all trials share, and the seed where that is one of them; pure.

    :param trials: The trials of a session.
    :param chosen: The arguments that a search has chosen, as the store shows them, by the trials' numbers.
    :return: Texts by the trials' numbers.
    """
    differing = find_differences(trials)
    has_seeds = len({trial.seed for trial in trials}) > 1
    texts: dict[int, str] = {}
    for trial in trials:
        own = {name: trial.arguments[name] for name in differing if name in trial.arguments}
        words = [f"{name.replace('_', '-')}={text}" for name, text in chosen.get(trial.index, {}).items()]
        written = write_arguments(own | ({"seed": trial.seed} if has_seeds else {}))
        texts[trial.index] = ",".join(filter(None, [*words, written]))
    return texts


def conclude(rows: Sequence[Row]) -> State:
    """Say where a session stands by where its trials stand; pure.

    :param rows: The rows of all its trials.
    :return: The session's state.
    """
    if any(row.job and row.job.is_active and not row.job.is_waiting for row in rows):
        return State.RUNNING
    states = {State.FINISHED if row.is_pruned else State(row.state) for row in rows if row.state}
    if State.RUNNING in states:
        return State.RUNNING
    if not states:
        return State.CREATED
    if State.INTERRUPTED in states or State.CREATED in states or any(row.state is None for row in rows):
        return State.INTERRUPTED
    return State.FINISHED if states == {State.FINISHED} else State.FAILED


def _collect(environment: Environment, launch: str, jobs: Mapping[str, Job]) -> list[Row]:
    try:
        run = open_run(environment, launch)
    except UsageError:
        return [Row(unit=unit, job=job) for unit, job in jobs.items() if unit.partition("/")[0] == launch]
    stored = _find_run(environment, launch)
    if run.envelope.entry_point != ENTRY_POINT:
        return [_describe(launch, write_arguments(run.arguments), jobs, stored)]
    trials = {entry.data.tags[TRIAL_TAG]: entry for entry in search_trials(environment, launch)}
    session = SealedSession(run)
    chosen = {
        int(unit.rpartition("/")[2]): {name: entry.data.params.get(name, "") for name in session.manifest.choices}
        for unit, entry in trials.items()
    }
    rows = [
        _describe(unit := f"{launch}/{index}", arguments, jobs, trials.get(unit))
        for index, arguments in describe_differences(list(session.read_trials()), chosen).items()
    ]
    if stored.data.tags.get(STATE_TAG) != (state := conclude(rows)):
        tell_state(environment, launch, state)
    return rows


def _describe(unit: str, arguments: str, jobs: Mapping[str, Job], entry: "StoredRun | None") -> Row:
    if entry is None:
        return Row(unit=unit, arguments=arguments, job=jobs.get(unit))
    tags, values = entry.data.tags, entry.data.metrics
    return Row(
        unit=unit,
        arguments=arguments,
        job=jobs.get(unit),
        run_id=entry.info.run_id,
        state=tags.get(STATE_TAG),
        is_pruned=PRUNED_TAG in tags,
        attempts=int(tags.get(ATTEMPT_TAG, "0").partition("-")[0]),
        step=max((metric.step for metric in entry.to_proto().data.metrics), default=None),
        metric=next((f"{name} {values[name]:.4g}" for name in METRICS if name in values), ""),
    )


@asks_the_store
def _find_run(environment: Environment, identifier: str) -> "StoredRun":
    return connect(environment).get_run(identifier)
