import importlib.metadata
from collections.abc import Callable
from typing import Any

import pytest

from labkit.recipe.context import DataCache
from labkit.recipe.execution import Progress
from labkit.recipe.record import History
from labkit.recipe.source import find_closure
from labkit.recipe.staleness import Fingerprint, find_changes
from tests.labkit.recipe.conftest import TinyStudy


def find_changed(study: TinyStudy, edit: Callable[[], None], name: str = "first") -> list[str]:
    """Say what changes of a function's closure by an edit."""
    before: Any = find_closure([getattr(study.load(), name)]).digests
    edit()
    after = find_closure([getattr(study.load(), name)]).digests
    return find_changes(Fingerprint(code=before), Fingerprint(code=after))


def test_the_whole_import_closure_counts_and_nothing_else(study: TinyStudy) -> None:
    module = study.load()
    closure = find_closure([module.first])
    assert closure.digests.keys() == {
        "function tiny.study.first",
        "function tiny.study.note",
        "function tiny.helper.scale",
        "constant tiny.helper.SCALE",
    }
    assert find_closure([module.make_task]).digests.keys() == {
        "function tiny.study.make_task",
        "class tiny.study.Doing",
    }
    assert find_closure([module.load]).packages == {"numpy", "torch"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # A comment.\n", "    # Another one.\n\n"),
        ('    """Scale a value."""\n', ""),
        ("    return SCALE * value\n", "    return (\n        SCALE\n        * value\n    )\n"),
        ("    return value\n", "    return -value\n"),
    ],
    ids=["comment", "docstring", "formatting", "a function that is not used"],
)
def test_what_changes_no_behaviour_changes_nothing(study: TinyStudy, old: str, new: str) -> None:
    assert find_changed(study, lambda: study.edit("helper.py", old, new)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "change"),
    [
        ("helper.py", "return SCALE * value", "return SCALE + value", "function tiny.helper.scale changed"),
        ("helper.py", "SCALE = 2.0", "SCALE = 3.0", "constant tiny.helper.SCALE changed"),
        ("study.py", "scale(0.3), ", "scale(0.35), ", "function tiny.study.first changed"),
        (
            "study.py",
            '    note(context)\n    return {"accuracy": scale',
            '    return {"accuracy": scale',
            "function tiny.study.first changed|function tiny.study.note is no longer used",
        ),
    ],
)
def test_a_change_is_named(study: TinyStudy, file: str, old: str, new: str, change: str) -> None:
    assert find_changed(study, lambda: study.edit(file, old, new)) == change.split("|")


def test_a_helper_is_found_however_it_is_imported(study: TinyStudy) -> None:
    def edit() -> None:
        study.edit("helper.py", "return SCALE * value", "return SCALE + value")

    assert find_changed(study, edit, "second") == ["function tiny.helper.scale changed"]


def test_a_class_is_named_as_one(study: TinyStudy) -> None:
    def edit() -> None:
        study.edit("study.py", "self.rate = rate", "self.rate = 2 * rate")

    assert find_changed(study, edit, "make_task") == ["class tiny.study.Doing changed"]


@pytest.mark.parametrize(
    "source",
    [
        "import tiny.helper\n\n\ndef used(x):\n    return tiny.helper.scale(x)\n",
        "import tiny.helper as h\n\n\ndef used(x):\n    return h.scale(x)\n",
        "from tiny import helper as h\n\n\ndef used(x):\n    return h.scale(x)\n",
        "from tiny.helper import *\n\n\ndef used(x):\n    return scale(x)\n",
        "def used(x):\n    from .helper import scale\n\n    return scale(x)\n",
        "def used(x):\n    from . import helper\n\n    return helper.scale(x)\n",
        "from .helper import scale\n\nTABLE = {'scale': scale}\n\n\ndef used(x):\n    return TABLE['scale'](x)\n",
        "try:\n    from .helper import scale\nfinally:\n    pass\n\n\ndef used(x):\n    return scale(x)\n",
        "from .helper import scale\n\nby = lambda f: lambda g: lambda x: f(g(x))\n\n\n@by(scale)\ndef used(x): ...\n",
        "from .helper import scale\n\n\nclass Base:\n    scale = scale\n\n\nclass used(Base):\n    pass\n",
        "from .helper import scale\n\nused = lambda x: scale(x)\n",
        "from .helper import scale\n\nused = lambda x: [scale(y) for y in x]\n",
        "from .face import scale\n\n\ndef used(x):\n    return scale(x)\n",
        "from . import face\n\n\ndef used(x):\n    return face.scale(x)\n",
        "if TYPE_CHECKING:\n    import x\nelse:\n    from .helper import scale\n\nused = lambda x: scale(x)\n",
        "if not TYPE_CHECKING:\n    from .helper import scale\n\n\ndef used(x):\n    return scale(x)\n",
        "from .helper import scale\n\nmake = lambda f: lambda x: [g(x) for g in f]\nused = make([scale])\n",
        "from .helper import scale\n\n\nclass Used:\n    __call__ = lambda self, x: scale(x)\n\n\nused = Used()\n",
        "from .helper import scale\n\n\nclass Used:\n    go = lambda self, x: scale(x)\n\n\nused = Used().go\n",
    ],
)
def test_every_way_to_reach_a_helper_is_followed(study: TinyStudy, source: str) -> None:
    (study.folder / "study.py").write_text(f"TYPE_CHECKING = False\n{source}")
    (study.folder / "face").mkdir()
    (study.folder / "face" / "__init__.py").write_text("from ..helper import *\n")

    def edit() -> None:
        study.edit("helper.py", "return SCALE * value", "return SCALE + value")

    assert "function tiny.helper.scale changed" in find_changed(study, edit, "used")


def test_each_of_several_lambdas_counts(study: TinyStudy) -> None:
    (study.folder / "study.py").write_text("used = [lambda x: x + 1, lambda x: x in {'a', 'b'}]\n")

    def edit() -> None:
        study.edit("study.py", "'a'", "'c'")

    (change,) = find_changed(study, edit, "used")
    assert change.startswith("function tiny.study.<lambda>")
    assert find_changed(study, lambda: None, "used") == []


def test_what_changed_beside_the_code_is_said_too() -> None:
    old = Fingerprint(
        arguments={"rate": 0.1, "gone": 1}, data={"load": "65f1"}, dependencies={"torch": "2.12"}, before={"a": "1"}
    )
    new = Fingerprint(
        arguments={"rate": 0.2, "new": [1]}, data={"load": "c0de"}, dependencies={"torch": "2.13"}, before={"b": "1"}
    )
    assert find_changes(old, new) == [
        "argument gone: 1 became nothing",
        "argument new: nothing became [1]",
        "argument rate: 0.1 became 0.2",
        "the data changed: 65f1 became c0de",
        "dependency torch: 2.12 became 2.13",
        "the step 'a' is no longer before it",
        "the step 'b' before it is new",
    ]
    assert find_changes(old, old) == []


def test_the_versions_of_libraries_are_part_of_what_a_step_depends_on(study: TinyStudy) -> None:
    module = study.load()
    project = study.project.path
    (project / ".labkit.json").write_text('{"version": "1.2.3"}')
    load = DataCache(study.project.environment)
    progress = Progress(module.recipe.plan(), History(study.project.environment, "tiny", "experiment"), load)
    dependencies = progress.fingerprint(module.recipe.steps[0]).dependencies
    assert dependencies["labkit"] == "1.2.3"
    assert dependencies["torch"] == importlib.metadata.version("torch")
    assert dependencies["numpy"] == importlib.metadata.version("numpy")
