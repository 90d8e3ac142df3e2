"""Starting runs and sessions on a machine without a scheduler: `apptainer-launch --help`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Self

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.apptainer.controller import FOLDER_OF_JOBS, Process, find_idle, look, start
from labkit.launch.apptainer.job import TEMPLATE, Job, choose_lanes, render_job, require_one_machine
from labkit.launch.cluster import ApptainerHost
from labkit.launch.container import require_place
from labkit.launch.handover import Order, hand_over
from labkit.launch.launcher import Request, launcher, resource_options, unit_option
from labkit.launch.site import Site, find_machine, find_site, require_store
from labkit.launch.surroundings import write_exports


@launcher(unit_option, resource_options)
def apptainer_launch(request: Request, *, devices: str = "") -> int:
    """Start runs on a machine without a scheduler, in containers; each executes the code that it was sealed with.

    They go on without the connection. What is under way or has finished is not started again. Examples:
    apptainer-launch --entry-point train --gpus 1, apptainer-launch --session sessions/learning-rate.yaml --gpus 1
    --devices 0,1, apptainer-launch --run-id 4f0c12

    :param devices: The numbers of the accelerators to use, 0,1; by default all that are idle.
    """
    chosen = read_devices(devices)
    return hand_over(request, Environment.read(), lambda name, environment: Machine.connect(name, environment, chosen))


@dataclass(frozen=True)
class Machine:
    """A machine without a scheduler, to hand runs over to.

    :ivar name: The name of its profile.
    :ivar profile: The profile.
    :ivar site: Where its jobs are.
    :ivar template: The script of every job, to be filled in.
    :ivar devices: The accelerators to use; all that are idle where none are named.
    :ivar binds: Further folders that a container is to see.
    """

    name: str
    profile: ApptainerHost
    site: Site
    template: Path
    devices: Sequence[int]
    binds: tuple[PurePosixPath, ...]

    @classmethod
    def connect(cls, name: str | None, environment: Environment, devices: Sequence[int]) -> Self:
        """Find a machine.

        :param name: The name of its profile; the first without a scheduler by default.
        :param environment: Says in which project, and which store.
        :param devices: The accelerators to use.
        :return: The machine.
        :raises UsageError: If there is no such machine, or it does not reach the store.
        """
        name, profile = find_machine(name, environment, ApptainerHost)
        site = find_site(profile, FOLDER_OF_JOBS)
        require_store(site.host, environment)
        binds = () if profile.host else (PurePosixPath(environment.project_path),)
        return cls(name, profile, site, environment.project_path / TEMPLATE, devices, binds)

    @cached_property
    def processes(self) -> list[Process]:
        """What there is already."""
        return look(self.site)

    @cached_property
    def accelerators(self) -> Sequence[int]:
        """Those to use: named, or idle. A job that has just begun has not touched its own yet."""
        if self.devices:
            return self.devices
        taken = {number for process in self.processes for number in process.accelerators}
        return [number for number in find_idle(self.site.host) if number not in taken]

    def find_under_way(self) -> Collection[str]:
        """Find the units that wait or are executed, of jobs whose process is there."""
        active = [process for process in self.processes if process.is_active]
        return {
            process.unit(place) for process in active for place in range(process.size) if place not in process.ended
        }

    def plan(self, order: Order) -> list[Job]:
        """Make one job of an order, with the accelerators of those units that are executed at the same time."""
        require_one_machine(order.resources)
        require_place(self.profile)
        gpus = order.resources.gpus or 0
        units = 1 if order.trials is None else len(order.trials)
        job = Job(
            launch=order.launch,
            trials=order.trials,
            lanes=choose_lanes(self.accelerators if gpus else [], gpus, order.session.parallel, units),
            folder=self.site.folder,
            host=self.profile,
            resources=order.resources,
            sha256=order.sha256,
            binds=self.binds,
        )
        return [job]

    def show(self, job: Job, variables: Mapping[str, str]) -> str:  # noqa: ARG002  a script has none of them
        """Write out a job's script."""
        return f"\n{self.site.host}: {job.own_folder / 'job.sh'}\n{render_job(self.template, job)}"

    def submit(self, jobs: Sequence[Job], variables: Mapping[str, str]) -> Iterator[str]:
        """Start jobs."""
        for job in jobs:
            start(self.site, job, render_job(self.template, job), write_exports(variables))
            yield f"{job.name} on {self.site.host}"


def read_devices(text: str) -> list[int]:
    """Read the numbers of accelerators.

    :param text: The numbers, with commas between them.
    :return: The numbers.
    :raises UsageError: If one is none.
    """
    words = text.split(",") if text else []
    if wrong := next((word for word in words if not word.strip().isdecimal()), None):
        raise UsageError(f"--devices has {wrong!r}: give the numbers of accelerators, such as 0,1.")
    return [int(word) for word in words]
