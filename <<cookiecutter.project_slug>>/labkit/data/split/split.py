"""Which samples are for training, which for validation and which for testing.

A split is a manifest: the indices of each part, the groups, the seed, and the footprint of the data it belongs to. No
file is moved, and the same call gives the same split. No group, such as a patient, is ever in two parts. What is at
hand decides how samples are drawn: labels are kept in proportion, groups are kept together, both are where both are
given, and times part the past from the future. Scikit-learn draws the samples.
"""

import collections
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from labkit.atomic import write_atomically
from labkit.command import UsageError, command
from labkit.data.footprint import identify_data
from labkit.data.progress import show_progress
from labkit.data.record import explained_when_unwritable, record_path
from labkit.data.split.sample import parse_times, read_samples
from labkit.environment import Environment
from labkit.seed import derive_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.utils.data import TensorDataset

    Indices = NDArray[np.int64]

FORMAT: Final = "labkit split 1"
RECORD_NAME: Final = "split.json"
DEFAULT_PART: Final = 0.1
FINEST_SHARE: Final = 20
"""Groups in strata are dealt into so many folds at most; a share is a number of these."""
LARGEST_SEED: Final = 2**32

Size = int | float
"""A number of samples (or of groups, where there are groups), or a share of all samples, between 0 and 1."""
Part = dict[str, list[int]]


@dataclass(frozen=True)
class Split:
    """The parts of a data set; several times over for cross-validation."""

    strategy: str
    """How samples were drawn: ``random``, ``stratified``, ``grouped``, ``stratified-grouped`` or ``time``."""
    samples: int
    """How many samples the data set has."""
    seed: int
    folds: list[Part]
    """For each fold, the sorted indices of each part."""
    groups: list[dict[str, list[str]]] = field(default_factory=list)
    """For each fold, the sorted groups of each part; nothing without groups."""
    pattern: str | None = None
    """Which files are samples, if not all."""
    footprint: str | None = None
    """The root of the data's footprint."""

    @property
    def train(self) -> list[int]:
        """The samples to learn from, of the first fold."""
        return self.folds[0]["train"]

    @property
    def validation(self) -> list[int]:
        """The samples to choose by, of the first fold."""
        return self.folds[0]["validation"]

    @property
    def test(self) -> list[int]:
        """The samples to judge by, of the first fold."""
        return self.folds[0]["test"]

    def cut(self, fold: int, *tensors: "Tensor") -> "tuple[TensorDataset, TensorDataset, TensorDataset]":
        """Make data sets of the parts of a fold.

        :param fold: Its number.
        :param tensors: What there is of each sample, such as inputs and targets, ``(samples, ...)``.
        :return: What is for training, for validation and for testing.
        """
        from torch.utils.data import TensorDataset

        training, validation, test = (
            TensorDataset(*(tensor[self.folds[fold][part]] for tensor in tensors))
            for part in ("train", "validation", "test")
        )
        return training, validation, test

    def to_json(self) -> str:
        """Return the manifest; equal splits give equal text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a manifest.

        :param text: The manifest.
        :return: The split.
        :raises UsageError: If it is damaged, or breaks the rules of splits.
        """
        try:
            fields = json.loads(text)
            if fields.pop("format") != FORMAT:
                raise UsageError(f"The split is of another format than '{FORMAT}'.")
            split = cls(**fields)
            split.check()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"The split is damaged ({error!r}): make it again with `data-split`.") from error
        return split

    def check(self) -> None:
        """Make sure that no sample and no group is in two parts of a fold.

        :raises UsageError: If one is.
        """
        for number, fold in enumerate(self.folds):
            for first, second in itertools.combinations(fold, 2):
                _check_apart("sample", fold[first], fold[second], (number, first, second))
                if self.groups:
                    groups = self.groups[number]
                    _check_apart("group", groups[first], groups[second], (number, first, second))
            indices = [index for part in fold.values() for index in part]
            if len(set(indices)) < len(indices) or min(indices) < 0 or max(indices) >= self.samples:
                raise UsageError(f"Fold {number} repeats a sample, or counts further than {self.samples} samples.")


