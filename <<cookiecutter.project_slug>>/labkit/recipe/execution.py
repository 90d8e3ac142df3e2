"""Going through a recipe: what is needed is executed, judged and recorded, step by step."""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from labkit.command import UnavailableError, UsageError
from labkit.recipe.check import Findings, judge
from labkit.recipe.configuration import describe, walk
from labkit.recipe.context import Context, DataCache
from labkit.recipe.experiment import Experiment
from labkit.recipe.record import (
    ROLE_OF_STEP,
    History,
    Outcome,
    Record,
    create_part,
    write_record,
    write_standings,
)
from labkit.recipe.result import Result, collect, decode_numbers
from labkit.recipe.source import find_closure
from labkit.recipe.staleness import Fingerprint, find_versions, flatten, key_of
from labkit.recipe.standing import INTERRUPTED, Standing, State, assess
from labkit.recipe.step import Step
from labkit.seed import derive_seed
from labkit.tracking.attempt import partial_attempt
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Run, now

OnStale = Literal["warn", "rerun", "fail"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe, and what is wanted of it."""

    recipe: str
    experiment: Experiment
    steps: Sequence[Step]
    seed: int
    only: str | None = None
    start: str | None = None
    force: bool = False
    on_stale: OnStale = "rerun"

    def selects(self, position: int) -> bool:
        """Tell whether a step may be executed."""
        names = [step.name for step in self.steps]
        if self.only is not None:
            return names[position] == self.only
        return self.start is None or position >= names.index(self.start)

    def executes(self, standing: Standing) -> bool:
        """Tell whether a step is to be executed."""
        if not self.selects(standing.position):
            return False
        if standing.state is State.STALE and self.on_stale == "warn":
            return self.force
        return self.force or standing.needs_execution

    def judges(self, standing: Standing) -> bool:
        """Tell whether the results of a step are to be judged again: it is current, but its checks were edited."""
        return self.selects(standing.position) and standing.is_judged_otherwise and standing.state is not State.STALE


@dataclass
class Progress:
    """How far a recipe has come.

    :ivar standings: Of the steps so far.
    :ivar earlier: What they have left.
    :ivar keys: What they are to those after them.
    """

    plan: Plan
    history: History
    load: DataCache
    standings: list[Standing] = field(default_factory=list)
    earlier: dict[str, Result] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def assess_next(self) -> Standing:
        """Say where the step after those so far stands."""
        position = len(self.standings)
        step = self.plan.steps[position]
        return assess(step, position, self.fingerprint(step), self.history, self.earlier)

    def advance(self, standing: Standing) -> None:
        """Go past a step."""
        self.standings.append(standing)
        if standing.record:
            self.earlier[standing.name] = standing.record.result
            self.keys[standing.name] = key_of(standing.record.fingerprint, standing.record.result)
            if standing.state is State.STALE:
                self.keys[standing.name] += " (stale)"

    def experiment_for(self, step: Step) -> Experiment:
        """Return the recipe's experiment with what earlier steps have changed, and what the step changes."""
        experiment = self.plan.experiment
        for result in self.earlier.values():
            changes = result.data.get("changes")
            experiment = experiment.changed(decode_numbers(changes) if isinstance(changes, dict) else {})
        return experiment.changed(step.changes)

    def fingerprint(self, step: Step) -> Fingerprint:
        """Return all that a step's results would depend on now."""
        experiment = self.plan.experiment
        used = experiment if step.uses_task else experiment.data
        closure = find_closure([step, used])
        arguments = {"step": step.configuration, "experiment": describe(used), "seed": self.plan.seed}
        experiments = [experiment, *(part for part in walk(step) if isinstance(part, Experiment))]
        roots = [self.load(own.data).footprint.root for own in experiments]
        return Fingerprint(
            code=dict(sorted(closure.digests.items())),
            arguments=dict(flatten(arguments)),
            data={f"experiment {number}": root for number, root in enumerate(roots)},
            dependencies=find_versions(closure, self.load.environment.project_path),
            before=dict(self.keys),
        )


def look(plan: Plan, history: History, load: DataCache) -> list[Standing]:
    """Say where all steps stand, executing nothing.

    :param plan: The recipe.
    :param history: What was executed.
    :param load: Loads data.
    :return: A standing for each step.
    """
    progress = Progress(plan, history, load)
    for _ in plan.steps:
        progress.advance(progress.assess_next())
    return progress.standings


def execute(plan: Plan, run: Run, history: History, load: DataCache) -> list[Standing]:
    """Execute what is needed; the first step that fails is the last one.

    :param plan: The recipe, and what is wanted of it.
    :param run: The recipe run.
    :param history: What was executed before.
    :param load: Loads data.
    :return: Where the steps stand.
    :raises UsageError: If a step was given what cannot work; it is recorded as the step's failure.
    :raises UnavailableError: If a step lacks something; it is recorded as the step's failure.
    """
    progress = Progress(plan, history, load)
    standings = look(plan, history, load)
    _record(run, plan, standings)
    for step in plan.steps:
        history.refresh()
        standing = progress.assess_next()
        problem = None
        if plan.executes(standing):
            _announce(standing, plan)
            part = _create_step_run(run, plan, step, standing.position)
            begun = Standing(step.name, standing.position, State.RUNNING, being_executed=part.identifier)
            rest = standings[standing.position + 1 :]
            _record(run, plan, [*progress.standings, begun, *rest])
            try:
                standing, problem = _execute_step(step, progress, part, run)
            except Interruption:
                ended = replace(begun, state=State.INTERRUPTED, reasons=[INTERRUPTED])
                _record(run, plan, [*progress.standings, ended, *rest])
                raise
        elif standing.record and plan.judges(standing):
            standing = _judge_again(step, standing.record, standing, progress, run)
        progress.advance(standing)
        standings = _with_rest(progress)
        _record(run, plan, standings)
        if problem is not None:
            raise problem
        if standing.state is State.FAILED and plan.selects(standing.position):
            break
    return standings


def _with_rest(progress: Progress) -> list[Standing]:
    rest = Progress(
        progress.plan,
        progress.history,
        progress.load,
        list(progress.standings),
        dict(progress.earlier),
        dict(progress.keys),
    )
    while len(rest.standings) < len(rest.plan.steps):
        rest.advance(rest.assess_next())
    return rest.standings


def _record(run: Run, plan: Plan, standings: Sequence[Standing]) -> None:
    write_standings(run, plan.recipe, [standing.to_plain() for standing in standings])


def _announce(standing: Standing, plan: Plan) -> None:
    why = f" ({'; '.join(standing.reasons)})" if standing.reasons else ""
    print(f"{standing.position + 1}/{len(plan.steps)} {standing.name}: {standing.state}{why}", flush=True)


def _execute_step(
    step: Step, progress: Progress, run: Run, whole: Run
) -> tuple[Standing, UsageError | UnavailableError | None]:
    """Execute a step and record what came out, be it an exception; return the exception too that says what to do."""
    plan, position = progress.plan, len(progress.standings)
    fingerprint = progress.fingerprint(step)
    start = time.monotonic()
    error = problem = None
    result = Result()
    trainings: list[str] = []
    with partial_attempt(run, whole):
        try:
            context = Context(
                run,
                recipe=plan.recipe,
                step=step.name,
                experiment=progress.experiment_for(step),
                seed=derive_seed(plan.seed, "step", position),
                earlier=dict(progress.earlier),
                load=progress.load,
                inspections=step.inspections,
            )
            trainings = context.trainings
            result = collect(step.execute(context))
        except (UsageError, UnavailableError) as exception:
            error, problem = str(exception), exception
        except Exception as exception:
            error = "".join(traceback.format_exception_only(exception)).strip()
            _keep_traceback(run)
        verdicts = judge(step.checks, Findings(result, progress.earlier)) if error is None else []
        holds = all(verdict.holds for verdict in verdicts)
        record = Record(
            recipe=plan.recipe,
            experiment_name=run.experiment_name,
            name=step.name,
            position=position,
            time=now(),
            outcome=Outcome.ERROR if error is not None else Outcome.PASSED if holds else Outcome.FAILED,
            configuration=step.configuration,
            result=result,
            verdicts=verdicts,
            fingerprint=fingerprint,
            error=error,
            experiments=trainings,
            seconds=time.monotonic() - start,
            run_id=run.identifier,
        )
        write_record(run, record)
    progress.history.add(record)
    standing = assess(step, position, fingerprint, progress.history, progress.earlier)
    for verdict in standing.verdicts:
        print(f"  {'holds' if verdict.holds else 'FAILS'}: {verdict.reason}", flush=True)
    return standing, problem


def _keep_traceback(run: Run) -> None:
    text = run.masker.mask(traceback.format_exc())
    print(text, flush=True)
    path = run.folder / "logs" / "traceback.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    run.log_artifact(path, "logs")


def _create_step_run(whole: Run, plan: Plan, step: Step, position: int) -> Run:
    return create_part(
        whole,
        recipe=plan.recipe,
        role=ROLE_OF_STEP,
        step=step.name,
        name=step.name,
        seed=derive_seed(plan.seed, "step", position),
        arguments=step.configuration,
    )


def _judge_again(step: Step, old: Record, standing: Standing, progress: Progress, whole: Run) -> Standing:
    """Record what the checks say now of results that are there already."""
    plan = progress.plan
    run = _create_step_run(whole, plan, step, standing.position)
    holds = all(verdict.holds for verdict in standing.verdicts)
    record = replace(
        old,
        outcome=Outcome.PASSED if holds else Outcome.FAILED,
        verdicts=standing.verdicts,
        time=now(),
        judged_again=old.judged_again or old.run_id,
        run_id=run.identifier,
    )
    with partial_attempt(run, whole):
        write_record(run, record)
    progress.history.add(record)
    print(f"{standing.position + 1}/{len(plan.steps)} {standing.name}: judged again", flush=True)
    return replace(standing, record=record)


def has_work(plan: Plan, standings: Sequence[Standing]) -> bool:
    """Tell whether there is something to execute or to record."""
    for standing in standings:
        if not plan.selects(standing.position):
            continue
        if standing.state is State.STALE and plan.on_stale == "fail":
            return False
        if plan.executes(standing) or plan.judges(standing):
            return True
        if standing.state is State.FAILED:
            return False
    return False


def find_failure(plan: Plan, standings: Sequence[Standing]) -> str | None:
    """Say in a sentence what is wrong with the steps that were selected, if something is."""
    for standing in standings:
        if not plan.selects(standing.position):
            continue
        reasons = "; ".join(standing.reasons)
        if standing.state is State.FAILED:
            return f"the step '{standing.name}' failed: {reasons}."
        if standing.state is State.STALE and plan.on_stale == "fail":
            return f"the step '{standing.name}' is stale: {reasons}."
    return None


def show(standings: Sequence[Standing]) -> str:
    """Return a table of steps, one a line, with what is to be said of each."""
    width = max(len(standing.name) for standing in standings)
    lines: list[str] = []
    for standing in standings:
        holding = sum(verdict.holds for verdict in standing.verdicts)
        checks = f"{holding}/{len(standing.verdicts)} checks" if standing.record else ""
        lines.append(f"{standing.position + 1}  {standing.name:<{width}}  {standing.state:<11}  {checks}".rstrip())
        lines += [f"   {'':<{width}}  {reason}" for reason in standing.reasons]
    return "\n".join(lines)
