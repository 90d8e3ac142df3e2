"""A launch on a machine without a scheduler as plain data, and the script that executes it; pure."""

import json
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from labkit.command import UsageError
from labkit.launch.cluster import ApptainerHost, Resources
from labkit.launch.container import enter, find_variables
from labkit.launch.numbers import find_spans
from labkit.launch.render import render

TEMPLATE: Final = Path("deploy", "apptainer.sh.j2")
DEFAULTS: Final = Resources(nodes=1, tasks_per_node=1, gpus=0, max_restarts=100)


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that is started at once: a run, or trials of a session.

    :ivar launch: The id of the run or session.
    :ivar trials: The numbers of the trials, sorted; None for a run.
    :ivar lanes: The accelerators of those that are executed at the same time: ``0,1``; empty for none.
    :ivar folder: The folder of all jobs, on the host.
    :ivar host: The profile of the host.
    :ivar resources: What each unit gets.
    :ivar sha256: The hash of the code.
    :ivar binds: Further folders that the container is to see.
    """

    launch: str
    trials: tuple[int, ...] | None = None
    lanes: tuple[str, ...]
    folder: PurePosixPath
    host: ApptainerHost
    resources: Resources
    sha256: str
    binds: tuple[PurePosixPath, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def name(self) -> str:
        """Its name on the host, which no other one has had."""
        return f"{self.launch}-{self.token}"

    @property
    def own_folder(self) -> PurePosixPath:
        """Its folder."""
        return self.folder / self.name

    @property
    def record(self) -> str:
        """What is remembered of it on the host, as long as its folder is there."""
        spans = None if self.trials is None else find_spans(self.trials)
        return json.dumps({"launch": self.launch, "trials": spans, "lanes": self.lanes})

    @property
    def order(self) -> str:
        """What the bootstrap is told."""
        resources = self.resources.over(DEFAULTS)
        return json.dumps(
            {
                "launch": self.launch,
                "sha256": self.sha256,
                "trials": None if self.trials is None else find_spans(self.trials),
                "nodes": 1,
                "processes": resources.tasks_per_node,
            }
        )


def render_job(template: Path, job: Job) -> str:
    """Write the script of a job.

    :param template: ``deploy/apptainer.sh.j2``.
    :param job: The job.
    :return: The script; no argument of a run stands in it, and no secret.
    """
    resources = job.resources.over(DEFAULTS)
    python = enter(job.host, job.own_folder, *job.binds, gpus=resources.gpus)
    return render(
        template,
        command=shlex.join([*python, "bootstrap.py", job.order]),
        folder=job.own_folder,
        lanes=job.lanes,
        max_restarts=resources.max_restarts,
        units=1 if job.trials is None else len(job.trials),
        variables=dict(sorted({**find_variables(job.host), "JOB_ID": job.name}.items())),
    )


def require_one_machine(resources: Resources) -> None:
    """Make sure that nobody asks for several.

    :param resources: What each unit is to get.
    :raises UsageError: If somebody does.
    """
    if (resources.nodes or 1) > 1:
        raise UsageError("a machine without a scheduler is one machine: leave out --nodes.")


def choose_lanes(idle: Sequence[int], gpus: int, parallel: int | None, units: int) -> tuple[str, ...]:
    """Distribute accelerators.

    :param idle: The numbers of those that nobody uses.
    :param gpus: How many each unit gets.
    :param parallel: How many units are executed at the same time at most; without accelerators one by default.
    :param units: How many there are.
    :return: What each of those gets that are executed at the same time.
    :raises UsageError: If there are too few.
    """
    if gpus == 0:
        return ("",) * min(parallel or 1, units)
    groups = [idle[start : start + gpus] for start in range(0, len(idle) - gpus + 1, gpus)]
    if not groups:
        raise UsageError(f"{gpus} idle GPUs are needed, and there are {len(idle)}: name them with --devices, or wait.")
    return tuple(",".join(map(str, group)) for group in groups[: min(parallel or units, units)])