def make_split(
    samples: int,
    *,
    labels: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
    train: Size | None = None,
    validation: Size = DEFAULT_PART,
    test: Size = DEFAULT_PART,
    seed: int = 0,
) -> Split:
    """Split samples once.

    :param samples: How many there are.
    :param labels: The class of each, to keep in proportion.
    :param groups: The group of each, to keep together. Groups differ in size, so that shares are met nearly.
    :param times: The time of each: the latest are for testing, those before for validation, the earliest for training.
        Samples of the same time stay together.
    :param train: How large the part for training is; all that the others leave by default.
    :param validation: How large the part for validation is; 0 for none.
    :param test: How large the part for testing is; 0 for none.
    :param seed: Another seed gives another split.
    :return: The split.
    :raises UsageError: If the samples cannot be split so.
    """
    drawing = _Drawing(samples, labels, groups, times, seed)
    rest, tested = drawing.hold_out(drawing.all, test, "test")
    rest, validated = drawing.hold_out(rest, validation, "validation")
    if train is not None:
        _, rest = drawing.hold_out(rest, train, "train")
    return drawing.finish([{"train": rest, "validation": validated, "test": tested}])


def make_folds(
    samples: int,
    folds: int,
    *,
    labels: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    test: Size = 0,
    seed: int = 0,
) -> Split:
    """Split samples for k-fold cross-validation.

    :param samples: How many there are.
    :param folds: How many folds: each sample that is not for testing is for validation in exactly one.
    :param labels: The class of each, to keep in proportion.
    :param groups: The group of each, to keep together.
    :param test: How large the part for testing is, the same in all folds; none by default.
    :param seed: Another seed gives another split.
    :return: The split.
    :raises UsageError: If the samples cannot be split so.
    """
    drawing = _Drawing(samples, labels, groups, None, seed)
    rest, tested = drawing.hold_out(drawing.all, test, "test")
    return drawing.finish(
        [{"train": train, "validation": held, "test": tested} for train, held in drawing.deal(rest, folds, "folds")]
    )


def make_group_folds(groups: Sequence[str], *, validation: Size = 0, seed: int = 0) -> Split:
    """Split samples so that each group is for testing in exactly one fold: leave one group out.

    :param groups: The group of each sample.
    :param validation: How large the part for validation is; none by default.
    :param seed: Another seed gives other parts for validation.
    :return: The split, a fold for each group in the order of their names.
    :raises UsageError: If the samples cannot be split so.
    """
    from sklearn.model_selection import LeaveOneGroupOut

    drawing = _Drawing(len(groups), None, groups, None, seed)
    parts: list[dict[str, Indices]] = []
    for train, tested in _call_sklearn(LeaveOneGroupOut(), len(groups), None, drawing.groups):
        rest, validated = drawing.hold_out(train, validation, "validation")
        parts.append({"train": rest, "validation": validated, "test": tested})
    return drawing.finish(parts)


def write_split(split: Split, path: Path) -> None:
    """Write a manifest; one that says something else is never overwritten.

    :param split: The split.
    :param path: Where to write it.
    :raises UsageError: If there is another split.
    """
    content = split.to_json().encode()
    if path.exists():
        if path.read_bytes() == content:
            return
        raise UsageError(f"There is another split at {path}: delete it, or choose another path with --output.")
    with explained_when_unwritable(path), write_atomically(path) as file:
        file.write(content)


def read_split(path: Path, *, root: str | None = None) -> Split:
    """Read a manifest.

    :param path: Where it is.
    :param root: The root of the data's footprint, to refuse a split of other data.
    :return: The split.
    :raises UsageError: If there is none, it is damaged, or of other data.
    """
    try:
        split = Split.from_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"The split {path} cannot be read ({error.strerror}): make it with `data-split`.") from error
    if root is not None and split.footprint != root:
        raise UsageError(f"The split {path} is of other data, of the root {split.footprint}, and these have {root}.")
    return split


