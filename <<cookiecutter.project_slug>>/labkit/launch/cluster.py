"""Where work can be sent: the profiles in ``deploy/clusters.yaml``, which a user edits."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from labkit.command import UsageError
from labkit.launch.duration import parse_duration
from labkit.launch.record import Record, explain, read_yaml, with_underscores

FILE: Final = Path("deploy", "clusters.yaml")

Memory = Annotated[str, Field(pattern=r"^\d+[KMGT]$")]
"""An amount of memory: ``512M``, ``16G``."""
TimeSpan = Annotated[str, AfterValidator(lambda text: parse_duration(text) and text)]
"""A span of time: ``90s``, ``10m``, ``4h``, ``2d`` or ``1d12h``."""


class Resources(Record):
    """What each run gets; None where neither the user, the session nor the profile says.

    :ivar nodes: The machines that share one run.
    :ivar tasks_per_node: The processes on each of them.
    :ivar gpus: The accelerators of each machine.
    :ivar cpus: The cores of each process.
    :ivar memory: The memory of each machine: ``16G``.
    :ivar time: How long a run may take: ``4h``.
    :ivar signal_before: How long before that limit it is told to write a checkpoint: ``10m``.
    :ivar max_restarts: How often it may begin anew from its checkpoint.
    """

    nodes: Annotated[int, Field(ge=1)] | None = None
    tasks_per_node: Annotated[int, Field(ge=1)] | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    memory: Memory | None = None
    time: TimeSpan | None = None
    signal_before: TimeSpan | None = None
    max_restarts: Annotated[int, Field(ge=0)] | None = None

    def over(self, other: "Resources") -> "Resources":
        """Return these resources, and where they say nothing the other ones."""
        return other.model_copy(update=self.model_dump(exclude_none=True))

    def require_time_to_work(self) -> None:
        """Make sure that no checkpoint would have to be written before a run begins.

        :raises UsageError: If it would.
        """
        if self.time and self.signal_before and parse_duration(self.time) <= parse_duration(self.signal_before):
            raise UsageError(
                f"--time {self.time} leaves nothing after --signal-before {self.signal_before}: give more of the one, "
                "or less of the other."
            )


class Paths(Record):
    """Where things are on the cluster, for all of its machines.

    :ivar environment: The folder of the Python environment with what the lock names, where no container has it.
    :ivar runs: ``RUNS_PATH`` there.
    :ivar data: ``DATA_PATH`` there.
    :ivar data_ephemeral: ``DATA_EPHEMERAL_PATH`` there: a disk of each machine's own.
    """

    environment: PurePosixPath | None = None
    runs: PurePosixPath | None = None
    data: PurePosixPath | None = None
    data_ephemeral: PurePosixPath | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that tell them to a run."""
        named = {"RUNS_PATH": self.runs, "DATA_PATH": self.data, "DATA_EPHEMERAL_PATH": self.data_ephemeral}
        return {name: str(path) for name, path in named.items() if path}


class Cluster(Record):
    """A profile: a place to send work to, and what holds for all that is sent there.

    :ivar resources: What a run gets where nothing else is said.
    :ivar paths: Where things are there.
    :ivar container: The image that runs are executed in, or ``none``: an environment on the cluster's file system.
    :ivar variables: Variables that every run finds in its environment; nothing secret.
    """

    resources: Resources = Resources()
    paths: Paths = Paths()
    container: str = "none"
    variables: Mapping[str, str] = {}

    @property
    def image(self) -> str | None:
        """The image to execute runs in; None for an environment on the file system."""
        return None if self.container == "none" else self.container


