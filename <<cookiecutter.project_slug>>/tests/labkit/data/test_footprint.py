"""A footprint changes when the data do, and with nothing else."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.command import UsageError
from labkit.data.folder import sort_names, walk
from labkit.data.footprint import (
    Footprint,
    compare_with_footprint,
    data_verify,
    identify_data,
    measure_arrays,
    measure_footprint,
    read_footprint,
    record_footprint,
)
from labkit.data.footprint.digest import File, hash_files
from labkit.data.record import record_path

FILES = {"a.txt": b"alpha", "a/b": b"beta", "a/c/d.bin": bytes(5000), "empty": b"", "z\n\\n\\": b"strange"}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def root_of(files: dict[str, bytes]) -> str:
    """Compute the root as its definition says, independently."""
    lines: list[bytes] = []
    for name, content in sorted((os.fsencode(name), content) for name, content in files.items()):
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} ".encode() + escaped + b"\n")
    return hashlib.sha256(b"".join(lines)).hexdigest()


def differences(data: Path, *, is_deep: bool = False) -> list[str]:
    return [str(difference) for difference in compare_with_footprint(data, is_deep=is_deep)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data", FILES)


class TestRoot:
    def test_is_the_hash_of_all_hashes_sizes_and_paths(self, data: Path) -> None:
        assert record_footprint(data) == Footprint(root_of(FILES), 5, sum(map(len, FILES.values())))
        assert read_footprint(data) == record_footprint(data) == measure_footprint(data)

    def test_does_not_depend_on_place_order_or_times(self, data: Path, tmp_path: Path) -> None:
        other = write(tmp_path / "some" / "where" / "else", dict(reversed(FILES.items())))
        os.utime(other / "a.txt", ns=(0, 0))
        assert measure_footprint(other) == measure_footprint(data)

    def test_does_not_depend_on_what_the_bench_keeps_beside_the_data(self, data: Path) -> None:
        before = measure_footprint(data)
        record_footprint(data)
        write(data, {".labkit/statistics": b"{}", "a/.labkit/index": b"-"})
        assert measure_footprint(data) == before
        assert differences(data) == differences(data, is_deep=True) == []

    @pytest.mark.parametrize(
        "change",
        [{"a.txt": b"alphA"}, {"new": b""}, {"a/b": b"beta "}, {"empty": b"\0"}],
        ids=["a byte", "an empty file", "a size", "a file no longer empty"],
    )
    def test_changes_with_any_change(self, data: Path, change: dict[str, bytes]) -> None:
        before = measure_footprint(data).root
        write(data, change)
        assert measure_footprint(data).root == root_of(FILES | change) != before

    def test_changes_with_a_name_and_with_a_deletion(self, data: Path) -> None:
        roots = {measure_footprint(data).root}
        (data / "a.txt").rename(data / "b.txt")
        roots.add(measure_footprint(data).root)
        (data / "b.txt").unlink()
        roots.add(measure_footprint(data).root)
        assert len(roots) == 3

    def test_of_a_single_file_is_that_of_its_name_and_bytes(self, tmp_path: Path) -> None:
        write(tmp_path, {"data.zip": b"123", "other": b""})
        assert record_footprint(tmp_path / "data.zip").root == root_of({"data.zip": b"123"})
        assert differences(tmp_path / "data.zip", is_deep=True) == []
        (tmp_path / "data.zip").write_bytes(b"124")
        assert differences(tmp_path / "data.zip", is_deep=True) == ["changed data.zip"]

    def test_is_the_same_by_many_processes_as_by_one(self, tmp_path: Path) -> None:
        files = {f"{number % 7}/{number}": os.urandom(number % 300) for number in range(3000)}
        files |= {f"large{number}": os.urandom(5_000_000 + number) for number in range(3)}
        assert measure_footprint(write(tmp_path / "data", files)).root == root_of(files)

    @settings(max_examples=50)
    @given(
        names=st.lists(
            st.binary(min_size=1, max_size=30).filter(
                lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b"..", b".labkit"}
            ),
            max_size=20,
        ),
        levels=st.integers(0, 3),
    )
    def test_is_defined_for_all_names(
        self, tmp_path_factory: pytest.TempPathFactory, names: list[bytes], levels: int
    ) -> None:
        folder = tmp_path_factory.mktemp("data")
        files: dict[str, bytes] = {}
        for number, name in enumerate(names):
            path = "/".join(f"{level}" for level in range(number % (levels + 1))) + "/" + os.fsdecode(name)
            if not any((folder / path.lstrip("/")).is_dir() or parent.is_file() for parent in (folder / path).parents):
                files[path.lstrip("/")] = name
        try:
            write(folder, files)
        except (IsADirectoryError, FileExistsError, NotADirectoryError):
            return  # a name that is both a file's and a folder's
        assert record_footprint(folder).root == root_of(files)
        assert differences(folder) == differences(folder, is_deep=True) == []


class TestComparison:
    @pytest.mark.parametrize("is_deep", [False, True])
    def test_names_each_file_that_was_added_deleted_or_changed(self, data: Path, *, is_deep: bool) -> None:
        record_footprint(data)
        assert differences(data, is_deep=is_deep) == []
        write(data, {"a.txt": b"longer than before", "a/new": b"", "zz": b"1", "0": b""})
        (data / "a" / "c" / "d.bin").unlink()
        (data / "z\n\\n\\").unlink()
        assert differences(data, is_deep=is_deep) == [
            "added 0",
            "changed a.txt",
            "deleted a/c/d.bin",
            "added a/new",
            "deleted z\n\\n\\",
            "added zz",
        ]

    @pytest.mark.parametrize("is_deep", [False, True])
    def test_finds_everything_deleted_and_everything_added(self, data: Path, *, is_deep: bool) -> None:
        record_footprint(data)
        for name in FILES:
            (data / name).unlink()
        assert differences(data, is_deep=is_deep) == [f"deleted {name}" for name in FILES]
        record_footprint(data)
        write(data, FILES)
        assert differences(data, is_deep=is_deep) == [f"added {name}" for name in FILES]

    def test_finds_single_changes_among_many_files(self, tmp_path: Path) -> None:
        files = {f"{number:05d}": str(number).encode() for number in range(3000)}
        data = write(tmp_path / "data", files)
        record_footprint(data)
        for number in (0, 999, 1000, 1001, 2999):
            (data / f"{number:05d}").unlink()
        (data / "01500").write_bytes(b"changed")
        (data / "00998x").write_bytes(b"")
        expected = ["deleted 00000", "added 00998x", "deleted 00999", "deleted 01000", "deleted 01001"]
        expected += ["changed 01500", "deleted 02999"]
        assert differences(data) == differences(data, is_deep=True) == expected

    def test_of_a_copy_with_new_times_finds_nothing(self, data: Path, tmp_path: Path) -> None:
        record_footprint(data)
        shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copyfile)
        assert (tmp_path / "copy" / "a.txt").stat().st_mtime_ns != (data / "a.txt").stat().st_mtime_ns
        assert differences(tmp_path / "copy") == []
        assert differences(tmp_path / "copy", is_deep=True) == []

    def test_does_not_depend_on_the_time_zone(self, data: Path) -> None:
        code = (
            "from pathlib import Path; from labkit.data.footprint import *; import time; "
            f"print(time.timezone, list(compare_with_footprint(Path({str(data)!r}))))"
        )
        root = record_footprint(data)
        for zone, offset in (("UTC-9", "-32400"), ("UTC+5", "18000")):
            environment = {**os.environ, "TZ": zone}
            result = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
            assert result.stdout.decode() == f"{offset} []\n"
        assert measure_footprint(data) == root

    def test_reads_only_files_whose_time_differs_unless_it_is_deep(self, data: Path) -> None:
        record_footprint(data)
        status = (data / "a.txt").stat()
        (data / "a.txt").write_bytes(b"ALPHA")
        assert differences(data) == ["changed a.txt"]
        os.utime(data / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert differences(data) == []
        assert differences(data, is_deep=True) == ["changed a.txt"]

    def test_keeps_times_to_the_nanosecond(self, data: Path) -> None:
        os.utime(data / "a.txt", ns=(0, 1_700_000_000_123_456_789))
        record_footprint(data)
        assert b" 5 1700000000123456789 a.txt\n" in record_path(data, "footprint").read_bytes()

    def test_needs_a_record(self, data: Path) -> None:
        with pytest.raises(UsageError, match=r"is recorded: make one with `data-verify .* --record`"):
            differences(data)
        with pytest.raises(UsageError, match="There are no data at"):
            differences(data / "absent")

    @pytest.mark.parametrize("is_deep", [False, True])
    def test_refuses_a_damaged_record(self, data: Path, *, is_deep: bool) -> None:
        record_footprint(data)
        record = record_path(data, "footprint")
        content = record.read_bytes()
        for damaged in (b"", content[:100], b"x" + content, content[:-40]):
            record.write_bytes(damaged)
            with pytest.raises(UsageError, match="is damaged"):
                differences(data, is_deep=is_deep)
        if is_deep:
            record.write_bytes(content.replace(b'"files": 5', b'"files": 6'))
            with pytest.raises(UsageError, match="is damaged"):
                differences(data, is_deep=True)


class TestFaults:
    def test_a_file_that_changes_while_it_is_read_is_named(self, data: Path) -> None:
        def grow(files: int, size: int) -> None:
            assert (files, size) != (0, 0)
            (data / "a.txt").write_bytes(b"alphabet")

        with pytest.raises(UsageError, match=r"a\.txt changed while it was read"):
            # Progress is told after files are looked at and before they are read.
            record_footprint(data, progress=grow)
        assert read_footprint(data) is None

    def test_a_broken_link_is_named(self, data: Path) -> None:
        (data / "broken").symlink_to("absent")
        with pytest.raises(UsageError, match="broken is neither a file nor a folder"):
            record_footprint(data)

    def test_a_file_that_disappears_is_named(self, data: Path) -> None:
        def delete(files: int, size: int) -> None:
            assert (files, size) != (0, 0)
            (data / "a.txt").unlink(missing_ok=True)

        with pytest.raises(UsageError, match=r"a\.txt: No such file"):
            record_footprint(data, progress=delete)

    def test_a_killed_helper_ends_the_work(self, tmp_path: Path) -> None:
        paths = [os.fsencode(write(tmp_path, {f"{number}": bytes(4 * 2**20)}) / f"{number}") for number in range(20)]
        hashes = hash_files(File(path, path, 4 * 2**20) for path in paths)
        next(hashes)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="ended from outside"):
            list(hashes)

    def test_a_helper_that_is_killed_while_idle_ends_the_work_too(self, tmp_path: Path) -> None:
        path = os.fsencode(write(tmp_path, {"a": b"1"}) / "a")

        def find_files() -> Iterator[File[int]]:
            for number in range(3):
                yield File(number, path, 4 * 2**20)
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
                os.waitid(os.P_PID, int(child), os.WEXITED | os.WNOWAIT)
            for number in range(100):
                yield File(number, path, 4 * 2**20)

        with pytest.raises(ChildProcessError, match="ended from outside"):
            list(hash_files(find_files()))

    def test_no_helper_stays_when_the_work_is_given_up(self, tmp_path: Path) -> None:
        before = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        paths = [os.fsencode(write(tmp_path, {f"{number}": bytes(4 * 2**20)}) / f"{number}") for number in range(20)]
        hashes = hash_files(File(path, path, 4 * 2**20) for path in paths)
        next(hashes)
        hashes.close()  # pyright: ignore[reportAttributeAccessIssue]
        assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == before

    def test_a_kill_leaves_the_former_record(self, tmp_path: Path) -> None:
        data = write(tmp_path / "data", {f"{number}": os.urandom(1000) for number in range(2000)})
        expected = record_footprint(data)
        code = f"from pathlib import Path; from labkit.data.footprint import *; record_footprint(Path({str(data)!r}))"
        for number in range(8):
            process = subprocess.Popen([sys.executable, "-c", code])
            time.sleep(0.05 * number)
            process.kill()
            process.wait()
            assert read_footprint(data) == expected
        assert differences(data) == []


class TestMemory:
    def test_names_are_sorted_in_the_memory_of_some(self) -> None:
        def names(count: int) -> Iterator[bytes]:
            return (b"%08d\n%d" % (number * 7919 % count, number) for number in range(count))

        tracemalloc.start()
        last, count = b"", 0
        for name in sort_names(names(200_000), limit=5000):
            assert last < name
            last, count = name, count + 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 200_000
        assert peak < 2_500_000

    def test_of_a_footprint_does_not_grow_with_the_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("labkit.data.footprint.digest.BATCHES_AHEAD", 4)
        monkeypatch.setattr(sort_names, "__defaults__", (500,))
        peaks: list[int] = []
        for count in (2000, 12000):
            data = write(tmp_path / str(count), {f"{number:06d}": b"" for number in range(count)})
            tracemalloc.start()
            record_footprint(data)
            assert list(compare_with_footprint(data, is_deep=True)) == []
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0]

    def test_walk_keeps_the_order_of_paths_when_names_are_sorted_in_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ["a", "a.b", "a-/c", "b/0", "b/1\n", "b/c/d", "b0", "c/d/e/f", "é"]
        data = write(tmp_path, dict.fromkeys(names, b""))
        monkeypatch.setattr(sort_names, "__defaults__", (2,))
        assert list(walk(data)) == sorted(map(os.fsencode, names))


class TestExpectation:
    def test_a_run_gets_the_footprint_and_records_it_where_there_is_none(self, data: Path) -> None:
        footprint = identify_data(data)
        assert footprint == read_footprint(data) == Footprint(root_of(FILES), 5, 5016)
        assert identify_data(data, expect=footprint.root) == footprint
        assert identify_data(data, expect=footprint.root[:8].upper()) == footprint
        assert footprint.to_json() == f'{{"root": "{footprint.root}", "files": 5, "bytes": 5016}}'

    def test_a_run_is_refused_other_data(self, data: Path) -> None:
        with pytest.raises(UsageError, match=rf"have the root {root_of(FILES)}, not {'0' * 64}: these are other data"):
            identify_data(data, expect="0" * 64)
        for unusable in ("", "abc", "not a hash"):
            with pytest.raises(UsageError, match="is no hash: give 8 to 64 hexadecimal digits"):
                identify_data(data, expect=unusable)

    def test_a_run_is_refused_data_that_are_not_as_recorded(self, data: Path) -> None:
        identify_data(data)
        (data / "a.txt").write_bytes(b"other")
        with pytest.raises(UsageError, match=r"1 files differ \(changed a\.txt\): see `data-verify"):
            identify_data(data)

    def test_a_copy_with_new_times_is_read_once(self, data: Path, tmp_path: Path) -> None:
        root = identify_data(data).root
        copy = tmp_path / "copy"
        shutil.copytree(data, copy, copy_function=shutil.copyfile)
        assert identify_data(copy).root == root
        state = (copy / "a.txt").stat()
        (copy / "a.txt").unlink()
        (copy / "a.txt").write_bytes(b"ALPHA")  # would be noticed if it were read
        os.utime(copy / "a.txt", ns=(state.st_atime_ns, state.st_mtime_ns))
        assert identify_data(copy).root == root
        assert [str(each) for each in compare_with_footprint(copy, is_deep=True)] == ["changed a.txt"]

    def test_times_are_not_renewed_when_a_file_changes_meanwhile(self, data: Path) -> None:
        identify_data(data)
        record = record_path(data, "footprint").read_bytes()
        os.utime(data / "empty", ns=(0, 0))

        def change(_files: int, _size: int) -> None:
            (data / "a.txt").write_bytes(b"ALPHA")  # it has been looked at by now

        identify_data(data, progress=change)
        assert record_path(data, "footprint").read_bytes() == record
        assert differences(data) == ["changed a.txt"]
        assert [path.name for path in (data / ".labkit").iterdir()] == ["footprint"]

    def test_of_arrays_is_that_of_their_files(self, tmp_path: Path) -> None:
        arrays = {"b": np.arange(6.0).reshape(2, 3).T, "a": np.array([], np.int8), "a.b": np.ones((2, 2), bool)}
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", np.ascontiguousarray(array))
        assert measure_arrays(arrays) == measure_footprint(tmp_path)

    def test_a_run_can_use_data_beside_which_nothing_can_be_written(self, data: Path, tmp_path: Path) -> None:
        (data / ".labkit").write_bytes(b"no folder can be made here")
        assert identify_data(data).root == root_of(FILES)
        assert identify_data(data, cache=tmp_path / "cache").root == root_of(FILES)
        assert read_footprint(data, cache=tmp_path / "cache") == identify_data(data)


class TestCommand:
    def test_records_then_verifies(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert data_verify.main([str(data), "--record"]) == 0
        assert capsys.readouterr().out == f"{root_of(FILES)}  {data}  (5 files, 5,016 bytes)\n"
        assert data_verify.main([str(data)]) == 0
        assert data_verify.main([str(data), "--deep", "--expect", root_of(FILES)]) == 0
        (data / "a.txt").unlink()
        capsys.readouterr()
        assert data_verify.main([str(data)]) == 1
        assert capsys.readouterr().out == f"deleted a.txt\n{data} is not as recorded: 1 files differ.\n"

    def test_expects_a_root_also_of_data_never_recorded(self, data: Path) -> None:
        assert data_verify.main([str(data), "--expect", root_of(FILES)]) == 0
        assert data_verify.main([str(data), "--expect", "0" * 64]) == 1
        assert read_footprint(data) is None

    def test_exits_with_two_on_bad_input(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments in ([str(data / "absent")], [str(data)], [str(data), "--expect", "xyz"], [str(data), "--what"]):
            assert data_verify.main(arguments) == 2
        assert "Traceback" not in capsys.readouterr().err

    def test_says_where_nothing_can_be_written(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (data / ".labkit").write_bytes(b"no folder can be made here")
        assert data_verify.main([str(data), "--record"]) == 2
        assert "cannot be written (" in capsys.readouterr().err

    def test_a_full_disk_leaves_the_former_record(self, tmp_path: Path) -> None:
        data = write(tmp_path / "data", {"a": b"1"})
        expected = record_footprint(data)
        write(data, {f"{number}": b"" for number in range(500)})
        code = (
            "import resource, signal, sys; from labkit.data.footprint import data_verify\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
            f"sys.exit(data_verify.main([{str(data)!r}, '--record']))"
        )
        result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
        assert result.returncode == 2
        assert b"cannot be written (File too large)" in result.stderr
        assert read_footprint(data) == expected
        assert [path.name for path in (data / ".labkit").iterdir()] == ["footprint"]

    def test_explains_itself_with_an_example(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="0"):
            data_verify.main(["--help"])
        assert "data-verify data/cells --record" in capsys.readouterr().out