@command
def data_split(
    path: Path,
    *,
    output: Path | None = None,
    pattern: str | None = None,
    train: int | float | None = None,
    validation: int | float | None = None,
    test: int | float | None = None,
    stratify_by: str | None = None,
    group_by: str | None = None,
    time_by: str | None = None,
    folds: int | None = None,
    leave_one_group_out: bool = False,
    seed: int = 0,
) -> int:
    r"""Split data for training, validation and testing, and write who is where; no file is moved.

    An example: ``data-split data/cells --stratify-by folder --group-by 'patient-(\d+)' --test 0.2``

    :param path: A folder, a ZIP or TAR file, or a table (.csv, .tsv) with a row for each sample.
    :param output: Where to write the split; beside the data's footprint by default.
    :param pattern: Which files are samples, for example ``*.png``; all by default.
    :param train: A number of samples (groups, with --group-by) or a share such as 0.8; the rest by default.
    :param validation: Likewise; 0.1 by default. With --folds, the folds take turns instead.
    :param test: Likewise; 0.1 by default, none with --folds. With --leave-one-group-out, the groups take turns instead.
    :param stratify_by: What to keep in proportion: a column of the table; 'folder' for the folder of a file, or a
        regular expression with a group that is searched for in its name.
    :param group_by: What to keep together, given likewise.
    :param time_by: What to part past and future by, given likewise: numbers, or dates as in ISO 8601.
    :param folds: Make so many folds for cross-validation.
    :param leave_one_group_out: Make a fold for each group.
    :param seed: Another seed gives another split.
    :return: 0.
    """
    environment = Environment.read()
    cache = environment.data_ephemeral_path or environment.data_path
    with show_progress(f"Verifying {path}") as progress:
        footprint = identify_data(path, cache=cache, progress=progress)
    samples = read_samples(path, pattern=pattern, cache=cache)
    labels = None if stratify_by is None else samples.values(stratify_by)
    groups = None if group_by is None else samples.values(group_by)
    times = None if time_by is None else parse_times(samples.values(time_by))
    if leave_one_group_out:
        _refuse("--leave-one-group-out", train=train, test=test, folds=folds, stratify_by=labels, time_by=times)
        if groups is None:
            raise UsageError("The option --leave-one-group-out needs --group-by.")
        split = make_group_folds(groups, validation=validation or 0, seed=seed)
    elif folds is not None:
        _refuse("--folds", train=train, validation=validation, time_by=times)
        split = make_folds(len(samples), folds, labels=labels, groups=groups, test=test or 0, seed=seed)
    else:
        split = make_split(
            len(samples),
            labels=labels,
            groups=groups,
            times=times,
            train=train,
            validation=DEFAULT_PART if validation is None else validation,
            test=DEFAULT_PART if test is None else test,
            seed=seed,
        )
    split = dataclasses.replace(split, pattern=pattern, footprint=footprint.root)
    target = output or record_path(path, RECORD_NAME)
    write_split(split, target)
    for number, fold in enumerate(split.folds):
        sizes = [
            f"{part} {len(indices):,}" + (f" in {len(split.groups[number][part]):,} groups" if split.groups else "")
            for part, indices in fold.items()
        ]
        print(f"fold {number}: " * (len(split.folds) > 1) + ", ".join(sizes))
    print(f"{target}  ({split.strategy}, seed {seed})")
    return 0


def _refuse(option: str, **others: object) -> None:
    for name, value in others.items():
        if value is not None:
            raise UsageError(f"The options {option} and --{name.replace('_', '-')} cannot be given together.")


