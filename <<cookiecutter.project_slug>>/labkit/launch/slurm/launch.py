"""Handing runs and sessions to Slurm: `slurm-launch --help`."""

import sys
from pathlib import PurePosixPath
from typing import Final, cast

from labkit.command import EXIT_DONE, UnavailableError
from labkit.environment import Environment
from labkit.launch.cluster import SlurmCluster, find_cluster
from labkit.launch.container import require_place
from labkit.launch.launcher import Request, launcher, resource_options, unit_option
from labkit.launch.sealing import Sealed, find_hash, seal
from labkit.launch.session import Session, read_session
from labkit.launch.slurm.array import write_numbers
from labkit.launch.slurm.controller import Site, View, find_others, find_site, look, plan, submit
from labkit.launch.slurm.job import DEFAULTS, TEMPLATE, Job, render_job
from labkit.launch.surroundings import find_variables, write_exports

HASH_OF_A_DRY_RUN: Final = "0" * 64


@launcher(unit_option, resource_options)
def slurm_launch(request: Request) -> int:
    """Hand runs to Slurm, a session as an array of jobs; each executes the code that it was sealed with.

    What is under way or has finished is not submitted again. Before its limit of time, or where others go first, a job
    writes a checkpoint and goes back into the queue. Examples: slurm-launch --entry-point train --gpus 1 --time 4h,
    slurm-launch --session sessions/learning-rate.yaml --parallel 4, slurm-launch --run-id 4f0c12
    """
    environment = Environment.read()
    cluster = find_profile(request.options.get("cluster") or _named_in_file(request), environment)
    site = find_site(cluster, environment)
    view = View() if request.dry_run else look(site)  # before anything is sealed

    def check(session: Session) -> None:
        session.resources.over(cluster.resources).over(DEFAULTS).require_time_to_work()
        require_place(cluster)

    sealed = seal(request, environment, check=check, for_other_machines=True)
    sha256 = HASH_OF_A_DRY_RUN if request.dry_run else find_hash(sealed, environment)
    binds = () if cluster.host else (PurePosixPath(environment.project_path),)
    jobs = plan_jobs(sealed, cluster, site, view, sha256=sha256, binds=binds)
    scripts = [render_job(environment.project_path / TEMPLATE, job) for job in jobs]
    if request.dry_run:
        print(
            "\n".join(
                f"\n{site.host}: {job.own_folder / 'job.sh'}\n{script}"
                for job, script in zip(jobs, scripts, strict=True)
            )
        )
        return EXIT_DONE
    kind = "run" if sealed.trials is None else "session"
    print(f"{kind:<12}{sealed.identifier} ({sealed.name}, experiment {sealed.experiment_name})", flush=True)
    variables = write_exports(find_variables(environment))
    # Slurm counts how many run at a time within an array: one follows the other.
    after = find_others(sealed.identifier, view) if sealed.session.parallel else []
    for number, (job, script) in enumerate(zip(jobs, scripts, strict=True)):
        try:
            job_id = submit(site, job, script, variables, after)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error} {number} of {len(jobs)} jobs are submitted; the rest follow by: "
                f"slurm-launch --run-id {sealed.identifier}"
            ) from error
        after = [job_id] if job.throttle else []
        trials = f", trials {write_numbers(job.trials)}" if job.trials else ""
        print(f"{'job':<12}{job_id} on {site.host}{trials}", flush=True)
    if not jobs:
        print("Nothing is left to submit: what has not finished is under way, see `slurm-status`.")
    return EXIT_DONE


def plan_jobs(
    sealed: Sealed,
    cluster: SlurmCluster,
    site: Site,
    view: View,
    *,
    sha256: str,
    binds: tuple[PurePosixPath, ...] = (),
) -> list[Job]:
    """Decide what is to be submitted; pure.

    :param sealed: What is to be executed.
    :param cluster: The profile of the cluster.
    :param site: Where its commands are given.
    :param view: What has been submitted already.
    :param sha256: The hash of the code.
    :param binds: Further folders that a container is to see.
    :return: The jobs, none for what is under way.
    """
    resources = sealed.session.resources.over(cluster.resources)
    if sealed.trials is None:
        arrays = [] if any(entry.unit == sealed.identifier and entry.is_active for entry in view.entries) else [None]
    else:
        arrays = plan(sealed.trials, sealed.identifier, view)
    return [
        Job(
            launch=sealed.identifier,
            part=number,
            array=array,
            throttle=sealed.session.parallel,
            folder=site.folder,
            cluster=cluster,
            resources=resources,
            sha256=sha256,
            binds=binds,
        )
        for number, array in enumerate(arrays, start=view.next_part(sealed.identifier))
    ]


def find_profile(name: str | None, environment: Environment) -> SlurmCluster:
    """Find the profile of a cluster.

    :param name: Its name; by default, the first that is one of Slurm.
    :param environment: Says in which project, and which account pays where the profile does not say.
    :return: The profile.
    """
    cluster = cast("SlurmCluster", find_cluster(environment.project_path, name, "slurm"))
    return cluster.model_copy(update={"account": cluster.account or environment.default_slurm_account})


def _named_in_file(request: Request) -> str | None:
    return read_session(request.file, request.options).cluster if request.file else None


if __name__ == "__main__":
    sys.exit(slurm_launch.main())
