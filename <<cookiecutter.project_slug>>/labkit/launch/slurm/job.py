"""A job of Slurm as plain data, and the script that Slurm executes for it; pure."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from labkit.launch.cluster import Resources, SlurmCluster
from labkit.launch.container import enter, find_variables
from labkit.launch.duration import parse_duration
from labkit.launch.render import render
from labkit.launch.slurm.array import Array
from labkit.launch.slurm.name import Name

TEMPLATE: Final = Path("deploy", "slurm.sh.j2")
CREDENTIALS: Final = "credentials"
"""The file in a job's folder with what the job must know and nobody else; only its owner may read it."""
BOOTSTRAP: Final = "bootstrap.py"
"""The file in a job's folder that opens a unit in a container."""
JOBS: Final = "jobs"
"""The file in a job's folder with the numbers that Slurm gave the job, the folder of all jobs too."""
STOPPED: Final = "stopped"
"""The file in a job's folder that keeps it from being put back into the queue."""
OUTPUT: Final = "output"
"""The folder in that of a job with what each task has printed, over all restarts."""


DEFAULTS: Final = Resources(nodes=1, tasks_per_node=1, signal_before="2m", max_restarts=100)
"""What a task gets where nobody says; of the rest, what the cluster gives by itself."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that is submitted at once: a run, or trials of a session as an array.

    :ivar launch: The id of the run or session.
    :ivar part: Which of the launch's jobs it is.
    :ivar array: The trials, None for a run.
    :ivar throttle: How many tasks may run at the same time.
    :ivar folder: The folder of all jobs, on the host; all nodes share its file system.
    :ivar cluster: The profile of the cluster.
    :ivar resources: What each task gets.
    :ivar sha256: The hash of the code.
    :ivar binds: Further folders that a container is to see.
    """

    launch: str
    part: int = 0
    array: Array | None = None
    throttle: int | None = None
    folder: PurePosixPath
    cluster: SlurmCluster
    resources: Resources
    sha256: str
    binds: tuple[PurePosixPath, ...] = ()

    @property
    def name(self) -> Name:
        """Its name in Slurm's queue."""
        return Name(launch=self.launch, part=self.part, offset=self.array.offset if self.array else None)

    @property
    def trials(self) -> tuple[int, ...]:
        """The numbers of the trials that it executes."""
        return tuple(self.array.offset + task for task in self.array.tasks) if self.array else ()

    @property
    def own_folder(self) -> PurePosixPath:
        """Its folder: each job has a new one."""
        return self.folder / str(self.name)

    @property
    def options(self) -> dict[str, str | None]:
        """What is said to ``sbatch``, sorted, so that scripts are easily compared; None for what has no value."""
        resources = self.resources.over(DEFAULTS)
        throttle = f"%{self.throttle}" if self.throttle else ""
        # Of a per cent sign Slurm makes something of its own.
        output = str(self.own_folder / OUTPUT).replace("%", "%%") + ("/%a.txt" if self.array else "/0.txt")
        options = {
            "account": self.cluster.account,
            "array": f"{self.array}{throttle}" if self.array else None,
            "chdir": self.own_folder,
            "cpus-per-task": resources.cpus,
            "export": "NONE",
            "gpus-per-node": resources.gpus or None,
            "job-name": self.name,
            "mem": resources.memory,
            "nodes": resources.nodes,
            "ntasks-per-node": resources.tasks_per_node,
            "open-mode": "append",
            "output": output,
            "partition": self.cluster.partition,
            "signal": f"B:USR1@{parse_duration(resources.signal_before or '')}",
            "time": resources.time and write_time(parse_duration(resources.time)),
        }
        said = {name: str(value) for name, value in options.items() if value is not None}
        requeue = {} if "no-requeue" in self.cluster.options else {"requeue": None}
        return dict(sorted({**requeue, **self.cluster.options, **said}.items()))


def find_opener(job: Job) -> list[str]:
    """Find the command that executes a unit; in an image there is no code, so that it is fetched first.

    :param job: The job.
    :return: The words of the command, to which the unit is added.
    """
    if job.cluster.image is None:
        return [f"{job.cluster.paths.environment}/bin/local-launch"]
    order = {"launch": job.launch, "sha256": job.sha256, "trials": None, "nodes": 1, "processes": 1}
    python = enter(job.cluster, job.own_folder, *job.binds, gpus=job.resources.gpus)
    return [*python, BOOTSTRAP, json.dumps(order)]


def write_time(seconds: int) -> str:
    """Write a span of time as Slurm does: ``1-12:00:00``.

    :param seconds: The span; Slurm counts whole minutes.
    :return: The text.
    """
    minutes = -(-seconds // 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02d}:{minutes % 60:02d}:00"


def render_job(template: Path, job: Job) -> str:
    """Write the script of a job.

    :param template: ``deploy/slurm.sh.j2``.
    :param job: The job.
    :return: The script; no argument of a run stands in it.
    """
    resources = job.resources.over(DEFAULTS)
    words = find_opener(job)
    if resources.nodes != 1 or resources.tasks_per_node != 1:
        # Slurm tells a step neither the environment of a job that has none of its user's, nor the cores of a process.
        cores = () if resources.cpus is None else (f"--cpus-per-task={resources.cpus}",)
        words = ["srun", "--export=ALL", "--kill-on-bad-exit=0", *cores, *words]
    return render(
        template,
        command=shlex.join(words),
        folder=job.own_folder,
        launch=job.launch,
        max_restarts=resources.max_restarts,
        modules=job.cluster.modules,
        offset=job.array.offset if job.array else None,
        options=job.options,
        tasks=len(job.array.tasks) if job.array else 1,
        variables=find_variables(job.cluster),
    )
