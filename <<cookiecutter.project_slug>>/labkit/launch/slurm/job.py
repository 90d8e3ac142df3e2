"""A job of Slurm as plain data, and the script that Slurm executes for it; pure."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from labkit.launch.render import render
from labkit.launch.slurm.array import Array
from labkit.launch.slurm.name import Name

CREDENTIALS: Final = "credentials"
"""The file in a job's folder with what the job must know and nobody else; only its owner may read it."""
JOBS: Final = "jobs"
"""The file in a job's folder with the numbers that Slurm gave the job, the folder of all jobs too."""
STOPPED: Final = "stopped"
"""The file in a job's folder that keeps it from being put back into the queue."""
OUTPUT: Final = "output"
"""The folder in that of a job with what each task has printed, over all restarts."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each task of a job gets.

    :ivar nodes: The machines that share one task.
    :ivar tasks_per_node: The processes on each.
    :ivar gpus: The accelerators of each machine.
    :ivar cpus: The cores of each process.
    :ivar memory: The memory of each machine, as Slurm writes it: ``16G``.
    :ivar time: The limit, as Slurm writes it: ``1-12:00:00``.
    :ivar signal_before: How many seconds before the limit a task is told to write a checkpoint and go back into the
        queue.
    :ivar further: Further options of ``sbatch`` by name, such as ``partition``; None for one without a value.
    """

    nodes: int = 1
    tasks_per_node: int = 1
    gpus: int = 0
    cpus: int = 1
    memory: str | None = None
    time: str | None = None
    signal_before: int = 600
    further: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_shared(self) -> bool:
        """Whether several processes share each task."""
        return self.nodes * self.tasks_per_node > 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that is submitted at once: a run, or trials of a session as an array.

    :ivar launch: The id of the run or session.
    :ivar part: Which of the launch's jobs it is.
    :ivar array: The trials, None for a run.
    :ivar throttle: How many tasks may run at the same time.
    :ivar folder: The folder of all jobs, on the host; all nodes share its file system.
    :ivar resources: What each task gets.
    :ivar max_restarts: How often a task may go back into the queue.
    :ivar opener: The words of the command that executes a unit.
    :ivar modules: What is loaded by ``module load``.
    :ivar variables: Variables of the environment, none of them secret.
    """

    launch: str
    part: int = 0
    array: Array | None = None
    throttle: int | None = None
    folder: PurePosixPath
    resources: Resources
    max_restarts: int
    opener: tuple[str, ...]
    modules: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> Name:
        """Its name in Slurm's queue."""
        return Name(launch=self.launch, part=self.part, offset=self.array.offset if self.array else None)

    @property
    def own_folder(self) -> PurePosixPath:
        """Its folder: each job has a new one."""
        return self.folder / str(self.name)

    @property
    def options(self) -> dict[str, str | None]:
        """What is said to ``sbatch``, sorted, so that scripts are easily compared."""
        resources = self.resources
        throttle = f"%{self.throttle}" if self.throttle else ""
        task = "%a" if self.array else "0"
        options = {
            **resources.further,
            "array": f"{self.array}{throttle}" if self.array else None,
            "chdir": str(self.own_folder),
            "cpus-per-task": str(resources.cpus),
            "export": "NONE",
            "gpus-per-node": str(resources.gpus) if resources.gpus else None,
            "job-name": str(self.name),
            "mem": resources.memory,
            "nodes": str(resources.nodes),
            "ntasks-per-node": str(resources.tasks_per_node),
            "open-mode": "append",
            "output": str(self.own_folder / OUTPUT / f"{task}.txt").replace("%", "%%").replace("%%a", "%a"),
            "signal": f"B:USR1@{resources.signal_before}",
            "time": resources.time,
        }
        said = {name: value for name, value in options.items() if value is not None or name in resources.further}
        return dict(sorted({"requeue": None, **said}.items()))


def render_job(template: Path, job: Job) -> str:
    """Write the script of a job.

    :param template: ``deploy/slurm.sh.j2``.
    :param job: The job.
    :return: The script; no argument of a run stands in it.
    """
    resources = job.resources
    words = job.opener
    if resources.is_shared:
        # Slurm tells a step neither the environment of a job that has none of its user's, nor the cores of a process.
        words = ("srun", "--export=ALL", f"--cpus-per-task={resources.cpus}", "--kill-on-bad-exit=0", *words)
    return render(
        template,
        command=shlex.join(words),
        folder=job.own_folder,
        launch=job.launch,
        max_restarts=job.max_restarts,
        modules=job.modules,
        offset=job.array.offset if job.array else None,
        options=job.options,
        tasks=len(job.array.tasks) if job.array else 1,
        variables=dict(sorted(job.variables.items())),
    )
