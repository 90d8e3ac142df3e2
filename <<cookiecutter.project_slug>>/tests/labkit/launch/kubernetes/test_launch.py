from pathlib import PurePosixPath

import pytest

from labkit.command import UsageError
from labkit.launch.cluster import KubernetesCluster, Paths, Resources
from labkit.launch.kubernetes.launch import require_shared_runs
from labkit.launch.session import Session

ALONE = Resources(nodes=1)
METRIC = "validation/loss"


@pytest.mark.parametrize(
    ("session", "resources", "option"),
    [
        (Session(entry_point=("train",), search="bayesian", trials=3, minimise=METRIC), ALONE, "--search bayesian"),
        (Session(entry_point=("train",), prune=True, minimise=METRIC), ALONE, "--prune"),
        (Session(entry_point=("train",)), Resources(nodes=2), "--nodes"),
    ],
)
def test_pods_that_depend_on_one_another_need_a_folder_in_common(
    session: Session, resources: Resources, option: str
) -> None:
    runs = Paths(runs=PurePosixPath("/data/runs"))
    for own in (KubernetesCluster(), KubernetesCluster(paths=runs), KubernetesCluster(volumes={"/data": "claim"})):
        with pytest.raises(UsageError, match=f"^{option} needs a folder of runs that all pods share: "):
            require_shared_runs(session, resources, own)
        require_shared_runs(Session(entry_point=("train",)), ALONE, own)
    require_shared_runs(session, resources, KubernetesCluster(paths=runs, volumes={"/data": "claim"}))
