"""The code of a run: kept before anything executes, and unpacked where it is executed.

The archive holds the code as it lies in the working tree, committed or not. Its bytes depend on nothing but the names,
the contents, the executable bits and the links of the files, so that the same code has the same hash everywhere. (The
hash is that of the archive before compression, which differs between versions of zlib.)
"""

import gzip
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, NamedTuple

from labkit.command import UsageError
from labkit.secret import MASK, SECRET_FILES, is_secret_file

ARCHIVE: Final = "source.tar.gz"
DIFFERENCE: Final = "difference.patch"
MARK: Final = ".labkit-source"
"""Holds the hash of the archive from which the folder that it lies in was unpacked."""

MEBIBYTE: Final = 2**20
LIMIT_OF_UNTRACKED_FILE: Final = 10 * MEBIBYTE
LIMIT_OF_ALL_UNTRACKED_FILES: Final = 50 * MEBIBYTE
LIMIT_OF_TRACKED_FILE: Final = 100 * MEBIBYTE
"""No git host takes a larger one; what is larger is data that git-lfs put there."""
NEVER_CODE: Final = frozenset({"build", "data", "dist", "mlartifacts", "mlruns", "runs", "wandb"})
"""Folders of a project that are left out where no git says what is code; inside of packages such names are code."""
NEVER_CODE_PATTERN: Final = re.compile(r"\..*|__pycache__|node_modules|mlflow\.db.*|.*\.(pyc|ckpt|egg-info)", re.DOTALL)
"""The names of what is left out then, wherever it lies."""

PRIVATE: Final = "private, by its name"
"""Why a file is left out that nobody expects elsewhere, unlike those that are too large."""
VARIABLES_OF_A_HOOK: Final = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})
"""Set where a git hook runs the tests: they would make git speak of another repository."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code of a run, and how it relates to its repository."""

    sha256: str
    """The hash of the archive before compression."""
    repository: bool
    """Whether the project is in a git repository."""
    commit: str | None = None
    """None without a repository, and in one without a commit."""
    branch: str | None = None
    """None where no branch is checked out."""
    remote: str | None = None
    """Where the repository comes from; without credentials."""
    changed: list[str] = field(default_factory=list)
    """The tracked files that differ from the commit."""
    untracked: list[str] = field(default_factory=list)
    """The files that git neither tracks nor ignores; all of them are in the archive but those that are left out."""
    left_out: dict[str, str] = field(default_factory=dict)
    """The files that are not in the archive, and why."""
    masked: list[str] = field(default_factory=list)
    """The files of which the archive holds all but a secret."""

    @property
    def is_dirty(self) -> bool:
        """Whether the code is something else than a commit."""
        return self.commit is None or bool(self.changed or self.untracked)


class Listed(NamedTuple):
    """A file that belongs to the code."""

    name: str
    is_tracked: bool


def capture_source(
    project: Path, folder: Path, *, apart: Collection[Path] = (), secrets: Collection[str] = ()
) -> Source:
    """Keep the code of a project as it is.

    :param project: The project's root, in a git repository or not.
    :param folder: Receives ``source.tar.gz`` and, if tracked files differ from the commit, ``difference.patch``.
    :param apart: Paths that are no code whatever git says: the folders of runs and of data.
    :param secrets: Texts that neither may hold, the longest first.
    :return: What was kept, and what was not.
    """
    apart = {path.absolute() for path in apart}
    listed = list(_list_repository(project))
    repository = bool(listed)
    if not repository:  # there is none, or it ignores the project
        listed = list(_list_folder(project, apart))
    files = {
        name: is_tracked
        for name, is_tracked in listed
        if is_tracked or (name != MARK and apart.isdisjoint({path := project / name, *path.parents}))
    }
    words = [secret.encode() for secret in secrets]
    left_out = _choose_to_leave_out(project, files)
    with (folder / ARCHIVE).open("wb") as file, _HashingGzipFile(file) as compressed:
        flaws = _write_archive(project, files.keys() - left_out.keys(), compressed, words)
    source = Source(
        sha256=compressed.hash.hexdigest(),
        repository=repository,
        left_out=left_out | dict.fromkeys(flaws.unreadable, "unreadable"),
        masked=flaws.masked,
    )
    if not repository:
        return source

    commit = _text(_ask_git(project, "rev-parse", "--verify", "--quiet", "HEAD"))
    return replace(
        source,
        commit=commit,
        branch=_text(_ask_git(project, "symbolic-ref", "--quiet", "--short", "HEAD")),
        remote=_find_remote(project),
        changed=_write_difference(project, folder / DIFFERENCE, words) if commit else [],
        untracked=sorted(name for name, is_tracked in files.items() if not is_tracked),
    )


