"""Handing runs and sessions over: what every launcher does for other machines, but for its last step."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from labkit.command import EXIT_DONE, UnavailableError
from labkit.environment import Environment
from labkit.launch.cluster import AnyCluster, Resources
from labkit.launch.launcher import Request
from labkit.launch.sealing import Sealed, propose
from labkit.launch.session import Session
from labkit.launch.surroundings import find_variables
from labkit.launch.trial import CLUSTER_TAG, mark

J = TypeVar("J")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What of a launch is to be executed.

    :ivar launch: The id of the run or session.
    :ivar trials: The numbers of the trials, sorted; None for a run.
    :ivar session: What was asked for.
    :ivar resources: What each gets.
    :ivar sha256: The hash of the code.
    """

    launch: str
    trials: tuple[int, ...] | None = None
    session: Session
    resources: Resources
    sha256: str


class Executor(Protocol[J]):
    """Whoever executes what is handed over: the queue of a cluster, a namespace, a machine.

    :ivar name: The name of its profile.
    :ivar profile: The profile.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def profile(self) -> AnyCluster: ...  # noqa: D102

    def find_under_way(self) -> Collection[str]:
        """Find the units that wait or are executed; it raises where the executor does not answer."""
        ...

    def plan(self, order: Order) -> list[J]:
        """Divide an order into jobs; it raises where that cannot be."""
        ...

    def show(self, job: J, variables: Mapping[str, str]) -> str:
        """Write out what would be sent, without the values of variables that only the job may see."""
        ...

    def submit(self, jobs: Sequence[J], variables: Mapping[str, str]) -> Iterator[str]:
        """Hand jobs over one after the other, each as a whole or not at all; yield what to call each."""
        ...


def hand_over(
    request: Request, environment: Environment, connect: Callable[[str | None, Environment], Executor[J]]
) -> int:
    """Launch what is asked for. All that can be refused is refused before anything is sealed.

    :param request: What is asked for.
    :param environment: The user's own.
    :param connect: Finds the executor by the name of its profile.
    :return: The exit code.
    """
    with propose(request, environment) as proposal:
        proposal.sealed.require_no_secrets()
        executor = connect(proposal.sealed.session.cluster, environment)
        variables = find_variables(environment)
        # Of what is new, nothing is under way; but whoever is to execute it has to answer.
        is_asked = request.run_id is not None or not request.dry_run
        under_way = executor.find_under_way() if is_asked else ()
        jobs = _plan(executor, proposal.sealed, under_way)
        texts = [executor.show(job, variables) for job in jobs]
        if request.dry_run:
            print(proposal.describe(unit for unit in proposal.sealed.units if str(unit) not in under_way))
            print("".join(texts), end="")
            return EXIT_DONE
        sealed = proposal.seal()
    if not jobs:
        scheduler = executor.profile.scheduler
        print(f"Nothing is left to submit: what has not finished is under way, see `{scheduler}-status`.")
        return EXIT_DONE
    kind = "run" if sealed.trials is None else "session"
    print(f"{kind:<12}{sealed.identifier} ({sealed.name}, experiment {sealed.experiment_name})", flush=True)
    mark(environment, sealed.identifier, CLUSTER_TAG, executor.name)
    _submit(executor, sealed.identifier, _plan(executor, sealed, under_way), variables)
    return EXIT_DONE


def make_order(sealed: Sealed, under_way: Collection[str], profile: AnyCluster) -> Order | None:
    """Leave out what is under way; pure.

    :param sealed: What is to be executed.
    :param under_way: The units that wait or are executed.
    :param profile: Says what each unit gets where the session says nothing.
    :return: The order; None if nothing is left.
    """
    units = [unit for unit in sealed.units if str(unit) not in under_way]
    if not units:
        return None
    return Order(
        launch=sealed.identifier,
        trials=None if sealed.trials is None else tuple(sorted(unit.index for unit in units if unit.index is not None)),
        session=sealed.session,
        resources=sealed.session.resources.over(profile.resources),
        sha256=sealed.sha256,
    )


def _plan(executor: Executor[J], sealed: Sealed, under_way: Collection[str]) -> list[J]:
    order = make_order(sealed, under_way, executor.profile)
    return executor.plan(order) if order else []


def _submit(executor: Executor[J], launch: str, jobs: list[J], variables: Mapping[str, str]) -> None:
    done: list[str] = []
    try:
        for submitted in executor.submit(jobs, variables):
            print(f"{'job':<12}{submitted}", flush=True)
            done.append(submitted)
    except UnavailableError as error:
        raise UnavailableError(
            f"{error} {len(done)} of {len(jobs)} jobs are submitted; the rest follow by: "
            f"{executor.profile.scheduler}-launch --run-id {launch}"
        ) from error
