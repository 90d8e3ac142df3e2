"""Starting runs and sessions on a machine without a scheduler: `apptainer-launch --help`."""

from pathlib import PurePosixPath
from typing import Final, cast

from labkit.command import EXIT_DONE, UsageError
from labkit.environment import Environment
from labkit.launch.apptainer.controller import Process, Site, find_idle, find_site, look, start
from labkit.launch.apptainer.job import TEMPLATE, Job, choose_lanes, render_job, require_one_machine
from labkit.launch.cluster import ApptainerHost, find_cluster
from labkit.launch.container import require_place
from labkit.launch.launcher import Request, launcher, resource_options, unit_option
from labkit.launch.sealing import Sealed, find_hash, seal
from labkit.launch.session import Session, read_session
from labkit.launch.surroundings import find_variables, write_exports

HASH_OF_A_DRY_RUN: Final = "0" * 64
SQLITE: Final = "sqlite:///"


@launcher(unit_option, resource_options)
def apptainer_launch(request: Request, *, devices: str = "") -> int:
    """Start runs on a machine without a scheduler, in containers; each executes the code that it was sealed with.

    They go on without the connection. What is under way or has finished is not started again. Examples:
    apptainer-launch --entry-point train --gpus 1, apptainer-launch --session sessions/learning-rate.yaml --gpus 1
    --devices 0,1, apptainer-launch --run-id 4f0c12

    :param devices: The numbers of the accelerators to use, 0,1; by default all that are idle.
    """
    environment = Environment.read()
    named = read_session(request.file, request.options).cluster if request.file else None
    profile = find_profile(request.options.get("cluster") or named, environment)
    site = find_site(profile, PurePosixPath(environment.runs_path))
    require_reachable(profile, environment)
    work = [] if request.dry_run else look(site)  # before anything is sealed
    idle = read_devices(devices) or (find_idle(site.host) if _needs_accelerators(request, profile) else [])

    def check(session: Session) -> None:
        resources = session.resources.over(profile.resources)
        require_one_machine(resources)
        require_place(profile)
        choose_lanes(idle, resources.gpus or 0, None, units=1)

    sealed = seal(request, environment, check=check, for_other_machines=True)
    sha256 = HASH_OF_A_DRY_RUN if request.dry_run else find_hash(sealed, environment)
    job = plan_job(sealed, profile, site, work, idle=idle, sha256=sha256, environment=environment)
    if job is None:
        print("Nothing is left to start: what has not finished is under way, see `apptainer-status`.")
        return EXIT_DONE
    script = render_job(environment.project_path / TEMPLATE, job)
    if request.dry_run:
        print(f"\n{site.host}: {job.own_folder / 'job.sh'}\n{script}", end="")
        return EXIT_DONE
    kind = "run" if sealed.trials is None else "session"
    print(f"{kind:<12}{sealed.identifier} ({sealed.name}, experiment {sealed.experiment_name})", flush=True)
    start(site, job, script, write_exports(find_variables(environment)))
    print(f"{'job':<12}{job.name} on {site.host}")
    return EXIT_DONE


def plan_job(
    sealed: Sealed,
    profile: ApptainerHost,
    site: Site,
    work: list[Process],
    *,
    idle: list[int],
    sha256: str,
    environment: Environment,
) -> Job | None:
    """Decide what is to be started.

    :param sealed: What is to be executed.
    :param profile: The profile of the host.
    :param site: Where its jobs are.
    :param work: What there is already.
    :param idle: The accelerators to use.
    :param sha256: The hash of the code.
    :param environment: The user's own.
    :return: The job; None where all is under way.
    """
    resources = sealed.session.resources.over(profile.resources)
    active = [job for job in work if job.is_active and job.launch == sealed.identifier]
    trials = sealed.trials
    if trials is not None:
        under_way = {trial for job in active for trial in job.trials or ()}
        trials = tuple(sorted(set(trials) - under_way))
    if trials == () or (trials is None and active):
        return None
    units = 1 if trials is None else len(trials)
    local_runs = PurePosixPath(environment.runs_path)
    paths = profile.paths.model_copy(update={"runs": profile.paths.runs or local_runs})
    return Job(
        launch=sealed.identifier,
        trials=trials,
        lanes=choose_lanes(idle, resources.gpus or 0, sealed.session.parallel, units),
        folder=site.folder,
        host=profile.model_copy(update={"paths": paths}),
        resources=resources,
        sha256=sha256,
        binds=() if profile.host else (PurePosixPath(environment.project_path),),
    )


def find_profile(name: str | None, environment: Environment) -> ApptainerHost:
    """Find the profile of a host.

    :param name: Its name; by default, the first that has no scheduler.
    :param environment: Says in which project.
    :return: The profile.
    """
    return cast("ApptainerHost", find_cluster(environment.project_path, name, "apptainer"))


def require_reachable(profile: ApptainerHost, environment: Environment) -> None:
    """Make sure that the tracking store is not a file of this machine, where the host is another one.

    :param profile: The profile of the host.
    :param environment: Names the store.
    :raises UsageError: If it is.
    """
    if profile.host and environment.mlflow_tracking_uri.startswith(SQLITE):
        raise UsageError(
            f"the runs are recorded in a file of this machine, which {profile.host} cannot reach: name the address of "
            "a server in MLFLOW_TRACKING_URI."
        )


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


def _needs_accelerators(request: Request, profile: ApptainerHost) -> bool:
    gpus = request.options.get("resources", {}).get("gpus")
    return bool(profile.resources.gpus if gpus is None else gpus)
