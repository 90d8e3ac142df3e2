"""Machines on which the commands of an executor are given, and where its jobs have their folders there."""

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.cluster import ApptainerHost, SlurmCluster, find_cluster
from labkit.launch.host import Host
from labkit.launch.surroundings import find_file_of_store, refuse_file_of_store

H = TypeVar("H", SlurmCluster, ApptainerHost)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where jobs are.

    :ivar host: The machine on which commands are given.
    :ivar folder: The folder of all jobs there.
    """

    host: Host
    folder: PurePosixPath

    @property
    def quoted_folder(self) -> str:
        """The folder as one word of a shell."""
        return shlex.quote(str(self.folder))


def find_machine(name: str | None, environment: Environment, kind: type[H]) -> tuple[str, H]:
    """Find the profile of a machine, complete with what holds where it is this one.

    :param name: Its name; by default, the first profile of the kind.
    :param environment: Says in which project, and where runs are kept on this machine.
    :param kind: What the launcher can talk to.
    :return: The name and the profile.
    :raises UsageError: If there is none, or it does not say where runs are kept on another machine.
    """
    name, profile = find_cluster(environment.project_path, name, kind)
    return name, complete(profile, environment)


def complete(profile: H, environment: Environment) -> H:
    """Say in a profile where runs are kept, where it is this machine's and leaves that to ``RUNS_PATH``.

    :param profile: The profile.
    :param environment: Says where runs are kept here.
    :return: The profile with that.
    :raises UsageError: If it is another machine's, and does not say so.
    """
    runs = profile.paths.runs or (None if profile.host else PurePosixPath(environment.runs_path))
    if runs is None:
        raise UsageError(f"the profile of {profile.host} does not say where runs are kept there: give it paths.runs.")
    return profile.model_copy(update={"paths": profile.paths.model_copy(update={"runs": runs})})


def find_site(profile: SlurmCluster | ApptainerHost, folder: str) -> Site:
    """Find out where jobs are.

    :param profile: The profile, complete.
    :param folder: The name of their folder, in that of all runs.
    :return: The place.
    """
    assert profile.paths.runs is not None  # noqa: S101  it is complete
    return Site(host=Host(profile.host), folder=profile.paths.runs / folder)


def require_store(host: Host, environment: Environment) -> None:
    """Make sure that what is executed on a machine can be recorded.

    :param host: The machine.
    :param environment: Names the store.
    :raises UsageError: If the store is a file that only this machine has.
    """
    file = find_file_of_store(environment)
    if host.name is None or file is None:
        return
    place = file if file.exists() else file.parent
    if host.run(f"[[ -e {shlex.quote(str(place))} ]]").code:
        raise refuse_file_of_store(f"{host} cannot reach")
