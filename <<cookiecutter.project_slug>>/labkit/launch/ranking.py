"""What the trials of a session were worth: a table, best first, and the same for other programs as CSV."""

import contextlib
import csv
import io
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labkit.atomic import write_atomically
from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.session import Session
from labkit.launch.standing import Standing, find_best
from labkit.launch.trial import SealedSession, Trial, find_differences
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import connect
from labkit.tracking.spool import FILE_NAME, read_history
from labkit.tracking.state import State

if TYPE_CHECKING:
    from rich.table import Table

FILE: Final = "results.csv"
PRUNED: Final = "pruned"
WAITING: Final = "not started"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one trial.

    :ivar trial: The trial.
    :ivar standing: Where it stands.
    :ivar arguments: What tells it from the others.
    :ivar score: The best value of the metric by which trials are judged; None where it has none.
    """

    trial: Trial
    standing: Standing
    arguments: Mapping[str, str]
    score: float | None

    @property
    def state(self) -> str:
        """Where it stands, in a word."""
        return PRUNED if self.standing.is_pruned else self.standing.state or WAITING


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results of one combination, over its repetitions."""

    results: list[Result]

    @property
    def scores(self) -> list[float]:
        """The scores of the repetitions that have one and came to their end."""
        done = {State.FINISHED}
        return [result.score for result in self.results if result.score is not None and result.standing.state in done]

    @property
    def mean(self) -> float | None:
        """Their mean."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, of two or more."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def collect(session: SealedSession, standings: Sequence[Standing]) -> list[Result]:
    """Put together what is known of every trial.

    :param session: The session.
    :param standings: Where each trial stands.
    :return: The results in the order of the trials.
    """
    trials = list(session.read_trials())
    names = [*find_differences(trials), *session.manifest.choices]
    has_several = len({trial.entry_point for trial in trials}) > 1
    results: list[Result] = []
    for trial, standing in zip(trials, standings, strict=True):
        shown = {name: standing.parameters.get(name, "") for name in session.manifest.choices}
        shown |= {name: str(trial.arguments.get(name, "")) for name in names if name not in shown}
        if has_several:
            shown = {"entry_point": trial.entry_point, **shown}
        results.append(Result(trial=trial, standing=standing, arguments=shown, score=_read_score(session, standing)))
    return results


def rank(session: Session, results: Sequence[Result]) -> list[Row]:
    """Order combinations by their mean score; those without one come last, in their own order.

    :param session: Says which is better.
    :param results: The results.
    :return: One row for each combination.
    """
    rows: dict[int, list[Result]] = {}
    for result in results:
        rows.setdefault(result.trial.combination, []).append(result)

    def key(row: Row) -> tuple[bool, float]:
        mean = row.mean
        return (mean is None or math.isnan(mean), 0.0 if mean is None else -mean if session.maximise else mean)

    return sorted((Row(results=one) for one in rows.values()), key=key)


def write_csv(session: Session, rows: Sequence[Row]) -> str:
    """Write one line for each trial, the best combination first.

    :param session: Says what the score is.
    :param rows: The ranked combinations.
    :return: The text.
    """
    names = list(rows[0].results[0].arguments) if rows else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "trial", "repetition", "seed", *names, session.metric or "score", "state", "run"])
    for number, row in enumerate(rows, start=1):
        for result in row.results:
            trial = result.trial
            score = "" if result.score is None else repr(result.score)
            run_id = result.standing.run_id or ""
            place = number if row.mean is not None else ""
            table.writerow(
                [
                    place,
                    trial.index,
                    trial.repetition,
                    trial.seed,
                    *result.arguments.values(),
                    score,
                    result.state,
                    run_id,
                ]
            )
    return text.getvalue()


def make_table(session: Session, rows: Sequence[Row]) -> "Table":
    """Make a table for people: one line for each combination.

    :param session: Says what the score is.
    :param rows: The ranked combinations.
    :return: The table.
    """
    from rich.table import Table

    names = list(rows[0].results[0].arguments) if rows else []
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ["", "trial", *(name.replace("_", "-") for name in names), session.metric or "", "state", "run"]:
        table.add_column(column, overflow="fold")
    for number, row in enumerate(rows, start=1):
        first = row.results[0]
        states = [result.state for result in row.results]
        counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
        table.add_row(
            str(number) if row.mean is not None else "",
            ", ".join(str(result.trial.index) for result in row.results),
            *first.arguments.values(),
            _show(row),
            states[0] if len(states) == 1 else ", ".join(counts),
            (first.standing.run_id or "") if len(states) == 1 else "",
        )
    return table


def read_results(session: SealedSession) -> list[list[str]]:
    """Read what was kept of a session's results, as the store has it.

    :param session: The session.
    :return: The headings and the lines; nothing where none were kept.
    """
    with tempfile.TemporaryDirectory(dir=session.folder) as folder, contextlib.suppress(UsageError):
        path = session.run.download(FILE, Path(folder) / FILE)
        return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    return []


def keep(session: SealedSession, text: str) -> Path:
    """Keep the results with the session, here and in the artifact store.

    :param session: The session.
    :param text: The content of ``results.csv``.
    :return: Its path.
    """
    path = session.folder / FILE
    with write_atomically(path) as file:
        file.write(text.encode())
    _upload(session.run.environment, session.identifier, path)
    return path


@asks_the_store
def _upload(environment: Environment, identifier: str, path: Path) -> None:
    connect(environment).log_artifact(identifier, str(path))


def _show(row: Row) -> str:
    if row.mean is None:
        return ""
    return f"{row.mean:.6g}" + ("" if row.deviation is None else f" ± {row.deviation:.2g}")


def _read_score(session: SealedSession, standing: Standing) -> float | None:
    metric = session.manifest.session.metric
    if metric is None or standing.run_id is None:
        return None
    spool = session.run.environment.runs_path / standing.run_id / FILE_NAME
    if spool.exists():
        values = read_history(spool).get(metric, ([], []))[1]
    else:
        values = _ask_for_values(session.run.environment, standing.run_id, metric)
    return find_best(session.manifest.session, values)


@asks_the_store
def _ask_for_values(environment: Environment, identifier: str, metric: str) -> list[float]:
    return [entry.value for entry in connect(environment).get_metric_history(identifier, metric)]
