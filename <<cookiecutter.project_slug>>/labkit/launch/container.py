"""Containers of Apptainer, in which Slurm and machines without a scheduler execute runs; pure."""

from pathlib import PurePosixPath

from labkit.command import UsageError
from labkit.launch.cluster import Cluster


def require_place(cluster: Cluster) -> None:
    """Make sure that there is something to execute runs in.

    :param cluster: The profile.
    :raises UsageError: If it names neither an image nor an environment.
    """
    if cluster.image is None and cluster.paths.environment is None:
        raise UsageError("the profile names neither a container nor paths.environment: give it one.")


def enter(cluster: Cluster, folder: PurePosixPath, *binds: PurePosixPath, gpus: int | None) -> list[str]:
    """Write the command that Python is, in the container or the environment of a profile.

    :param cluster: The profile.
    :param folder: The folder that the container is entered in.
    :param binds: Further folders that it is to see, beside those of the profile.
    :param gpus: How many accelerators it is to see.
    :return: The words.
    """
    environment = cluster.paths.environment
    python = f"{environment}/bin/python" if environment else "python"
    if cluster.image is None:
        return [python]
    options = write_options(cluster, folder, *binds, gpus=gpus)
    return ["apptainer", "exec", *options, "--pwd", str(folder), write_image(cluster.image), python]


def write_options(cluster: Cluster, *binds: PurePosixPath, gpus: int | None) -> list[str]:
    """Write what a container is to see.

    :param cluster: The profile, with the folders.
    :param binds: Further folders.
    :param gpus: How many accelerators.
    :return: Options of Apptainer.
    """
    paths = cluster.paths
    folders = dict.fromkeys([*binds, paths.environment, paths.runs, paths.data, paths.data_ephemeral])
    words = [word for folder in folders if folder for word in ("--bind", str(folder))]
    return ["--nv", *words] if gpus else words


def write_image(image: str) -> str:
    """Write an image as Apptainer takes it.

    :param image: A file, or a name in a registry.
    :return: The file, or the address.
    """
    is_as_it_is = image.startswith("/") or image.endswith(".sif") or "://" in image
    return image if is_as_it_is else f"docker://{image}"


def find_variables(cluster: Cluster) -> dict[str, str]:
    """Collect what a profile tells every run.

    :param cluster: The profile.
    :return: Variables by name, sorted; the image is recorded with the run.
    """
    image = {"TRAINING_IMAGE": cluster.image} if cluster.image else {}
    return dict(sorted({**cluster.variables, **cluster.paths.variables, **image}.items()))
