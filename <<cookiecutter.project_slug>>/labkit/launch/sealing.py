"""Sealing what is to be run: checked by the entry point's own signature, and complete before anything executes."""

import contextlib
import random
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.arguments import write_arguments
from labkit.launch.launcher import Request
from labkit.launch.opening import require_source, select_secrets
from labkit.launch.project import find_entry_point
from labkit.launch.session import (
    Combination,
    Range,
    Session,
    draw,
    expand,
    find_seeds,
    find_spaces,
    parse_session,
    read_session,
    update_session,
)
from labkit.launch.trial import (
    CLUSTER_TAG,
    ENTRY_POINT,
    SESSION_FILE,
    SESSION_TAG,
    Manifest,
    SealedSession,
    Trial,
    mark,
    write_trials,
)
from labkit.launch.unit import Unit, parse_unit
from labkit.launch.version import checked_out
from labkit.secret import Masker, find_secrets_in_arguments, is_masked
from labkit.tracking.entry_point import LARGEST_SEED
from labkit.tracking.parameter import Plain, encode
from labkit.tracking.provenance import capture, describe_changes, describe_gaps
from labkit.tracking.run import Envelope, Run, create_run, open_run, read_tags

VERSION_TAG: Final = "labkit.version"
"""What the user called the version whose code is executed."""
HASH_OF_WHAT_IS_NOT_SEALED: Final = "0" * 64
PLACEHOLDER: Final = "ID"
"""Stands for the id in what `--dry-run` prints."""


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What a launcher hands over.

    :ivar identifier: The id of the run or the session.
    :ivar name: Its readable name.
    :ivar experiment_name: The experiment that it belongs to.
    :ivar session: What the user and the file say about how and where.
    :ivar trials: The numbers of the trials to execute; None for a run.
    :ivar secrets: The arguments of a run that it does not record.
    :ivar sha256: The hash of its code.
    """

    identifier: str
    name: str
    experiment_name: str
    session: Session
    trials: tuple[int, ...] | None = None
    secrets: dict[str, Plain] = field(default_factory=dict, repr=False)
    sha256: str = HASH_OF_WHAT_IS_NOT_SEALED

    @property
    def units(self) -> list[Unit]:
        """What executors are handed, one each."""
        if self.trials is None:
            return [Unit(self.identifier)]
        return [Unit(self.identifier, index) for index in self.trials]

    def require_no_secrets(self) -> None:
        """Make sure that nothing is needed which only this command line has said.

        :raises UsageError: If a secret is among the arguments.
        """
        if self.secrets:
            raise UsageError(
                f"--arguments has a secret, '{min(self.secrets)}', which nobody but this machine may see: "
                "let the study read it from a variable, which `credentials` brings to the job."
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is to be sealed, checked.

    :ivar session: What was asked for.
    :ivar trials: The runs to be.
    :ivar choices: What is chosen when a trial starts.
    :ivar seed: From which all chance in choosing derives.
    :ivar study: The experiment where no other is named.
    :ivar is_session: Whether it is a session, also one of a single trial, or a run.
    :ivar refuses_changes: Whether code that was not committed is refused.
    """

    session: Session
    trials: list[Trial]
    choices: dict[str, list[Plain] | Range]
    seed: int
    study: str
    is_session: bool
    refuses_changes: bool

    @property
    def experiment_name(self) -> str:
        """The experiment that all runs belong to."""
        return self.session.experiment_name or self.study


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is asked for, checked; what is new is not in the store yet.

    :ivar sealed: What is to be handed over; of what is new, neither the id nor the hash of the code are known.
    :ivar seal: Makes it complete in the store, and returns what is to be handed over.
    :ivar plan: What is new, in full; None for what is there already.
    :ivar masker: Knows what must not be shown.
    """

    sealed: Sealed
    seal: Callable[[], Sealed]
    plan: Plan | None
    masker: Masker

    def describe(self, units: Iterable[Unit]) -> str:
        """Write out what would be sealed, or of what is there already the units that would be handed over."""
        return "\n".join(map(str, units)) if self.plan is None else describe(self.plan, self.masker)


def seal(request: Request, environment: Environment, words: Sequence[str] | None = None) -> Sealed:
    """Make what is asked for complete in the tracking store, or find what is there already.

    With ``request.dry_run`` nothing is made, and what would be is printed.

    :param request: What is asked for.
    :param environment: Says which project, and which store.
    :param words: The command line, to be recorded; this process's own by default.
    :return: What to hand over to an executor.
    :raises UsageError: If anything about it is wrong; there is nothing new in the store then.
    """
    with propose(request, environment, words) as proposal:
        if request.dry_run:
            print(proposal.describe(proposal.sealed.units))
            return proposal.sealed
        return proposal.seal()


@contextlib.contextmanager
def propose(request: Request, environment: Environment, words: Sequence[str] | None = None) -> Generator[Proposal]:
    """Check what is asked for, so that whoever wants it can refuse it before anything is made.

    :param request: What is asked for.
    :param environment: Says which project, and which store.
    :param words: The command line, to be recorded; this process's own by default.
    :return: A context to seal in.
    :raises UsageError: If anything about it is wrong.
    """
    masker = Masker(environment.secrets())
    if request.run_id is not None:
        sealed = reopen(request, environment)
        yield Proposal(sealed=sealed, seal=lambda: sealed, plan=None, masker=masker)
        return
    session = read_session(request.file, request.options) if request.file else parse_session({}, request.options)
    with checked_out(environment.project_path, session.version) as project:
        plan = make_plan(session, project, masker, is_session=bool(request.file) or request.sweeps)
        would_be = _describe_sealed(plan, masker)

        def create() -> Sealed:
            code = replace(environment, project_path=project)
            run = _create(plan, environment, code, list(sys.argv if words is None else words))
            return replace(would_be, identifier=run.identifier, name=run.name, sha256=require_source(run).sha256)

        yield Proposal(sealed=would_be, seal=create, plan=plan, masker=masker)


def reopen(request: Request, environment: Environment) -> Sealed:
    """Find what has to be done of a run or a session that is there already.

    :param request: Names it.
    :param environment: Says which store.
    :return: What to hand over: of a session, the trials that have not ended, and if so asked those that failed.
    :raises UsageError: If there is none, or nothing is left to do.
    """
    from labkit.launch.standing import read_standings

    unit = parse_unit(request.run_id or "")
    run = open_run(environment, unit.identifier)
    sha256 = require_source(run).sha256
    given = request.options.get("arguments", {})
    options: Mapping[str, Any] = {name: value for name, value in request.options.items() if name != "arguments"}
    cluster = read_tags(environment, run.identifier).get(CLUSTER_TAG)
    remembered = {"cluster": cluster} if cluster else {}
    if run.envelope.entry_point != ENTRY_POINT:
        if unit.index is not None:
            raise UsageError(f"{unit.identifier} is a run, and no session that has trials.")
        run.require_unfinished()
        session = parse_session({"entry_point": run.envelope.entry_point, **remembered}, options)
        return Sealed(
            identifier=run.identifier,
            name=run.name,
            experiment_name=run.experiment_name,
            session=session,
            secrets=select_secrets(run, given),
            sha256=sha256,
        )
    if given:
        raise UsageError(f"the session {run.identifier} has its own arguments: leave out --arguments.")
    sealed = SealedSession(run)
    session = update_session(sealed.manifest.session, {**remembered, **options})
    if unit.index is not None:
        sealed.read_trial(unit.index)
        trials = (unit.index,)
    else:
        trials = tuple(standing.index for standing in read_standings(sealed) if standing.is_left(retry=request.retry))
    return Sealed(
        identifier=run.identifier,
        name=run.name,
        experiment_name=run.experiment_name,
        session=session,
        trials=trials,
        sha256=sha256,
    )


def make_plan(session: Session, project: Path, masker: Masker, *, is_session: bool) -> Plan:
    """Hold what is asked for to the signatures of the entry points, and write out every trial.

    :param session: What is asked for.
    :param project: The project's folder, whose code is to be executed.
    :param masker: Knows which arguments are secret.
    :param is_session: Whether it is a session, also one of a single trial.
    :return: The plan.
    :raises UsageError: If an argument is unknown, missing, or no value of its parameter.
    """
    is_session = is_session or len(session.entry_point) * len(session.arguments) > 1
    seed = random.SystemRandom().randint(0, LARGEST_SEED)
    choices: dict[str, list[Plain] | Range] = {}
    match session.search:
        case "grid":
            combinations = expand(session)
        case "random":
            combinations = draw(session, seed)
        case "bayesian":
            combinations, choices = _prepare_search(session, project)
    if len(combinations) > 1:
        is_session = True
    entry_points = {name: find_entry_point(project, name) for name in session.entry_point}
    trials: list[Trial] = []
    refuses_changes = False
    for number, combination in enumerate(combinations):
        entry_point = entry_points[combination.entry_point]
        given = entry_point.read(combination.arguments)
        arguments = entry_point.complete(given)
        if is_session and masker.mask_arguments(arguments) != arguments:
            raise UsageError(
                f"the arguments have a secret, '{_find_secret(masker, arguments)}', which no session records: let the "
                "study read it from a variable, which `credentials` keeps."
            )
        refuses_changes |= given.get("on_dirty") == "refuse"
        first = given.get("seed")
        for repetition, own_seed in enumerate(find_seeds(seed if first is None else first, session.repeat)):
            trials.append(
                Trial(
                    index=len(trials),
                    combination=number,
                    repetition=repetition,
                    entry_point=combination.entry_point,
                    arguments=arguments,
                    seed=own_seed,
                    expect=given.get("expect"),
                )
            )
    return Plan(
        session=session,
        trials=trials,
        choices=choices,
        seed=seed,
        study=entry_points[session.entry_point[0]].study,
        is_session=is_session or session.repeat > 1,
        refuses_changes=refuses_changes,
    )


def describe(plan: Plan, masker: Masker) -> str:
    """Write out what would be sealed.

    :param plan: The plan.
    :param masker: Knows what must not be shown, whatever it is called.
    :return: Lines of text: the session, and of every trial the command that would be executed.
    """
    lines = [f"experiment  {plan.experiment_name}"]
    for trial in plan.trials:
        arguments = {name: value for name, value in trial.arguments.items() if name not in plan.choices}
        arguments = Masker(find_secrets_in_arguments(arguments)).mask_arguments(masker.mask_arguments(arguments))
        unit = Unit(PLACEHOLDER, trial.index if plan.is_session else None)
        lines.append(f"{unit!s:<12}{trial.entry_point} seed={trial.seed},{write_arguments(arguments)}")
    for name, choice in plan.choices.items():
        shown = f"{choice.least} to {choice.most}" if isinstance(choice, Range) else write_arguments({name: choice})
        lines.append(f"chosen      {name.replace('_', '-')}: {shown}")
    return "\n".join(lines)


def _prepare_search(session: Session, project: Path) -> tuple[list[Combination], dict[str, list[Plain] | Range]]:
    """Check both ends of every range and every value, and leave the choice to when a trial starts."""
    (space,) = find_spaces(session)
    entry_point = find_entry_point(project, space.entry_point)
    choices: dict[str, list[Plain] | Range] = {}
    first: dict[str, Plain] = {}
    for name, choice in space.choices.items():
        values = [choice.least, choice.most] if isinstance(choice, Range) else choice
        others = {other: _first(of) for other, of in space.choices.items() if other != name}
        given = [entry_point.read({**space.fixed, **others, name: value})[name] for value in values]
        choices[name] = _typed(choice, given)
        first[name] = values[0]
    if not choices:
        raise UsageError("there is nothing to search: give an argument several values, or a range.")
    combination = Combination(entry_point=space.entry_point, arguments={**space.fixed, **first})
    return [combination] * (session.trials or 0), choices


def _first(choice: list[Plain] | Range) -> Plain:
    return choice.least if isinstance(choice, Range) else choice[0]


def _typed(choice: list[Plain] | Range, given: list[Any]) -> list[Plain] | Range:
    """Return a choice with values of the parameter's type."""
    if isinstance(choice, Range):
        return Range(least=given[0], most=given[1], log=choice.log)
    return [encode(value) for value in given]