def unpack_source(archive: Path, folder: Path, sha256: str) -> None:
    """Unpack an archive of source.

    A folder that was unpacked before, as by an earlier attempt, is used again if nobody has changed the code in it; if
    somebody has, it makes room for a fresh one, under another name.

    :param archive: The archive.
    :param folder: Holds the code afterwards, all of it or none.
    :param sha256: The hash that the run was sealed with.
    :raises UsageError: If the archive is damaged, is another one, or names files outside of the folder.
    """
    try:
        with gzip.open(archive) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"the source {archive} is damaged ({error}): delete it to fetch it from the store.") from error
    if found != sha256:
        raise UsageError(f"the source {archive} is not what the run was sealed with: delete it to fetch it anew.")
    with tarfile.open(archive, "r:gz", encoding="utf-8", errors="surrogateescape") as members:
        if folder.exists() and _holds(folder, members):
            return
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            fresh.chmod(0o755)
            _extract(members, fresh)
            (fresh / MARK).write_text(sha256, encoding="utf-8")
            if folder.exists():
                number = 1 + sum(1 for _ in folder.parent.glob(f"{folder.name}-changed-*"))
                folder.rename(folder.with_name(f"{folder.name}-changed-{number}"))
            fresh.rename(folder)
        except OSError:
            if not (folder / MARK).exists():  # or another process of the same run was faster
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def is_unpacked(source: Source, project: Path) -> bool:
    """Tell whether a project's folder was unpacked from the archive of a source."""
    mark = project / MARK
    return mark.is_file() and mark.read_text(encoding="utf-8") == source.sha256


def without_credentials(url: str) -> str:
    """Take user names, passwords and tokens out of the address of a repository.

    :param url: An address as git has it.
    :return: The address; of ``ssh``, which needs a user's name and has no password in it, with the name.
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", url, re.IGNORECASE)
    if scheme is None:
        return url  # a path, or git@host:path
    authority, slash, path = url[scheme.end() :].partition("/")
    user, at, host = authority.rpartition("@")
    keep_user = "ssh" in scheme[1].lower()
    user = user.partition(":")[0] + at if keep_user else ""
    return f"{scheme[0]}{user}{host}{slash}{path if keep_user else re.split('[?#]', path)[0]}"


DIFF: Final = (
    *("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--ignore-submodules=none"),
    *("--relative", "--src-prefix=a/", "--dst-prefix=b/"),
)
"""Nobody's settings change what the difference looks like."""