class SlurmCluster(Cluster):
    """A cluster that Slurm schedules.

    :ivar host: The login node, as in ``ssh HOST``; None where the commands are given on the login node itself.
    :ivar account: Who pays; ``DEFAULT_SLURM_ACCOUNT`` where nothing is said.
    :ivar partition: The partition; Slurm's own default where nothing is said.
    :ivar modules: What ``module load`` loads before a run.
    :ivar options: Further options of ``sbatch`` by name, without hyphens in front; null for one without a value.
    """

    scheduler: Literal["slurm"] = "slurm"
    host: str | None = None
    account: str | None = None
    partition: str | None = None
    modules: tuple[str, ...] = ()
    options: Mapping[str, str | None] = {}


class ApptainerHost(Cluster):
    """A machine without a scheduler.

    :ivar host: As in ``ssh HOST``; None for this machine.
    """

    scheduler: Literal["apptainer"] = "apptainer"
    host: str | None = None


class KubernetesCluster(Cluster):
    """A namespace of a Kubernetes cluster.

    :ivar context: The context in the user's ``kubeconfig``; its current one where nothing is said.
    :ivar namespace: The namespace.
    :ivar shared_memory: The size of ``/dev/shm``, which loading workers share.
    :ivar volumes: Persistent volume claims by the folders that they are to be.
    """

    scheduler: Literal["kubernetes"] = "kubernetes"
    context: str | None = None
    namespace: str = "default"
    shared_memory: Memory = "8G"
    volumes: Mapping[str, str] = {}


AnyCluster = SlurmCluster | ApptainerHost | KubernetesCluster
C = TypeVar("C", bound=Cluster)
PROFILES: Final[TypeAdapter[dict[str, AnyCluster]]] = TypeAdapter(
    dict[str, Annotated[AnyCluster, Field(discriminator="scheduler")]]
)


def read_clusters(project: Path) -> dict[str, AnyCluster]:
    """Read all profiles.

    :param project: The folder that has ``deploy/clusters.yaml``.
    :return: The profiles by name, in the order of the file.
    :raises UsageError: If the file is missing, or does not hold what it should.
    """
    path = project / FILE
    return parse_clusters(read_yaml(path), str(path))


def parse_clusters(content: Any, origin: str) -> dict[str, AnyCluster]:
    """Make profiles of what the file says.

    :param content: What YAML makes of the file.
    :param origin: The file, to name it.
    :return: The profiles by name.
    :raises UsageError: If something is wrong; the sentence names the first key that is.
    """
    profiles = {} if content is None else content
    if not isinstance(profiles, dict):
        raise UsageError(f"{origin}: it holds no profiles by name, such as 'ours: {{scheduler: slurm}}'.")
    try:
        # A name is the user's own: only the keys inside of a profile are ours.
        return PROFILES.validate_python({str(name): _normalise(profile) for name, profile in profiles.items()})
    except ValidationError as error:
        raise UsageError(f"{origin}: {explain(error)}") from None


def _normalise(profile: Any) -> Any:
    if not isinstance(profile, dict):
        return profile
    own: dict[str, Any] = {key: profile[key] for key in ("variables", "options", "volumes") if key in profile}
    return with_underscores({key: value for key, value in profile.items() if key not in own}) | own


def find_cluster(project: Path, name: str | None, kind: type[C]) -> tuple[str, C]:
    """Find the profile to send work to.

    :param project: The folder that has ``deploy/clusters.yaml``.
    :param name: Its name; by default, the first profile of the kind.
    :param kind: What the launcher can talk to.
    :return: The name and the profile.
    :raises UsageError: If there is none, or it is of another kind.
    """
    clusters = read_clusters(project)
    fitting = {key: cluster for key, cluster in clusters.items() if isinstance(cluster, kind)}
    chosen = next(iter(fitting), None) if name is None else name
    if chosen is not None and chosen in fitting:
        return chosen, fitting[chosen]
    known = ", ".join(f"'{key}'" for key in fitting) or "none"
    wanted = f"profile '{name}'" if name is not None else "profile"
    scheduler = kind.model_fields["scheduler"].default
    raise UsageError(f"there is no {wanted} of the scheduler {scheduler} in {project / FILE}, but {known}.")
