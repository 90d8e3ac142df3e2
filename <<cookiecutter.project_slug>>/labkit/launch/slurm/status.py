"""Where jobs of Slurm and their runs stand: `slurm-status --help`."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.arguments import write_arguments
from labkit.launch.slurm.controller import find_site, look
from labkit.launch.slurm.launch import find_profile
from labkit.launch.slurm.queue import Entry, choose
from labkit.launch.slurm.selection import find_jobs_of, select
from labkit.launch.trial import ENTRY_POINT, SESSION_TAG, TRIAL_TAG, SealedSession, Trial
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import connect, open_run
from labkit.tracking.state import ATTEMPT_TAG, STATE_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run as StoredRun

HEADINGS: Final = ("unit", "job", "Slurm", "run", "state", "restarts", "step", "metric", "arguments")
MOST_ROWS: Final = 100
"""Of more, those are left out that only wait, and those that have finished."""
METRICS: Final = ("validation/loss", "train/loss", "train/loss_step")
"""What is shown of a run is the first of these that it has."""
PAGE: Final = 1000
"""Runs that the store is asked for at once."""


@command
def slurm_status(target: str | None = None, *, cluster: str | None = None) -> None:
    """Show where jobs and their runs stand: in Slurm's words and in those of the runs.

    Examples: slurm-status, slurm-status 4f0c12, slurm-status 4f0c12/3

    :param target: The id of a session or a run, SESSION/NUMBER for a trial, or Slurm's number of a job or task; by
        default, all that Slurm's queue has.
    :param cluster: A profile in deploy/clusters.yaml; the first of Slurm by default.
    """
    environment = Environment.read()
    site = find_site(find_profile(cluster, environment), environment)
    view = look(site)
    choices = [] if target is None else find_jobs_of(environment, target, view)
    jobs = choose(view.entries if target is None else select(choices, view))
    launches = {choice.name.launch for choice in choices} | {entry.name.launch for entry in jobs.values()}
    standings = [standing for launch in sorted(launches) for standing in _collect(environment, launch, jobs)]
    if single := {choice.name.unit(choice.task) for choice in choices if choice.task is not None}:
        standings = [standing for standing in standings if standing.unit in single]
    if not standings:
        print(f"There is nothing of Labkit's in the queue of {site.host}.")
        return
    print(summarise(standings))
    print(make_table(standings))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a run or a trial stands.

    :ivar unit: The run's id or ``SESSION/NUMBER``.
    :ivar arguments: What tells it from the others.
    :ivar job: What Slurm's queue has of it.
    :ivar run_id: Its run; None before it starts.
    :ivar state: The run's state.
    :ivar attempts: How often the run was begun, in whatever job.
    :ivar step: The newest step that has been recorded.
    :ivar metric: A metric of the run, with its name.
    """

    unit: str
    arguments: str
    job: Entry | None = None
    run_id: str | None = None
    state: str | None = None
    attempts: int = 0
    step: int | None = None
    metric: str = ""

    @property
    def word(self) -> str:
        """One word for it: Slurm's while a job is in the queue, else the run's."""
        if self.job and (self.job.is_active or self.state is None):
            return self.job.state
        return self.state or "not submitted"

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to tell about it."""
        return self.word in {"PENDING", "not submitted", "finished"}

    @property
    def row(self) -> tuple[str, ...]:
        """Its row of the table, under :data:`HEADINGS`."""
        restarts = max(self.attempts - 1, self.job.restarts if self.job else 0)
        slurm = f"{self.job.state} {f'({self.job.reason})' if self.job.reason else self.job.time}" if self.job else ""
        return (
            self.unit,
            self.job.job_id if self.job else "",
            slurm,
            self.run_id or "",
            self.state or "",
            str(restarts),
            "" if self.step is None else str(self.step),
            self.metric,
            self.arguments,
        )


def summarise(standings: Sequence[Standing]) -> str:
    """Say in a line how many there are of each kind.

    :param standings: All of them.
    :return: The line, the most frequent kind first.
    """
    counts = Counter(standing.word for standing in standings)
    return f"{len(standings)}: {', '.join(f'{count} {word}' for word, count in counts.most_common())}"


def make_table(standings: Sequence[Standing]) -> str:
    """Write a row for each run or trial.

    :param standings: All of them; of very many, those about which there is nothing to tell are left out.
    :return: Lines, the columns under each other, without those that are empty.
    """
    shown = [standing for standing in standings if len(standings) <= MOST_ROWS or not standing.is_quiet]
    rows = [HEADINGS, *(standing.row for standing in shown)]
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in zip(*columns, strict=True)]
    return "\n".join(lines)


def describe_differences(trials: Sequence[Trial]) -> dict[int, str]:
    """Write of each trial the arguments that not all trials share, and the seed where they are repeated.

    :param trials: The trials of a session.
    :return: Texts by the trials' numbers.
    """
    names = {name: None for trial in trials for name in trial.arguments}
    differing = [
        name for name in names if any(trial.arguments.get(name) != trials[0].arguments.get(name) for trial in trials)
    ]
    repeated = any(trial.repetition for trial in trials)
    return {
        trial.index: write_arguments(
            {name: trial.arguments[name] for name in differing if name in trial.arguments}
            | ({"seed": trial.seed} if repeated else {})
        )
        for trial in trials
    }


def _collect(environment: Environment, launch: str, jobs: Mapping[str, Entry]) -> Iterator[Standing]:
    """Yield where the run or each trial of a launch stands; of another project's, only what Slurm says."""
    try:
        run = open_run(environment, launch)
    except UsageError:
        yield from (
            Standing(unit=unit, arguments="", job=job) for unit, job in jobs.items() if job.name.launch == launch
        )
        return
    if run.envelope.entry_point != ENTRY_POINT:
        yield _describe(
            launch, write_arguments(run.arguments), jobs, _find_stored(environment, launch, is_session=False)
        )
        return
    stored = _find_stored(environment, launch, is_session=True)
    for index, arguments in describe_differences(list(SealedSession(run).read_trials())).items():
        yield _describe(f"{launch}/{index}", arguments, jobs, stored)


def _describe(unit: str, arguments: str, jobs: Mapping[str, Entry], stored: Mapping[str, "StoredRun"]) -> Standing:
    job, entry = jobs.get(unit), stored.get(unit)
    if entry is None:
        return Standing(unit=unit, arguments=arguments, job=job)
    tags, values = entry.data.tags, entry.data.metrics
    metric = next((f"{name} {values[name]:.4g}" for name in METRICS if name in values), "")
    return Standing(
        unit=unit,
        arguments=arguments,
        job=job,
        run_id=entry.info.run_id,
        state=tags.get(STATE_TAG),
        attempts=int(tags.get(ATTEMPT_TAG, "0").partition("-")[0]),
        step=max((metric.step for metric in entry.to_proto().data.metrics), default=None),
        metric=metric,
    )


@asks_the_store
def _find_stored(environment: Environment, launch: str, *, is_session: bool) -> dict[str, "StoredRun"]:
    """Return what the store has of a run or of a session's trials, by unit."""
    store = connect(environment)
    entry = store.get_run(launch)
    if not is_session:
        return {launch: entry}
    found: dict[str, StoredRun] = {}
    token = None
    while True:
        page = store.search_runs(
            [entry.info.experiment_id], f"tags.`{SESSION_TAG}` = '{launch}'", max_results=PAGE, page_token=token
        )
        found |= {run.data.tags[TRIAL_TAG]: run for run in page if TRIAL_TAG in run.data.tags}
        token = page.token
        if not token:
            return found
