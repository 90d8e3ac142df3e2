"""`make template-update` brings what the template has gained, and nothing that was edited is lost."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from combination import COMBINATIONS
from project import TOOLS, Project, commit, copy_template, render, run

SOURCE = Path("<<cookiecutter.project_slug>>")
MODEL = "my_research/model.py"


@dataclass(frozen=True)
class Updated:
    """A project, and the template that it was made from."""

    project: Project
    template: Path

    def edit_template(self, name: str | Path, text: str | None) -> None:
        """Give the template another text for a file of the project, or take the file out."""
        file = self.template / SOURCE / name
        if text is None:
            file.unlink()
        else:
            file.write_text(text, encoding="utf-8")
        commit(self.template, f"Edit {name}")

    def source(self, name: str | Path) -> str:
        """Return the template's own text of a file."""
        return (self.template / SOURCE / name).read_text(encoding="utf-8")

    def update(self, *, template: str = "", check: bool = True) -> CompletedProcess[str]:
        """Update as `make template-update` does, with cookiecutter from the tools of these tests."""
        command = (TOOLS / "python", "make/template.py")
        return run(*command, folder=self.project.folder, variables={"TEMPLATE": template}, check=check)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template, itself only to be copied."""
    return copy_template(tmp_path_factory.mktemp("template") / "labkit")


@pytest.fixture
def updated(original: Path, tmp_path: Path) -> Updated:
    template = tmp_path / "labkit"
    shutil.copytree(original, template)
    return Updated(render(tmp_path / "mine", {}, template=template), template)


def test_what_is_new_comes_what_is_gone_goes_and_edits_stay(updated: Updated) -> None:
    project = updated.project
    project.commit(MODEL, project.read(MODEL) + "\n# Mine.\n")
    project.commit("notes.md", "# Notes\n")
    updated.edit_template("labkit/seed.py", updated.source("labkit/seed.py") + "\n# The template's.\n")
    updated.edit_template("MLproject", updated.source("MLproject") + "\n# << cookiecutter.package_name >>, newer\n")
    updated.edit_template(".editorconfig", None)
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')

    updated.update()

    assert project.read(MODEL).endswith("\n# Mine.\n")
    assert project.read("notes.md") == "# Notes\n"
    assert project.read("labkit/seed.py").endswith("\n# The template's.\n")
    assert project.read("MLproject").endswith("\n# my_research, newer\n")
    assert not (project.folder / ".editorconfig").exists()
    assert project.read("labkit/newer.py") == '"""A newer room."""\n'
    assert project.git("status", "--porcelain") == ""
    assert project.git("symbolic-ref", "--short", "HEAD") == "main"


def test_the_branch_of_the_template_holds_bare_renderings_alone(updated: Updated, tmp_path: Path) -> None:
    updated.project.commit(MODEL, "# Mine.\n")
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')

    updated.update()

    again = render(tmp_path / "again", {}, template=updated.template)
    assert updated.project.git("rev-parse", "template^{tree}") == again.git("rev-parse", "HEAD^{tree}")
    assert updated.project.git("rev-list", "--count", "template") == "2"
    assert updated.project.git("log", "--format=%an", "-1", "template") == "Your Name"
    assert updated.project.git("merge-base", "main", "template") == updated.project.git("rev-parse", "template")


def test_the_second_update_begins_where_the_first_ended(updated: Updated) -> None:
    project = updated.project
    project.commit(MODEL, "# Mine.\n")
    for text in ("one\n", "two\n"):
        updated.edit_template("labkit/newer.txt", text)
        updated.update()

    assert project.read("labkit/newer.txt") == "two\n"
    assert project.read(MODEL) == "# Mine.\n"


def test_a_conflict_is_gits_own(updated: Updated) -> None:
    project = updated.project
    project.commit("MLproject", "name: mine\n")
    before = project.git("rev-parse", "HEAD")
    updated.edit_template("MLproject", "name: theirs\n")

    done = updated.update(check=False)

    assert done.returncode == 1
    assert "CONFLICT (content): Merge conflict in MLproject" in done.stdout
    assert "git merge --abort" in done.stderr
    text = project.read("MLproject")
    assert text.startswith("<<<<<<< HEAD\nname: mine\n=======\nname: theirs\n>>>>>>> ")
    project.git("merge", "--abort")
    assert project.git("rev-parse", "HEAD") == before

    # What was set aside is offered again.
    assert updated.update(check=False).returncode == 1
    (project.folder / "MLproject").write_text("name: both\n", encoding="utf-8")
    commit(project.folder, "Resolve")
    assert "Nothing new" in updated.update().stdout


@pytest.mark.parametrize("is_staged", [False, True], ids=["changed", "staged"])
def test_a_dirty_tree_is_refused(updated: Updated, is_staged: bool) -> None:
    project = updated.project
    (project.folder / MODEL).write_text("# Not yet committed.\n", encoding="utf-8")
    if is_staged:
        project.git("add", MODEL)
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')

    done = updated.update(check=False)

    assert done.returncode == 1
    assert done.stderr == ("There are changes that are not committed. Commit them, or set them aside with: git stash\n")
    assert project.read(MODEL) == "# Not yet committed.\n"
    assert project.git("rev-list", "--count", "template") == "1"


def test_an_untracked_file_is_no_hindrance_unless_it_would_be_overwritten(updated: Updated) -> None:
    (updated.project.folder / "newer.txt").write_text("mine\n", encoding="utf-8")
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')
    updated.update()
    updated.edit_template("newer.txt", "theirs\n")

    done = updated.update(check=False)

    assert done.returncode != 0
    assert "untracked working tree files would be overwritten" in done.stderr
    assert updated.project.read("newer.txt") == "mine\n"


def test_new_questions_take_their_defaults_and_are_listed(updated: Updated) -> None:
    questions = json.loads((updated.template / "cookiecutter.json").read_text(encoding="utf-8"))
    questions |= {"shape": ["round", "square"], "colour": "<< cookiecutter.package_name >> blue"}
    (updated.template / "cookiecutter.json").write_text(json.dumps(questions), encoding="utf-8")
    updated.edit_template("colour.txt", "<< cookiecutter.colour >>, << cookiecutter.shape >>\n")

    done = updated.update()

    assert 'New question: shape, answered with its default, "round"' in done.stdout
    assert 'New question: colour, answered with its default, "my_research blue"' in done.stdout
    assert updated.project.read("colour.txt") == "my_research blue, round\n"
    assert "New question" not in updated.update().stdout


def test_a_starter_that_was_chosen_stays_chosen(original: Path, tmp_path: Path) -> None:
    template = tmp_path / "labkit"
    shutil.copytree(original, template)
    own, other = (SOURCE / "starters" / name / "<<cookiecutter.package_name>>" for name in ("own", "other"))
    for folder in (own, other):
        (template / folder).mkdir(parents=True)
        (template / folder / "model.py").write_text(f'"""The {folder.parent.name} one."""\n', encoding="utf-8")
    commit(template, "Offer two starters")
    updated = Updated(render(tmp_path / "mine", {"starter": "own"}, template=template), template)
    for folder in (own, other):
        name = (folder / "model.py").relative_to(SOURCE)
        updated.edit_template(name, updated.source(name).replace("one", "newer one"))

    done = updated.update()

    assert "New question" not in done.stdout
    assert updated.project.read(MODEL) == '"""The own newer one."""\n'
    assert updated.project.git("diff", "--name-only", "HEAD~1").split() == [".labkit.json", MODEL]


def test_it_says_when_there_is_nothing_new(updated: Updated) -> None:
    before = updated.project.git("rev-parse", "HEAD", "template")

    done = updated.update()

    assert done.stdout == f"Nothing new: the project has all of {updated.template}\n"
    assert updated.project.git("rev-parse", "HEAD", "template") == before


def test_the_answers_of_every_project_are_kept(combination: str, original: Path, tmp_path: Path) -> None:
    template = tmp_path / "labkit"
    shutil.copytree(original, template)
    updated = Updated(render(tmp_path / "mine", COMBINATIONS[combination], template=template), template)
    before = json.loads(updated.project.read(".labkit.json"))
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')

    updated.update()

    assert updated.project.git("diff", "--name-only", "HEAD~1").split() == [".labkit.json", "labkit/newer.py"]
    after = json.loads(updated.project.read(".labkit.json"))
    assert (after["answers"], after["year"]) == (before["answers"], before["year"])
    assert after["version"] != before["version"]
    assert not list(tmp_path.rglob("executed"))


def test_the_year_of_the_beginning_stays(updated: Updated) -> None:
    record = json.loads(updated.project.read(".labkit.json")) | {"year": "1999"}
    updated.project.commit(".labkit.json", json.dumps(record))
    updated.project.git("branch", "--force", "template", "HEAD")
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')

    updated.update()

    assert "Copyright (c) 1999 Your Name" in updated.project.read("LICENSE")


def test_a_template_is_taken_from_an_address_too(updated: Updated, tmp_path: Path) -> None:
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')
    address = f"file://{updated.template}"

    updated.update(template=address)

    assert (updated.project.folder / "labkit/newer.py").exists()
    assert json.loads(updated.project.read(".labkit.json"))["template"] == address
    assert [path.name for path in tmp_path.iterdir()] == ["labkit", "mine"]


def test_an_address_without_a_template_is_named(updated: Updated) -> None:
    done = updated.update(template="/missing/labkit", check=False)

    assert done.returncode == 1
    assert done.stderr == "git clone failed: fatal: repository '/missing/labkit' does not exist\n"


def test_a_template_that_refuses_the_answers_changes_nothing(updated: Updated) -> None:
    hook = updated.template / "hooks" / "pre_gen_project.py"
    hook.write_text(hook.read_text(encoding="utf-8").replace("docs make", "docs make my_research"), encoding="utf-8")
    before = updated.project.git("rev-parse", "HEAD", "template")

    done = updated.update(check=False)

    assert done.returncode == 1
    assert 'package_name is "my_research", but the project has a folder of that name' in done.stderr
    assert updated.project.git("rev-parse", "HEAD", "template") == before


def test_a_missing_branch_is_named_with_the_command_that_brings_it(updated: Updated) -> None:
    updated.project.git("branch", "--delete", "template")

    done = updated.update(check=False)

    assert done.returncode == 1
    assert "git fetch origin template:template" in done.stderr


@pytest.mark.parametrize("text", [None, "{", '{"answers": {}}'], ids=["missing", "no JSON", "incomplete"])
def test_a_broken_record_is_named_with_the_command_that_restores_it(updated: Updated, text: str | None) -> None:
    if text is None:
        updated.project.git("rm", "--quiet", ".labkit.json")
        commit(updated.project.folder, "Forget")
    else:
        updated.project.commit(".labkit.json", text)

    done = updated.update(check=False)

    assert done.returncode == 1
    assert done.stderr.endswith("Restore it with: git checkout template -- .labkit.json\n")


def test_the_branch_of_the_template_is_not_merged_into_itself(updated: Updated) -> None:
    updated.project.git("switch", "--quiet", "template")

    done = updated.update(check=False)

    assert done.returncode == 1
    assert "git switch main" in done.stderr


def test_a_project_without_git_is_told_so(updated: Updated) -> None:
    shutil.rmtree(updated.project.folder / ".git")

    done = updated.update(check=False)

    assert done.returncode == 1
    assert done.stderr == f"An update is a merge, but {updated.project.folder} is not the top of a git repository.\n"


def test_make_sets_up_what_it_needs(updated: Updated) -> None:
    updated.edit_template("labkit/newer.py", '"""A newer room."""\n')

    updated.project.run("make template-update")

    assert updated.project.read("labkit/newer.py") == '"""A newer room."""\n'
    assert updated.project.git("status", "--porcelain") == ""
