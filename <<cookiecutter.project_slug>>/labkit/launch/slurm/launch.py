"""Handing runs and sessions to Slurm: `slurm-launch --help`."""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Self

from labkit.environment import Environment
from labkit.launch.cluster import SlurmCluster
from labkit.launch.container import require_place
from labkit.launch.handover import Order, hand_over
from labkit.launch.launcher import Request, launcher, resource_options, unit_option
from labkit.launch.numbers import write_numbers
from labkit.launch.site import Site, find_machine, find_site, require_store
from labkit.launch.slurm.array import split
from labkit.launch.slurm.controller import FOLDER_OF_JOBS, View, find_others, look, submit
from labkit.launch.slurm.job import DEFAULTS, TEMPLATE, Job, render_job
from labkit.launch.surroundings import write_exports


@launcher(unit_option, resource_options)
def slurm_launch(request: Request) -> int:
    """Hand runs to Slurm, a session as an array of jobs; each executes the code that it was sealed with.

    What is under way or has finished is not submitted again. Before its limit of time, or where others go first, a job
    writes a checkpoint and goes back into the queue. Examples: slurm-launch --entry-point train --gpus 1 --time 4h,
    slurm-launch --session sessions/learning-rate.yaml --parallel 4, slurm-launch --run-id 4f0c12
    """
    return hand_over(request, Environment.read(), Queue.connect)


@dataclass(frozen=True)
class Queue:
    """Slurm's queue, to hand runs over to.

    :ivar name: The name of the cluster's profile.
    :ivar profile: The profile.
    :ivar site: Where Slurm's commands are given.
    :ivar template: The script of every job, to be filled in.
    :ivar binds: Further folders that a container is to see.
    """

    name: str
    profile: SlurmCluster
    site: Site
    template: Path
    binds: tuple[PurePosixPath, ...] = ()

    @classmethod
    def connect(cls, name: str | None, environment: Environment) -> Self:
        """Find the queue of a cluster.

        :param name: The name of its profile; the first of Slurm by default.
        :param environment: Says in which project, and which store.
        :return: The queue.
        :raises UsageError: If there is no such cluster, or it does not reach the store.
        """
        name, profile = find_profile(name, environment)
        site = find_site(profile, FOLDER_OF_JOBS)
        require_store(site.host, environment)
        binds = () if profile.host else (PurePosixPath(environment.project_path),)
        return cls(name, profile, site, environment.project_path / TEMPLATE, binds)

    @cached_property
    def view(self) -> View:
        """What there is already."""
        return look(self.site)

    def find_under_way(self) -> Collection[str]:
        """Find the units of jobs that wait or run."""
        return {entry.unit for entry in self.view.entries if entry.is_active}

    def plan(self, order: Order) -> list[Job]:
        """Divide an order into arrays as large as the cluster takes."""
        return plan_jobs(order, self.profile, self.site, self.view, self.binds)

    def show(self, job: Job, variables: Mapping[str, str]) -> str:  # noqa: ARG002  a script has none of them
        """Write out a job's script."""
        return f"\n{self.site.host}: {job.own_folder / 'job.sh'}\n{render_job(self.template, job)}"

    def submit(self, jobs: Sequence[Job], variables: Mapping[str, str]) -> Iterator[str]:
        """Submit jobs; of a limited session, one waits for the other, since Slurm counts within an array."""
        after = find_others(jobs[0].launch, self.view) if jobs[0].throttle else []
        for job in jobs:
            job_id = submit(self.site, job, render_job(self.template, job), write_exports(variables), after)
            after = [job_id] if job.throttle else []
            trials = f", trials {write_numbers(job.trials)}" if job.trials else ""
            yield f"{job_id} on {self.site.host}{trials}"


def plan_jobs(
    order: Order, cluster: SlurmCluster, site: Site, view: View, binds: tuple[PurePosixPath, ...] = ()
) -> list[Job]:
    """Decide what is to be submitted; pure.

    :param order: What is to be executed.
    :param cluster: The profile of the cluster.
    :param site: Where its commands are given.
    :param view: What has been submitted already.
    :param binds: Further folders that a container is to see.
    :return: The jobs.
    :raises UsageError: If there is no time to work, or nothing to execute a unit in.
    """
    order.resources.over(DEFAULTS).require_time_to_work()
    require_place(cluster)
    arrays = [None] if order.trials is None else split(order.trials, view.max_array_size)
    return [
        Job(
            launch=order.launch,
            part=number,
            array=array,
            throttle=order.session.parallel,
            folder=site.folder,
            cluster=cluster,
            resources=order.resources,
            sha256=order.sha256,
            binds=binds,
        )
        for number, array in enumerate(arrays, start=view.next_part(order.launch))
    ]


def find_profile(name: str | None, environment: Environment) -> tuple[str, SlurmCluster]:
    """Find the profile of a cluster.

    :param name: Its name; by default, the first that is one of Slurm.
    :param environment: Says in which project, and which account pays where the profile does not say.
    :return: The name and the profile, complete.
    """
    name, cluster = find_machine(name, environment, SlurmCluster)
    return name, cluster.model_copy(update={"account": cluster.account or environment.default_slurm_account})


def open_site(name: str | None, environment: Environment) -> Site:
    """Find out where a cluster's commands are given.

    :param name: The name of its profile; the first of Slurm by default.
    :param environment: Says in which project.
    :return: The place.
    """
    _, profile = find_profile(name, environment)
    return find_site(profile, FOLDER_OF_JOBS)


if __name__ == "__main__":
    sys.exit(slurm_launch.main())
