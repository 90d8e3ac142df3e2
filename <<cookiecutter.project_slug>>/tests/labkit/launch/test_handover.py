from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from labkit.command import UnavailableError
from labkit.environment import Environment
from labkit.launch.apptainer.launch import apptainer_launch
from labkit.launch.cluster import Resources, SlurmCluster
from labkit.launch.handover import Order, hand_over
from labkit.launch.launcher import read_request
from labkit.launch.sealing import HASH_OF_WHAT_IS_NOT_SEALED
from tests.project import ROOT, Project

CLUSTERS = "here: {scheduler: apptainer, paths: {environment: /nowhere}}\n"
SESSION = {"entry_point": "descend", "argument_sets": "rate=0.1,0.2,0.3"}


@dataclass
class Shelf:
    """An executor that keeps what it is handed, one job for each trial."""

    room: int = 100
    names: list[str] = field(default_factory=list[str])
    kept: list[Order] = field(default_factory=list[Order])
    name: str = "first"
    profile: SlurmCluster = field(default_factory=lambda: SlurmCluster(resources=Resources(gpus=2)))

    def connect(self, name: str | None, _: Environment) -> "Shelf":
        self.name = name or "first"
        self.names.append(self.name)
        return self

    def find_under_way(self) -> Collection[str]:
        return {unit for order in self.kept for unit in write_units(order)}

    def plan(self, order: Order) -> list[Order]:
        return [Order(**{**vars(order), "trials": (trial,)}) for trial in order.trials or ()] or [order]

    def show(self, job: Order, variables: Mapping[str, str]) -> str:
        return f"{write_units(job)} {job.sha256} {sorted(variables)}\n"

    def submit(self, jobs: Sequence[Order], variables: Mapping[str, str]) -> Iterator[str]:  # noqa: ARG002  a shelf
        for job in jobs:
            if len(self.kept) == self.room:
                raise UnavailableError("the shelf is full.")
            self.kept.append(job)
            yield f"on the shelf {self.name}"


def write_units(order: Order) -> list[str]:
    return [order.launch] if order.trials is None else [f"{order.launch}/{trial}" for trial in order.trials]


@pytest.fixture
def launch(study: Project) -> Callable[..., int]:
    return lambda shelf, **options: hand_over(read_request(options), study.environment, shelf.connect)


def test_what_is_new_is_sealed_and_handed_over_with_what_it_gets(
    study: Project, launch: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = Shelf()
    assert launch(shelf, **SESSION, memory="16G", parallel=2) == 0
    session = study.run.info.run_id
    assert [write_units(order) for order in shelf.kept] == [[f"{session}/{trial}"] for trial in range(3)]
    assert {(order.session.parallel, order.resources) for order in shelf.kept} == {(2, Resources(gpus=2, memory="16G"))}
    first, *jobs = capsys.readouterr().out.splitlines()
    assert first.startswith(f"session     {session} (")
    assert jobs == ["job         on the shelf first"] * 3


@pytest.mark.parametrize("asked", [SESSION, {"entry_point": "train"}])
def test_what_is_launched_again_goes_to_the_cluster_where_it_was(
    study: Project, launch: Callable[..., int], asked: dict[str, Any]
) -> None:
    launch(Shelf(), **asked, cluster="second")
    launched = study.run.info.run_id
    shelf = Shelf()
    launch(shelf, run_id=launched)
    launch(shelf, run_id=launched, cluster="third")  # of which nothing is left
    assert shelf.names == ["second", "third"]
    shelf.kept.clear()
    launch(shelf, run_id=launched, cluster="third")
    launch(shelf, run_id=launched)
    assert shelf.names[2:] == ["third", "third"]


def test_the_rest_follows_where_not_all_could_be_handed_over(study: Project, launch: Callable[..., int]) -> None:
    shelf = Shelf(room=2)
    with pytest.raises(UnavailableError) as error:
        launch(shelf, **SESSION)
    session = study.run.info.run_id
    assert str(error.value) == (
        f"the shelf is full. 2 of 3 jobs are submitted; the rest follow by: slurm-launch --run-id {session}"
    )
    shelf.room = 3
    launch(shelf, run_id=session)
    assert [write_units(order) for order in shelf.kept] == [[f"{session}/{trial}"] for trial in range(3)]


def test_a_dry_run_prints_what_would_be_sent_to_the_letter(
    study: Project, launch: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = Shelf(room=2)
    launch(shelf, entry_point="descend", arguments="seed=7", dry_run=True)
    variables = "['MLFLOW_TRACKING_URI']"
    assert capsys.readouterr().out.splitlines() == [
        "experiment  tiny",
        "ID          descend seed=7,rate=0.25,steps=3,seconds=0.0,label=''",
        f"['ID'] {HASH_OF_WHAT_IS_NOT_SEALED} {variables}",
    ]
    assert study.runs == []
    with pytest.raises(UnavailableError):
        launch(shelf, **SESSION)
    capsys.readouterr()
    launch(shelf, run_id=study.run.info.run_id, dry_run=True)
    (left, sent) = capsys.readouterr().out.splitlines()
    assert left == f"{study.run.info.run_id}/2"
    assert sent == f"['{left}'] {shelf.kept[0].sha256} {variables}"
    assert shelf.kept[0].sha256 != HASH_OF_WHAT_IS_NOT_SEALED


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"deploy/apptainer.sh.j2": "{{ commnad }}\n"}, "'commnad' is undefined; a template may name "),
        ({"deploy/apptainer.sh.j2": "{% if %}\n"}, "deploy/apptainer.sh.j2, line 1: "),
        ({"credentials.yaml": "$ANSIBLE_VAULT;1.1;AES256\n00\n"}, " of credentials.yaml is not in /nowhere/key: "),
    ],
    ids=["a name that is none", "no template", "no key"],
)
def test_what_is_wrong_in_a_users_file_leaves_no_run(
    study: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    sentence: str,
) -> None:
    monkeypatch.setenv("CREDENTIALS_KEY_FILE", "/nowhere/key")
    template = (ROOT / "deploy" / "apptainer.sh.j2").read_text(encoding="utf-8")
    for name, text in {"deploy/clusters.yaml": CLUSTERS, "deploy/apptainer.sh.j2": template, **files}.items():
        path = Path(study.path / name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert apptainer_launch.main(["--entry-point", "train"]) == 2
    assert sentence in capsys.readouterr().err
    assert study.runs == []
