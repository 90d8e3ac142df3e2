"""Searching: what earlier trials were worth decides which arguments come next, and which trials end early.

Optuna decides; what it knows is in one file in the session's folder, which any number of processes share, on one
machine or on several with that file system in common. A study knows nothing of it: a trial's validation metric is read
from what the run records.
"""

import signal
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from labkit.command import EXIT_DONE, EXIT_INTERRUPTED, EXIT_KILLED
from labkit.launch.session import Range
from labkit.launch.standing import PRUNED_TAG, find_best
from labkit.launch.trial import SealedSession, Trial, mark
from labkit.seed import derive_seed
from labkit.tracking.parameter import Plain
from labkit.tracking.run import Run
from labkit.tracking.spool import FILE_NAME, read_history, read_records

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as AskedTrial

JOURNAL: Final = "search.journal"
INDEX: Final = "index"
"""The attribute of Optuna's trial that holds the number of the session's."""
SECONDS_BETWEEN_LOOKS: Final = 1.0


def is_adaptive(session: SealedSession) -> bool:
    """Tell whether a session's trials depend on one another."""
    return session.manifest.session.search == "bayesian" or session.manifest.session.prune


def choose(session: SealedSession, trial: Trial) -> dict[str, Plain]:
    """Choose the arguments of a trial that has no run yet; asked again, the same.

    :param session: The session.
    :param trial: The trial.
    :return: All arguments.
    """
    study = _open_study(session, trial.index)
    known = _find(study, trial.index)
    if known is None:
        asked = study.ask(_describe_choices(session))
        asked.set_user_attr(INDEX, trial.index)
        parameters = asked.params
    else:
        parameters = known.params
    choices = session.manifest.choices
    return {**trial.arguments, **{name: _pick(choices[name], chosen) for name, chosen in parameters.items()}}


def watch(session: SealedSession, index: int, run: Run) -> Callable[["subprocess.Popen[bytes]"], int]:
    """Return what waits for a trial's process, tells Optuna what it is worth, and ends it where others do better.

    :param session: The session.
    :param index: The trial's number.
    :param run: The trial's run.
    :return: A function that returns the exit code; that of a trial which was ended early is 0.
    """

    def wait(process: "subprocess.Popen[bytes]") -> int:
        observer = _Observer(session, index, run)
        while True:
            try:
                code = process.wait(timeout=SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                if observer.finds_it_hopeless():
                    process.send_signal(signal.SIGINT)
                continue
            return observer.conclude(code)

    return wait


class _Observer:
    """Follows what a run records."""

    def __init__(self, session: SealedSession, index: int, run: Run) -> None:
        self._session = session.manifest.session
        self._metric = self._session.metric or ""
        self._study = _open_study(session, index)
        self._run = run
        self._offset = 0
        self._trial = _find_or_ask(self._study, index)
        self._is_pruned = False
        self._has_ended_before = _has_ended(self._study, index)

    def finds_it_hopeless(self) -> bool:
        """Report what is new, and tell whether the trial is to be ended now."""
        if self._is_pruned or self._has_ended_before or not self._session.prune:
            return False
        self._report_news()
        self._is_pruned = self._trial.should_prune()
        return self._is_pruned

    def _report_news(self) -> None:
        spool = self._run.folder / FILE_NAME
        for offset, record in read_records(spool, self._offset) if spool.exists() else ():
            self._offset = offset
            if self._metric in record.get("metrics", {}):
                self._trial.report(record["metrics"][self._metric], record["step"])

    def conclude(self, code: int) -> int:
        """Tell Optuna how the trial ended, and return the exit code."""
        from optuna.trial import TrialState

        if code == EXIT_INTERRUPTED or (code == EXIT_KILLED and not self._is_pruned):
            return code  # it goes on later
        if self._session.prune and not self._has_ended_before:
            self._report_news()  # what others are compared with
        spool = self._run.folder / FILE_NAME
        history = read_history(spool) if spool.exists() else {}
        score = find_best(self._session, history.get(self._metric, ([], []))[1])
        if code == EXIT_KILLED:
            mark(self._run.environment, self._run.identifier, PRUNED_TAG, "true")
            self._study.tell(self._trial, state=TrialState.PRUNED, skip_if_finished=True)
            return EXIT_DONE
        if code != EXIT_DONE or score is None:
            self._study.tell(self._trial, state=TrialState.FAIL, skip_if_finished=True)
        else:
            self._study.tell(self._trial, score, skip_if_finished=True)
        return code


def _open_study(session: SealedSession, index: int) -> "Study":
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(session.folder / JOURNAL)
    # A link is what file systems in a network lock by; this lock is an exclusively created file.
    backend = JournalFileBackend(path, lock_obj=JournalFileOpenLock(path))
    asked_for = session.manifest.session
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=session.identifier,
        direction="maximize" if asked_for.maximise else "minimize",
        # Of every trial another one, or those that begin together would draw the same.
        sampler=optuna.samplers.TPESampler(seed=derive_seed(session.manifest.seed, "search", index) % 2**32),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )


def _has_ended(study: "Study", index: int) -> bool:
    """Tell whether Optuna has closed a trial, as one that failed and is tried again."""
    known = _find(study, index)
    return known is not None and known.state.is_finished()


def _find_or_ask(study: "Study", index: int) -> "AskedTrial":
    """Return Optuna's trial; where nothing is chosen, as in a grid, it is only compared with the others."""
    from optuna.trial import Trial as AskedTrial

    known = _find(study, index)
    if known is None:
        asked = study.ask()
        asked.set_user_attr(INDEX, index)
        return asked
    return AskedTrial(study, known._trial_id)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the only way back


def _find(study: "Study", index: int) -> "FrozenTrial | None":
    trials = study.get_trials(deepcopy=False)
    return next((trial for trial in trials if trial.user_attrs.get(INDEX) == index), None)


def _pick(choice: list[Plain] | Range, chosen: Any) -> Plain:
    return chosen if isinstance(choice, Range) else choice[chosen]


def _describe_choices(session: SealedSession) -> "dict[str, BaseDistribution]":
    """Describe the choices as Optuna has them; of listed values, it chooses the number."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distributions: dict[str, BaseDistribution] = {}
    for name, choice in session.manifest.choices.items():
        if isinstance(choice, Range):
            kind = IntDistribution if choice.is_whole else FloatDistribution
            distributions[name] = kind(choice.least, choice.most, log=choice.log)  # pyright: ignore[reportArgumentType]
        else:
            distributions[name] = CategoricalDistribution(range(len(choice)))
    return distributions