def _find_secret(masker: Masker, arguments: Mapping[str, Plain]) -> str:
    masked = masker.mask_arguments(arguments)
    return next(name for name, value in arguments.items() if masked[name] != value)


def _describe_sealed(plan: Plan, masker: Masker) -> Sealed:
    """Describe what will be handed over, before it has an id."""
    arguments = plan.trials[0].arguments
    masked = masker.mask_arguments(arguments)
    return Sealed(
        identifier=PLACEHOLDER,
        name=plan.session.run_name or PLACEHOLDER,
        experiment_name=plan.experiment_name,
        session=plan.session,
        trials=tuple(range(len(plan.trials))) if plan.is_session else None,
        secrets={}
        if plan.is_session
        else {name: arguments[name] for name, value in masked.items() if is_masked(value)},
    )


def _create(plan: Plan, environment: Environment, code: Environment, words: list[str]) -> Run:
    session = plan.session
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secrets = find_secrets_in_arguments(plan.trials[0].arguments)
        provenance = capture(code, folder, words, secrets=secrets)
        source = provenance.source
        if plan.refuses_changes and source.is_dirty:
            raise UsageError(f"{describe_changes(source)}: commit first, or leave out on-dirty=refuse.")
        if gaps := describe_gaps(source):
            print(gaps, file=sys.stderr)
        if plan.is_session:
            manifest = Manifest(session=session, seed=plan.seed, trials=len(plan.trials), choices=plan.choices)
            (folder / SESSION_FILE).write_text(manifest.to_json(), encoding="utf-8")
            write_trials(plan.trials, folder)
            envelope = Envelope(entry_point=ENTRY_POINT, arguments={}, seed=plan.seed, source=source)
        else:
            (trial,) = plan.trials
            envelope = Envelope(
                entry_point=trial.entry_point,
                arguments=trial.arguments,
                seed=trial.seed,
                source=source,
                expect=trial.expect,
            )
        tags = {"mlflow.note.content": session.note, VERSION_TAG: session.version}
        run = create_run(
            environment,
            envelope,
            experiment_name=plan.experiment_name,
            run_name=session.run_name,
            tags=provenance.tags | {name: value for name, value in tags.items() if value},
            files=sorted(folder.iterdir()),
        )
    if plan.is_session:
        mark(environment, run.identifier, SESSION_TAG, run.identifier)
    return run
