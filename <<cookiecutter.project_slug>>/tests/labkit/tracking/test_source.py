import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.secret import MASK
from labkit.tracking import source as module
from labkit.tracking.source import (
    ARCHIVE,
    DIFFERENCE,
    MARK,
    MEBIBYTE,
    Source,
    capture_source,
    unpack_source,
    without_credentials,
)
from tests.repository import commit, git, write


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    commit(path, {"train.py": "x = 1\n", "package/model.py": "y = 1\n", ".gitignore": "runs/\n*.ckpt\n"})
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept"
    path.mkdir()
    return path


def read(archive: Path) -> dict[str, bytes | str]:
    """Return what an archive holds: the bytes of files, the targets of links."""
    found: dict[str, bytes | str] = {}
    with tarfile.open(archive, errors="surrogateescape") as members:
        for member in members:
            content = members.extractfile(member) if member.isreg() else None
            found[member.name] = content.read() if content else member.linkname
    return found


def names(archive: Path) -> list[str]:
    return list(read(archive))


def make_archive(path: Path, *members: tarfile.TarInfo) -> str:
    """Write an archive as nobody's project would be, and return its hash."""
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()


class TestCapture:
    def test_the_archive_holds_the_code_as_it_lies_in_the_working_tree(self, repository: Path, kept: Path) -> None:
        write(repository, {"train.py": "x = 2\n", "new/idea.py": "z = 1\n", "runs/1/log": "", "best.ckpt": ""})
        git(repository, "mv", "package/model.py", "package/network.py")
        capture_source(repository, kept)
        assert read(kept / ARCHIVE) == {
            ".gitignore": b"runs/\n*.ckpt\n",
            "new/idea.py": b"z = 1\n",
            "package/network.py": b"y = 1\n",
            "train.py": b"x = 2\n",
        }

    def test_a_file_that_was_deleted_but_is_tracked_is_absent(self, repository: Path, kept: Path) -> None:
        (repository / "train.py").unlink()
        source = capture_source(repository, kept)
        assert names(kept / ARCHIVE) == [".gitignore", "package/model.py"]
        assert source.changed == ["train.py"]

    def test_a_clean_tree_is_its_commit(self, repository: Path, kept: Path) -> None:
        source = capture_source(repository, kept)
        assert source == Source(
            sha256=source.sha256, repository=True, commit=git(repository, "rev-parse", "HEAD"), branch="idea"
        )
        assert not source.is_dirty
        assert not (kept / DIFFERENCE).exists()

    def test_the_same_tree_has_the_same_bytes_wherever_it_lies(
        self, repository: Path, kept: Path, tmp_path: Path
    ) -> None:
        (repository / "run.sh").write_text("#!/bin/sh\n")
        (repository / "run.sh").chmod(0o775)
        (repository / "link").symlink_to("train.py")
        commit(repository)
        outer = tmp_path / "outer" / "deep"
        outer.parent.mkdir()
        git(tmp_path, "clone", "--quiet", str(repository), str(outer))
        for index, path in enumerate(sorted(outer.rglob("*.py"))):
            os.utime(path, (index, index))
            path.chmod(0o600)
        (outer / ".git").rename(tmp_path / "history")  # now it is a folder of another repository
        commit(tmp_path / "outer", {"other.py": ""})
        (tmp_path / "kept again").mkdir()
        here, there = capture_source(repository, kept), capture_source(outer, tmp_path / "kept again")
        assert here.sha256 == there.sha256
        assert (kept / ARCHIVE).read_bytes() == (tmp_path / "kept again" / ARCHIVE).read_bytes()

    @pytest.mark.parametrize("change", ["content", "name", "bit", "link"])
    def test_another_tree_has_another_hash(self, repository: Path, kept: Path, change: str) -> None:
        (repository / "link").symlink_to("train.py")
        before = capture_source(repository, kept).sha256
        match change:
            case "content":
                (repository / "train.py").write_text("x = 3\n")
            case "name":
                (repository / "train.py").rename(repository / "train2.py")
            case "bit":
                (repository / "train.py").chmod(0o755)
            case _:
                (repository / "link").unlink()
                (repository / "link").symlink_to("package")
        assert capture_source(repository, kept).sha256 != before

    def test_the_difference_makes_the_tree_from_its_commit(self, repository: Path, kept: Path, tmp_path: Path) -> None:
        (repository / "table.bin").write_bytes(bytes(range(256)))
        commit(repository)
        git(tmp_path, "clone", "--quiet", str(repository), "clone")
        (repository / "table.bin").write_bytes(bytes(range(255, -1, -1)))
        (repository / "train.py").write_text("x = 2\n")
        source = capture_source(repository, kept)
        assert source.changed == ["table.bin", "train.py"]
        assert source.is_dirty
        git(tmp_path / "clone", "apply", str(kept / DIFFERENCE))
        assert (tmp_path / "clone" / "table.bin").read_bytes() == bytes(range(255, -1, -1))
        assert (tmp_path / "clone" / "train.py").read_text() == "x = 2\n"

    def test_nobodys_settings_change_the_difference(self, repository: Path, kept: Path, tmp_path: Path) -> None:
        (repository / "train.py").write_text("x = 2\n")
        capture_source(repository, kept)
        plain = (kept / DIFFERENCE).read_bytes()
        assert b"\n-x = 1\n+x = 2\n" in plain
        for name, value in {
            "diff.external": "/bin/false",
            "diff.noprefix": "true",
            "color.ui": "always",
            "core.quotePath": "true",
            "core.abbrev": "4",
        }.items():
            git(repository, "config", name, value)
        (tmp_path / "again").mkdir()
        capture_source(repository, tmp_path / "again")
        assert (tmp_path / "again" / DIFFERENCE).read_bytes() == plain

    def test_a_git_hook_that_runs_it_does_not_mislead_it(
        self, repository: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit(tmp_path / "other", {"other.py": ""})
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
        capture_source(repository, kept)
        assert names(kept / ARCHIVE) == [".gitignore", "package/model.py", "train.py"]

    def test_untracked_files_are_named_and_kept(self, repository: Path, kept: Path) -> None:
        write(repository, {"b/new.py": "1", "a.py": "2"})
        source = capture_source(repository, kept)
        assert source.untracked == ["a.py", "b/new.py"]
        assert source.is_dirty
        assert read(kept / ARCHIVE)["b/new.py"] == b"1"

    def test_an_untracked_file_that_is_too_large_is_named_with_its_size_and_left_out(
        self, repository: Path, kept: Path
    ) -> None:
        with (repository / "weights.bin").open("wb") as file:
            file.truncate(10 * MEBIBYTE + 1)
        with (repository / "table.bin").open("wb") as file:
            file.truncate(10 * MEBIBYTE)
        source = capture_source(repository, kept)
        assert source.left_out == {"weights.bin": "10.0 MiB"}
        assert source.untracked == ["table.bin", "weights.bin"]
        assert names(kept / ARCHIVE) == [".gitignore", "package/model.py", "table.bin", "train.py"]

    def test_of_too_many_untracked_files_the_smallest_are_kept(
        self, repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LIMIT_OF_ALL_UNTRACKED_FILES", 10)
        write(repository, {"a": "1" * 6, "b": "1" * 4, "c": "1" * 5})
        source = capture_source(repository, kept)
        assert source.left_out == {"a": "0.0 MiB"}
        assert {"b", "c"} <= set(names(kept / ARCHIVE))

    def test_what_git_lfs_brings_is_left_out(
        self, repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LIMIT_OF_TRACKED_FILE", 2 * MEBIBYTE)
        (repository / "images.bin").write_bytes(bytes(3 * MEBIBYTE))
        commit(repository)
        source = capture_source(repository, kept)
        assert source.left_out == {"images.bin": "3.0 MiB"}
        assert not source.is_dirty

    @pytest.mark.parametrize(
        "name",
        [
            b"-rf",
            b"--help",
            b"a\nb",
            b"a b'\"$(touch x)`",
            b"\xff\xfe",
            b":(exclude)x",
            b"*",
            "größe/数据.py".encode(),
            b"n" * 200 + b"/" + b"m" * 200,
            b"\\tab\t",
        ],
    )
    @pytest.mark.parametrize("is_tracked", [True, False])
    def test_files_may_have_any_name(
        self, repository: Path, kept: Path, tmp_path: Path, name: bytes, *, is_tracked: bool
    ) -> None:
        text = os.fsdecode(name)
        write(repository, {text: "first"})
        if is_tracked:
            commit(repository)
        (repository / text).write_text("hello")
        source = capture_source(repository, kept)
        assert (source.changed if is_tracked else source.untracked) == [text]
        unpack_source(kept / ARCHIVE, tmp_path / "unpacked", source.sha256)
        assert (tmp_path / "unpacked" / text).read_text() == "hello"
        assert (kept / DIFFERENCE).exists() is is_tracked

    def test_links_stay_links(self, repository: Path, kept: Path, tmp_path: Path) -> None:
        (repository / "inside").symlink_to("package/model.py")
        (repository / "folder").symlink_to("package")
        (repository / "outside").symlink_to("/somewhere/data")
        (repository / "broken").symlink_to("nowhere")
        source = capture_source(repository, kept)
        unpack_source(kept / ARCHIVE, tmp_path / "unpacked", source.sha256)
        unpacked = tmp_path / "unpacked"
        assert (unpacked / "inside").read_text() == "y = 1\n"
        assert (unpacked / "folder" / "model.py").read_text() == "y = 1\n"
        assert str((unpacked / "outside").readlink()) == "/somewhere/data"
        assert str((unpacked / "broken").readlink()) == "nowhere"

    def test_what_lies_behind_a_link_that_replaced_a_folder_is_not_code(
        self, repository: Path, kept: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (repository / "package").rename(tmp_path / "elsewhere" / "package")
        (repository / "package").symlink_to(tmp_path / "elsewhere" / "package")
        capture_source(repository, kept)
        assert read(kept / ARCHIVE)["package"] == str(tmp_path / "elsewhere" / "package")
        assert "package/model.py" not in names(kept / ARCHIVE)

    def test_submodules_and_repositories_inside_are_code_too(
        self, repository: Path, kept: Path, tmp_path: Path
    ) -> None:
        commit(tmp_path / "library", {"library.py": "1\n", ".gitignore": "*.o\n"})
        git(repository, "submodule", "--quiet", "add", str(tmp_path / "library"), "vendor/library")
        git(repository, "submodule", "--quiet", "add", str(tmp_path / "library"), "vendor/absent")
        commit(repository)
        git(repository, "submodule", "--quiet", "deinit", "--force", "vendor/absent")
        clean = capture_source(repository, kept)
        assert not clean.is_dirty
        write(repository, {"vendor/library/library.py": "2\n", "vendor/library/new.py": "", "vendor/library/x.o": ""})
        commit(repository / "tried", {"tool.py": ""})
        source = capture_source(repository, kept)
        assert source.changed == ["vendor/library"]
        assert source.untracked == ["tried/tool.py", "vendor/library/new.py"]
        assert b"-1\n+2\n" in (kept / DIFFERENCE).read_bytes()
        assert read(kept / ARCHIVE)["vendor/library/library.py"] == b"2\n"
        assert [name for name in names(kept / ARCHIVE) if name.startswith(("vendor", "tried"))] == [
            "tried/tool.py",
            "vendor/library/.gitignore",
            "vendor/library/library.py",
            "vendor/library/new.py",
        ]

    def test_a_project_may_be_a_folder_of_a_repository(self, tmp_path: Path, kept: Path) -> None:
        commit(tmp_path / "all", {"study/train.py": "1\n", "other/train.py": "1\n"})
        write(tmp_path / "all", {"study/train.py": "2\n", "other/train.py": "2\n", "other/new.py": ""})
        source = capture_source(tmp_path / "all" / "study", kept)
        assert read(kept / ARCHIVE) == {"train.py": b"2\n"}
        assert (source.changed, source.untracked) == (["train.py"], [])
        assert b"other" not in (kept / DIFFERENCE).read_bytes()

    def test_runs_and_data_are_no_code_even_if_git_does_not_ignore_them(self, repository: Path, kept: Path) -> None:
        write(repository, {"output/1/log": "", "cache/a": "", "cached.py": ""})
        source = capture_source(repository, kept, apart=[repository / "output", repository / "cache"])
        assert source.untracked == ["cached.py"]
        assert "output/1/log" not in names(kept / ARCHIVE)

    def test_a_file_that_cannot_be_read_is_named(
        self, repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read_bytes = Path.read_bytes

        def refuse(path: Path) -> bytes:  # the tests may run as root, who may read all
            if path.name == "of_root.bin":
                raise PermissionError(path)
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", refuse)
        write(repository, {"of_root.bin": "x"})
        assert capture_source(repository, kept).left_out == {"of_root.bin": "unreadable"}

    def test_without_a_branch_there_is_none(self, repository: Path, kept: Path) -> None:
        git(repository, "checkout", "--quiet", "--detach")
        source = capture_source(repository, kept)
        assert source.branch is None
        assert source.commit == git(repository, "rev-parse", "HEAD")

    def test_a_repository_may_have_no_commit(self, tmp_path: Path, kept: Path) -> None:
        git(tmp_path, "init", "--quiet", "--initial-branch", "idea", "fresh")
        write(tmp_path / "fresh", {"train.py": "1"})
        source = capture_source(tmp_path / "fresh", kept)
        assert (source.repository, source.commit, source.branch, source.is_dirty) == (True, None, "idea", True)
        assert read(kept / ARCHIVE) == {"train.py": b"1"}

    @pytest.mark.parametrize("reason", ["no repository", "ignored by the repository around it", "no git"])
    def test_without_a_repository_the_folder_is_kept_but_for_the_usual(
        self, tmp_path: Path, kept: Path, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project = tmp_path / "outer" / "project"
        code = {"train.py": "1", "package/data/reader.py": "2", "poetry.lock": "3"}
        usual = ["runs/1/log", "mlruns/x", "data/a", "mlflow.db", "mlflow.db-journal", "x/__pycache__/y.pyc"]
        usual += [".venv/a", ".env", ".cache/x", "last.ckpt", "my-env/pyvenv.cfg", "my-env/lib/a.py", "scratch/b"]
        write(project, code | dict.fromkeys(usual, ""))
        if reason == "ignored by the repository around it":
            commit(tmp_path / "outer", {".gitignore": "*\n"})
        if reason == "no git":
            commit(project)
            monkeypatch.setenv("PATH", "")
        source = capture_source(project, kept, apart=[project / "scratch"])
        assert source == Source(sha256=source.sha256, repository=False)
        assert source.is_dirty
        assert read(kept / ARCHIVE) == {name: text.encode() for name, text in sorted(code.items())}

    def test_what_is_too_large_is_left_out_without_a_repository_too(self, tmp_path: Path, kept: Path) -> None:
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "images.bin").write_bytes(bytes(11 * MEBIBYTE))
        assert capture_source(tmp_path / "project", kept).left_out == {"images.bin": "11.0 MiB"}

    def test_secrets_are_kept_nowhere(self, repository: Path, kept: Path) -> None:
        canary = "canary-4f0c12aa"
        commit(repository, {"old.py": f"key = '{canary}'\n", ".env.production": canary})
        write(
            repository,
            {
                "old.py": "key = environ['KEY']\n",
                "train.py": f"key = '{canary}'\n",
                "notes.txt": canary,
                ".env": canary,
                ".env.production": f"{canary} again",
                "tools/.netrc": canary,
            },
        )
        source = capture_source(repository, kept, secrets=[canary])
        assert source.masked == ["notes.txt", "train.py"]
        assert source.left_out.keys() == {".env", ".env.production", "tools/.netrc"}
        assert read(kept / ARCHIVE)["train.py"] == f"key = '{MASK}'\n".encode()
        assert f"-key = '{MASK}'\n".encode() in (kept / DIFFERENCE).read_bytes()
        everything = b"".join(str(content).encode() for content in read(kept / ARCHIVE).values())
        assert canary.encode() not in everything + (kept / DIFFERENCE).read_bytes()

    def test_the_remote_is_named_without_its_token(self, repository: Path, kept: Path) -> None:
        git(repository, "remote", "add", "fork", "https://example.org/fork.git")
        git(repository, "remote", "add", "origin", "https://oauth2:token@example.org/me/study.git")
        assert capture_source(repository, kept).remote == "https://example.org/me/study.git"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a.git", "https://example.org/a.git"),
        ("https://me:secret@example.org/a.git", "https://example.org/a.git"),
        ("https://secret@example.org:8443/a@b.git", "https://example.org:8443/a@b.git"),
        ("https://me:p@ss@example.org/a.git", "https://example.org/a.git"),
        ("HTTPS://me:secret@example.org", "HTTPS://example.org"),
        ("https://example.org/a.git?access_token=secret", "https://example.org/a.git"),
        ("ssh://git:secret@example.org:22/a.git", "ssh://git@example.org:22/a.git"),
        ("git@example.org:me/a.git", "git@example.org:me/a.git"),
        ("/srv/git/a@b.git", "/srv/git/a@b.git"),
    ],
)
def test_addresses_are_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


class TestUnpack:
    @pytest.fixture
    def source(self, repository: Path, kept: Path) -> Source:
        (repository / "run.sh").write_text("#!/bin/sh\n")
        (repository / "run.sh").chmod(0o755)
        return capture_source(repository, kept)

    def test_the_code_is_there_again(self, source: Source, kept: Path, tmp_path: Path) -> None:
        folder = tmp_path / "unpacked"
        unpack_source(kept / ARCHIVE, folder, source.sha256)
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
            ".gitignore",
            MARK,
            "package/model.py",
            "run.sh",
            "train.py",
        ]
        assert os.access(folder / "run.sh", os.X_OK)
        assert not (folder / "train.py").stat().st_mode & 0o111

    def test_a_folder_is_used_again_if_nobody_has_changed_the_code(
        self, source: Source, kept: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "unpacked"
        unpack_source(kept / ARCHIVE, folder, source.sha256)
        number = folder.stat().st_ino
        write(folder, {"package/__pycache__/model.pyc": "", "output.txt": ""})
        unpack_source(kept / ARCHIVE, folder, source.sha256)
        assert folder.stat().st_ino == number
        assert (folder / "output.txt").exists()

    @pytest.mark.parametrize("change", ["edited", "deleted", "replaced by a link"])
    def test_code_that_somebody_has_changed_makes_room(
        self, source: Source, kept: Path, tmp_path: Path, change: str
    ) -> None:
        folder = tmp_path / "unpacked"
        for attempt in (1, 2):
            unpack_source(kept / ARCHIVE, folder, source.sha256)
            (folder / "train.py").unlink()
            match change:
                case "edited":
                    (folder / "train.py").write_text("x = 666\n")
                case "replaced by a link":
                    (tmp_path / "same.py").write_text("x = 1\n")
                    (folder / "train.py").symlink_to(tmp_path / "same.py")
                case _:
                    pass
            unpack_source(kept / ARCHIVE, folder, source.sha256)
            assert (folder / "train.py").read_text() == "x = 1\n"
            assert not (folder / "train.py").is_symlink()
            assert (tmp_path / f"unpacked-changed-{attempt}" / "run.sh").exists()

    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "absent"])
    def test_a_damaged_archive_is_refused(self, source: Source, kept: Path, tmp_path: Path, damage: str) -> None:
        path = kept / ARCHIVE
        data = bytearray(path.read_bytes())
        match damage:
            case "cut":
                path.write_bytes(data[:-20])
            case "flipped":
                data[len(data) // 2] ^= 255
                path.write_bytes(data)
            case "empty":
                path.write_bytes(b"")
            case _:
                path.unlink()
        with pytest.raises(UsageError, match=r"^the source .*source\.tar\.gz is .*: delete it to fetch it"):
            unpack_source(path, tmp_path / "unpacked", source.sha256)
        assert not (tmp_path / "unpacked").exists()

    def test_another_archive_is_refused(self, source: Source, repository: Path, kept: Path, tmp_path: Path) -> None:
        (repository / "train.py").write_text("x = 2\n")
        capture_source(repository, kept)
        with pytest.raises(UsageError, match="is not what the run was sealed with"):
            unpack_source(kept / ARCHIVE, tmp_path / "unpacked", source.sha256)

    @pytest.mark.parametrize("name", ["/etc/evil", "../evil", "a/../../evil", "device", "hard", ""])
    def test_an_archive_that_reaches_out_of_its_folder_is_refused(self, tmp_path: Path, name: str) -> None:
        member = tarfile.TarInfo(name)
        if name == "device":
            member.type = tarfile.CHRTYPE
        elif name == "hard":
            member.type, member.linkname = tarfile.LNKTYPE, "/etc/passwd"
        else:
            member.size = 4
        archive = tmp_path / "evil.tar.gz"
        (tmp_path / "deep").mkdir()
        sha256 = make_archive(archive, member)
        with pytest.raises(UsageError, match=r"^the source of the run has an entry '.*' that no project's file"):
            unpack_source(archive, tmp_path / "deep" / "unpacked", sha256)
        assert [path.name for path in tmp_path.iterdir() if path.name not in {"deep", "evil.tar.gz"}] == []
        assert list((tmp_path / "deep").iterdir()) == []

    def test_nothing_is_written_through_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        link, member = tarfile.TarInfo("package"), tarfile.TarInfo("package/evil.py")
        link.type, link.linkname, member.size = tarfile.SYMTYPE, str(tmp_path / "outside"), 4
        sha256 = make_archive(tmp_path / "evil.tar.gz", link, member)
        with pytest.raises(FileExistsError):
            unpack_source(tmp_path / "evil.tar.gz", tmp_path / "unpacked", sha256)
        assert list((tmp_path / "outside").iterdir()) == []
        assert not (tmp_path / "unpacked").exists()