class _Drawing:
    """Draws parts of samples, in the way their labels, groups or times ask for."""

    def __init__(
        self,
        samples: int,
        labels: Sequence[str] | None,
        groups: Sequence[str] | None,
        times: Sequence[float] | None,
        seed: int,
    ) -> None:
        import numpy as np

        for name, values in (("labels", labels), ("groups", groups), ("times", times)):
            if values is not None and len(values) != samples:
                raise UsageError(f"There are {len(values)} {name} and {samples} samples: each sample needs one.")
        if times is not None and (labels is not None or groups is not None):
            raise UsageError("A split by time cannot also keep labels in proportion or groups together: choose one.")
        if samples < 1:
            raise UsageError("There are no samples to split.")
        self.all = np.arange(samples)
        self.labels = None if labels is None else np.asarray(labels, dtype=str)
        self.groups = None if groups is None else np.asarray(groups, dtype=str)
        self.times = None if times is None else np.asarray(times, dtype=np.float64)
        if self.times is not None and not np.isfinite(self.times).all():
            raise UsageError("A time is not a finite number: every sample needs one.")
        self._samples = samples
        self._seed = seed
        strata = "stratified" if labels is not None else ""
        together = "grouped" if groups is not None else ""
        self.strategy = "time" if times is not None else "-".join(filter(None, (strata, together))) or "random"

    def hold_out(self, indices: "Indices", size: Size, part: str) -> "tuple[Indices, Indices]":
        """Draw one part.

        :param indices: What to draw from.
        :param size: How large the part is; a share is one of all samples.
        :param part: The part's name.
        :return: What is left, and the part.
        """
        if size == 0:
            return indices, indices[:0]
        if size < 0 or (isinstance(size, float) and not size < 1):
            raise UsageError(
                f"The size of {part} is {size}: give a number of samples such as 1000, or a share such as 0.1."
            )
        if self.times is not None:
            held = self._draw_by_time(self.times[indices], size, part)
        elif self.groups is not None:
            held = self._draw_groups(indices, self.groups[indices], size, part)
        else:
            held = self._draw(indices, size, part)
        if not 0 < held.sum() < len(indices) and not (part == "train" and held.all()):
            raise UsageError(
                f"The size of {part} is {size}, which takes {held.sum()} of the {len(indices)} samples at hand: some "
                "must be taken, and some be left."
            )
        return indices[~held], indices[held]

    def deal(self, indices: "Indices", folds: int, purpose: str) -> "list[tuple[Indices, Indices]]":
        """Deal samples into folds, and return for each the others and its own."""
        from sklearn import model_selection

        if folds < 2:  # noqa: PLR2004 (one to learn from, one to judge by)
            raise UsageError(f"The number of folds is {folds}: give 2 or more.")
        kind: Callable[..., Any] = {
            "random": model_selection.KFold,
            "stratified": model_selection.StratifiedKFold,
            "grouped": model_selection.GroupKFold,
            "stratified-grouped": model_selection.StratifiedGroupKFold,
        }[self.strategy]
        splitter = kind(n_splits=folds, shuffle=True, random_state=self._derive_seed(purpose))
        labels = None if self.labels is None else self.labels[indices]
        groups = None if self.groups is None else self.groups[indices]
        dealt = _call_sklearn(splitter, len(indices), labels, groups)
        return [(indices[train], indices[held]) for train, held in dealt]

    def finish(self, parts: "list[dict[str, Indices]]") -> Split:
        """Write down the parts, and check them."""
        import numpy as np

        folds = [{part: np.sort(indices).tolist() for part, indices in fold.items()} for fold in parts]
        groups: list[dict[str, list[str]]] = []
        if self.groups is not None:
            groups = [
                {part: np.unique(self.groups[indices]).tolist() for part, indices in fold.items()} for fold in parts
            ]
        split = Split(self.strategy, self._samples, self._seed, folds, groups)
        split.check()
        return split

    def _derive_seed(self, purpose: str) -> int:
        return derive_seed(self._seed, f"split/{purpose}") % LARGEST_SEED

    def _count(self, size: Size) -> int:
        return size if isinstance(size, int) else round(size * self._samples)

    def _draw(self, indices: "Indices", size: Size, part: str) -> "NDArray[np.bool_]":
        """Draw single samples."""
        labels = None if self.labels is None else self.labels[indices]
        return self._draw_some(len(indices), labels, size, part)

    def _draw_some(self, samples: int, labels: "NDArray[np.str_] | None", size: Size, part: str) -> "NDArray[np.bool_]":
        """Draw some of a number of samples or groups, with labels in proportion if there are any."""
        import numpy as np
        from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

        count = self._count(size)
        _refuse_more(count, samples, size, part)
        if not 0 < count < samples:
            return np.full(samples, count >= samples)
        kind: Callable[..., Any] = ShuffleSplit if labels is None else StratifiedShuffleSplit
        splitter = kind(n_splits=1, test_size=count, random_state=self._derive_seed(part))
        [(_, drawn)] = _call_sklearn(splitter, samples, labels, None)
        return np.isin(np.arange(samples), drawn)

    def _draw_by_time(self, times: "NDArray[np.float64]", size: Size, part: str) -> "NDArray[np.bool_]":
        """Draw the latest samples, and move the border where it would part samples of one time."""
        import numpy as np

        ordered = np.sort(times)
        first = len(ordered) - self._count(size)
        _refuse_more(self._count(size), len(ordered), size, part)
        if not 0 < first < len(ordered):
            return np.full(len(ordered), first <= 0)
        before, after = (int(np.searchsorted(ordered, ordered[first], side)) for side in ("left", "right"))
        if before < first and isinstance(size, int):
            raise UsageError(
                f"The size of {part} is {size}, which parts samples of one time: give {len(ordered) - after} or "
                f"{len(ordered) - before}, or a share, which is met nearly."
            )
        first = before if first - before <= after - first else after
        return times >= ordered[first] if first < len(ordered) else np.zeros(len(ordered), bool)

    def _draw_groups(
        self, indices: "Indices", groups: "NDArray[np.str_]", size: Size, part: str
    ) -> "NDArray[np.bool_]":
        """Draw whole groups: a number of them, or so many, at least one, as come nearest to a share of all samples."""
        import numpy as np

        names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        if isinstance(size, float) and self.labels is not None:
            return self._draw_stratified_groups(indices, size, part, len(names))
        if isinstance(size, float):
            order = np.random.default_rng(self._derive_seed(part)).permutation(len(names))
            taken = np.cumsum(sizes[order])
            return np.isin(inverse, order[: 1 + int(np.argmin(np.abs(taken - self._count(size))))])
        labels = None if self.labels is None else _most_common(self.labels[indices], inverse, len(names))
        return self._draw_some(len(names), labels, size, part)[inverse]

    def _draw_stratified_groups(self, indices: "Indices", size: float, part: str, groups: int) -> "NDArray[np.bool_]":
        """Deal groups into folds that keep labels in proportion, and take some of the folds."""
        import numpy as np

        share = Fraction(self._count(size), len(indices)).limit_denominator(min(FINEST_SHARE, groups))
        if not 0 < share < 1:
            return np.full(len(indices), share >= 1)
        dealt = self.deal(indices, share.denominator, part)
        return np.isin(indices, np.concatenate([held for _, held in dealt[: share.numerator]]))