def _ask_git(folder: Path, *words: str) -> bytes | None:
    variables = {name: value for name, value in os.environ.items() if name not in VARIABLES_OF_A_HOOK}
    try:
        return subprocess.run(
            # In a container the folder may belong to somebody else; its code is about to be executed anyway.
            ["git", "-c", "safe.directory=*", "-c", "core.quotePath=false", *words],
            cwd=folder,
            env=variables | {"GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def _text(answer: bytes | None) -> str | None:
    return os.fsdecode(answer).strip() if answer else None


def _split(answer: bytes | None) -> list[str]:
    return [os.fsdecode(name) for name in (answer or b"").split(b"\0") if name]


def _find_remote(folder: Path) -> str | None:
    answer = _ask_git(folder, "config", "--null", "--get-regexp", r"^remote\..*\.url$")
    remotes = {name: url for name, _, url in (entry.partition("\n") for entry in _split(answer))}
    url = remotes.get("remote.origin.url") or next(iter(remotes.values()), None)
    return without_credentials(url) if url else None


def _list_repository(folder: Path, prefix: str = "", *, is_tracked: bool = True) -> Iterator[Listed]:
    """List the files that git tracks or does not ignore, those of submodules and of repositories inside as well."""
    answer = _split(_ask_git(folder, "ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard"))
    for entry in dict.fromkeys(answer):  # one that is in a conflict is named several times
        name, of_tracked = entry[2:], is_tracked and not entry.startswith("?")
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            if (path / ".git").exists():
                yield from _list_repository(path, f"{prefix}{name.rstrip('/')}/", is_tracked=of_tracked)
        else:
            yield Listed(prefix + name, of_tracked)


def _list_folder(folder: Path, apart: Collection[Path]) -> Iterator[Listed]:
    """List the files of a folder that no git knows."""
    for parent, folders, names in os.walk(folder):
        path = Path(parent)
        folders[:] = [
            name
            for name in folders
            if not (NEVER_CODE_PATTERN.fullmatch(name) or (path == folder and name in NEVER_CODE))
            and not (path / name / "pyvenv.cfg").exists()
            and path / name not in apart
        ]
        links = [name for name in folders if (path / name).is_symlink()]
        for name in (*names, *links):
            if not NEVER_CODE_PATTERN.fullmatch(name):
                yield Listed(str((path / name).relative_to(folder)), is_tracked=False)


def _choose_to_leave_out(project: Path, files: Mapping[str, bool]) -> dict[str, str]:
    """Choose what is secret by its name or too large; of untracked files that are too many, the smallest are kept."""
    left_out: dict[str, str] = {}
    sizes: list[tuple[int, str]] = []
    for name in files:
        if is_secret_file(PurePosixPath(name)):
            left_out[name] = PRIVATE
        elif (status := _find(project, name)) and stat.S_ISREG(status.st_mode):
            sizes.append((status.st_size, name))
    total = 0
    for size, name in sorted(sizes):
        if files[name]:
            too_large = size > LIMIT_OF_TRACKED_FILE
        else:
            too_large = size > LIMIT_OF_UNTRACKED_FILE or total + size > LIMIT_OF_ALL_UNTRACKED_FILES
            total += 0 if too_large else size
        if too_large:
            left_out[name] = f"{size / MEBIBYTE:.1f} MiB"
    return left_out


def _find(project: Path, name: str) -> os.stat_result | None:
    """Look up a file; one that git tracks may be gone, also because a folder above it has become a link."""
    path = project / name
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    parents = path.relative_to(project).parents
    return None if any((project / parent).is_symlink() for parent in parents) else status


class _Flaws(NamedTuple):
    """What an archive does not hold as it lies in the working tree."""

    unreadable: list[str]
    masked: list[str]


class _HashingGzipFile(gzip.GzipFile):
    """Hashes what it compresses."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0)
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return super().write(data)


def _write_archive(project: Path, names: Iterable[str], file: gzip.GzipFile, secrets: Collection[bytes]) -> _Flaws:
    flaws = _Flaws([], [])
    with tarfile.open(
        fileobj=file, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for name in sorted(names, key=os.fsencode):
            path, status = project / name, _find(project, name)
            member = tarfile.TarInfo(name)
            if status and stat.S_ISLNK(status.st_mode):
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
                archive.addfile(member)
            elif status and stat.S_ISREG(status.st_mode):
                try:
                    data = path.read_bytes()
                except OSError:  # somebody else's, or gone in the meantime
                    flaws.unreadable.append(name)
                    continue
                masked = _mask(data, secrets)
                if masked != data:
                    flaws.masked.append(name)
                member.size = len(masked)
                member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
                archive.addfile(member, BytesIO(masked))
    return flaws


def _write_difference(project: Path, path: Path, secrets: Collection[bytes]) -> list[str]:
    """Write how tracked files differ from the commit, if they do, and return their names."""
    changed = _split(_ask_git(project, *DIFF, "--name-only", "-z", "HEAD", "--", "."))
    if changed:
        hidden = [f":(exclude,glob)**/{pattern}{inside}" for pattern in SECRET_FILES for inside in ("", "/**")]
        content = ("--binary", "--full-index", "--submodule=diff")
        difference = _ask_git(project, *DIFF, *content, "HEAD", "--", ".", *hidden)
        path.write_bytes(_mask(difference or b"", secrets))
    return changed


def _mask(data: bytes, secrets: Collection[bytes]) -> bytes:
    for secret in secrets:
        data = data.replace(secret, MASK.encode())
    return data


def _checked(member: tarfile.TarInfo) -> tarfile.TarInfo:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or path.name == "" or not (member.isreg() or member.issym()):
        raise UsageError(f"the source of the run has an entry {member.name!r} that no project's file could have.")
    return member


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    links: list[tarfile.TarInfo] = []
    for member in map(_checked, archive):
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            links.append(member)
            continue
        content = archive.extractfile(member)
        assert content is not None  # noqa: S101  it is a regular file
        with path.open("xb") as file:
            shutil.copyfileobj(content, file)
        if member.mode & stat.S_IXUSR:
            path.chmod(path.stat().st_mode | 0o111)
    for link in links:  # last, so that nothing is written through one
        (folder / link.name).symlink_to(link.linkname)


def _holds(folder: Path, archive: tarfile.TarFile) -> bool:
    """Tell whether a folder holds the files of an archive, unchanged; it may hold others beside them."""
    for member in map(_checked, archive):
        path = folder / member.name
        content = archive.extractfile(member) if member.isreg() else None
        try:
            if content is None:
                same = path.is_symlink() and str(path.readlink()) == member.linkname
            else:
                same = not path.is_symlink() and path.read_bytes() == content.read()
        except OSError:
            return False
        if not same:
            return False
    return True