def _refuse_more(count: int, available: int, size: Size, part: str) -> None:
    # Shares of one whole are each rounded, and may together be one too many.
    if count > available + isinstance(size, float):
        raise UsageError(f"The size of {part} is {size}, but only {available} are left: make it smaller.")


def _most_common(labels: "NDArray[np.str_]", group_of: "Indices", groups: int) -> "NDArray[np.str_]":
    """Return each group's most common label."""
    import numpy as np

    counters = [collections.Counter[str]() for _ in range(groups)]
    for label, group in zip(labels.tolist(), group_of.tolist(), strict=True):
        counters[group][label] += 1
    return np.array([max(sorted(counter), key=counter.__getitem__) for counter in counters])


def _call_sklearn(
    splitter: Any, samples: int, labels: "NDArray[np.str_] | None", groups: "NDArray[np.str_] | None"
) -> "list[tuple[Indices, Indices]]":
    """Let scikit-learn split samples; its objections become a user's."""
    import numpy as np

    try:
        parts: Iterator[tuple[Indices, Indices]] = splitter.split(np.zeros(samples), labels, groups)
        return list(parts)
    except ValueError as error:
        raise UsageError(f"The samples cannot be split so: {error}") from error


def _check_apart(kind: str, first: list[Any], second: list[Any], where: tuple[int, str, str]) -> None:
    if both := set(first) & set(second):
        number, one, other = where
        raise UsageError(f"In fold {number} the {kind} {min(both)} is both in {one} and in {other}.")
