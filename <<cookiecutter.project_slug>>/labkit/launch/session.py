"""Many runs from one file: what a session is, and the trials that it consists of; pure but for reading the file."""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, Self, cast

from pydantic import AfterValidator, Field, ValidationError, model_validator

from labkit.command import UsageError
from labkit.launch.cluster import Resources
from labkit.launch.record import Record, explain, read_yaml, with_underscores
from labkit.seed import derive_seed
from labkit.tracking.parameter import Plain

SWEEP: Final = "_"
"""Ends the name of what has several values."""
LARGEST_NUMBER_OF_TRIALS: Final = 1_000_000

Search = Literal["grid", "random", "bayesian"]


def _require_validation(name: str) -> str:
    stage, slash, rest = name.partition("/")
    if stage == "test":
        raise ValueError(
            f"'{name}' is measured on the test data, by which nothing may be chosen: name a validation metric"
        )
    if stage != "validation" or not slash or not rest:
        raise ValueError(f"'{name}' is no validation metric: name one such as validation/loss")
    return name


Metric = Annotated[str, AfterValidator(_require_validation)]


class Range(Record):
    """Values between two bounds, which only a search can choose from.

    :ivar least: The smallest.
    :ivar most: The largest.
    :ivar log: Whether the logarithm of the value is what is spread evenly.
    """

    least: float | int
    most: float | int
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.least, int) and isinstance(self.most, int)

    @property
    def size(self) -> float:
        """How many values there are; infinity where not only whole numbers are meant."""
        return self.most - self.least + 1 if self.is_whole else math.inf

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.least < self.most:
            raise ValueError(f"{self.least} is not less than {self.most}")
        if self.log and self.least <= 0:
            raise ValueError(f"{self.least} has no logarithm: begin above 0")
        return self


class Session(Record):
    """What to run. Each field is an option of the launchers, and a key of the file, of the same name.

    :ivar entry_point: What is executed, by its name in ``MLproject``; of several, each.
    :ivar arguments: Its arguments, of one whose name ends in an underscore each of the values; of several, each.
    :ivar search: How combinations are chosen: all of them, at random, or by what the earlier ones were worth.
    :ivar trials: How many combinations there are at most.
    :ivar minimise: The validation metric of which less is better.
    :ivar maximise: The validation metric of which more is better.
    :ivar prune: Whether a trial is ended early that is worse than most others were at the same step.
    :ivar repeat: How many runs each combination gets, each under another seed.
    :ivar parallel: How many runs are executed at the same time.
    :ivar experiment_name: The experiment of all its runs.
    :ivar run_name: The session's readable name, with which those of its runs begin.
    :ivar note: A sentence to remember why.
    :ivar version: The commit, branch or tag whose code is executed; None for the code as it lies there.
    :ivar cluster: The profile of the cluster to send it to.
    :ivar resources: What each run gets there.
    """

    entry_point: tuple[str, ...]
    arguments: Annotated[tuple[dict[str, Any], ...], Field(repr=False)] = ({},)  # a run's may hold a secret
    search: Search = "grid"
    trials: Annotated[int, Field(ge=1, le=LARGEST_NUMBER_OF_TRIALS)] | None = None
    minimise: Metric | None = None
    maximise: Metric | None = None
    prune: bool = False
    repeat: Annotated[int, Field(ge=1)] = 1
    parallel: Annotated[int, Field(ge=1)] | None = None
    experiment_name: str | None = None
    run_name: str | None = None
    note: str | None = None
    version: str | None = None
    cluster: str | None = None
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minimise and self.maximise:
            raise ValueError("minimise and maximise exclude each other: leave out one of them")
        if self.search != "grid" and self.trials is None:
            raise ValueError(f"a {self.search} search does not end by itself: say how many trials there are")
        if self.search != "grid" and len(self.entry_point) * len(self.arguments) > 1:
            raise ValueError(f"a {self.search} search is of one entry point and one mapping of arguments")
        if self.search == "bayesian" and not self.metric:
            raise ValueError("a bayesian search needs a validation metric to minimise or to maximise")
        if self.search == "bayesian" and self.repeat > 1:
            raise ValueError("a bayesian search chooses every run anew: leave out repeat, or search at random")
        if self.prune and not self.metric:
            raise ValueError("pruning needs a validation metric to minimise or to maximise")
        return self

    @property
    def metric(self) -> str | None:
        """What trials are judged by."""
        return self.maximise or self.minimise


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One choice of all that can be chosen."""

    entry_point: str
    arguments: dict[str, Plain]


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search chooses from."""

    entry_point: str
    fixed: dict[str, Plain]
    choices: dict[str, list[Plain] | Range]

    @property
    def size(self) -> float:
        """How many combinations there are; infinity where a range has numbers that are not whole."""
        return math.prod(choice.size if isinstance(choice, Range) else len(choice) for choice in self.choices.values())


def read_session(path: Path, options: Mapping[str, Any]) -> Session:
    """Read the file of a session.

    :param path: The file.
    :param options: What the command line says, by the names of the fields; it counts more than the file.
    :return: The session.
    :raises UsageError: If something is wrong; the sentence names the first key that is.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a session is a mapping of keys to values, such as 'entry-point: train'.")
    return parse_session(cast("dict[Any, Any]", content), options, f"{path}: ")


def parse_session(content: Mapping[Any, Any], options: Mapping[str, Any], origin: str = "") -> Session:
    """Make a session of what a file and the command line say.

    :param content: What YAML makes of the file; empty where there is none.
    :param options: What the command line says. Its arguments are added to the file's, and replace those of the same
        name; its resources likewise.
    :param origin: What to put before a complaint.
    :return: The session.
    :raises UsageError: If something is wrong.
    """
    fields = {str(key).replace("-", "_"): value for key, value in content.items()}
    resources = with_underscores(fields.pop("resources", None) or {})
    chosen = dict(options)
    more_resources = chosen.pop("resources", {})
    more_arguments: Mapping[str, Any] = chosen.pop("arguments", {})
    try:
        for name, empty in (("entry_point", None), ("arguments", {})):
            fields[name] = _take_alternatives(fields, name, empty)
            if name in chosen:
                fields[name] = (chosen.pop(name),)
        if fields["entry_point"] == (None,):
            raise ValueError("the key 'entry-point' is missing")  # noqa: TRY301
        fields["arguments"] = tuple(_replace(_read_names(one), more_arguments) for one in fields["arguments"])
        if isinstance(resources, dict):
            resources = {**cast("dict[str, Any]", resources), **more_resources}
        session = Session.model_validate({**fields, **chosen, "resources": resources})
        for combination in session.arguments:
            for name, value in combination.items():
                _check_value(name, value, session.search)
    except ValidationError as error:
        raise UsageError(f"{origin}{explain(error)}") from None
    except ValueError as error:
        raise UsageError(f"{origin}{error}.") from None
    return session


def update_session(session: Session, options: Mapping[str, Any]) -> Session:
    """Say anew what may be said of a session that is sealed.

    :param session: The session.
    :param options: What the command line says, by the names of the fields; of resources, only those that it names.
    :return: The session.
    :raises UsageError: If a value is none of its field.
    """
    fields = session.model_dump(mode="json", exclude_unset=True)
    resources = {**fields.get("resources", {}), **options.get("resources", {})}
    try:
        return Session.model_validate({**fields, **options, "resources": resources})
    except ValidationError as error:
        raise UsageError(explain(error)) from None


def expand(session: Session) -> list[Combination]:
    """Write out every combination of a grid.

    :param session: The session.
    :return: The combinations, in the order of the file, what stands last varying fastest.
    :raises UsageError: If there are more than are allowed.
    """
    spaces = find_spaces(session)
    size = sum(space.size for space in spaces)
    limit = session.trials or LARGEST_NUMBER_OF_TRIALS
    if size * session.repeat > max(limit, LARGEST_NUMBER_OF_TRIALS) or size > limit:
        raise UsageError(
            f"the session has {size:.0f} combinations, more than {limit}: let it search at random, or sweep less."
        )
    return [
        Combination(
            entry_point=space.entry_point, arguments={**space.fixed, **dict(zip(space.choices, values, strict=True))}
        )
        for space in spaces
        for values in itertools.product(*cast("dict[str, list[Plain]]", space.choices).values())
    ]


def draw(session: Session, seed: int) -> list[Combination]:
    """Choose combinations at random, no two of them alike.

    :param session: The session.
    :param seed: From which all chance derives.
    :return: The combinations.
    :raises UsageError: If there are fewer than are asked for.
    """
    (space,) = find_spaces(session)
    number = session.trials or 0
    if number > space.size:
        raise UsageError(
            f"there are only {space.size:.0f} combinations to choose {number} trials from: search the grid."
        )
    generator = random.Random(derive_seed(seed, "search"))  # noqa: S311  nothing is to be kept secret
    has_ranges = any(isinstance(choice, Range) for choice in space.choices.values())
    # Of a range, some values may be likelier than others; where most of a space is drawn, that says nothing.
    if has_ranges and number * 2 <= space.size:
        drawn = _draw_by_chance(space, number, generator)
    else:
        lists = {name: _list_choice(choice) for name, choice in space.choices.items()}
        drawn = [_pick(lists, place) for place in generator.sample(range(int(space.size)), number)]
    return [Combination(entry_point=space.entry_point, arguments={**space.fixed, **chosen}) for chosen in drawn]


def find_spaces(session: Session) -> list[Space]:
    """Tell what there is to choose from, for each entry point with each mapping of arguments.

    :param session: The session.
    :return: The spaces.
    """
    return [
        _make_space(entry_point, arguments) for entry_point in session.entry_point for arguments in session.arguments
    ]


def find_seeds(seed: int, repeat: int) -> list[int]:
    """Choose the seeds of a combination's runs: the same for all combinations, so that these meet the same chance.

    :param seed: That of the first.
    :param repeat: How many.
    :return: The seeds.
    """
    return [seed, *(derive_seed(seed, "repetition", number) % 2**32 for number in range(1, repeat))]


def _take_alternatives(fields: dict[str, Any], name: str, empty: Any) -> tuple[Any, ...]:
    """Take what stands under a name, or each of what stands under the name with an underscore."""
    if name + SWEEP not in fields:
        return (fields.pop(name, empty),)
    if name in fields:
        _refuse_both(name)
    return tuple(_list_values(name, fields.pop(name + SWEEP)))


def _refuse_both(name: str) -> NoReturn:
    name = name.replace("_", "-")
    raise ValueError(f"'{name}' and '{name}{SWEEP}' exclude each other: leave out one of them")


def _list_values(name: str, values: Any) -> list[Any]:
    values = cast("list[Any]", values) if isinstance(values, list) else [values]
    if not values:
        raise ValueError(f"'{name}{SWEEP}' has no values to choose from")
    return values


def _read_names(arguments: Any) -> dict[str, Any]:
    """Write the names of arguments as Python has them."""
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise ValueError(f"arguments is {arguments!r}: write names with their values")  # noqa: TRY004
    mapping = cast("dict[Any, Any]", arguments)
    named = {str(name).replace("-", "_"): value for name, value in mapping.items()}
    for name in named:
        if name + SWEEP in named:
            _refuse_both(name)
    return named


def _replace(arguments: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    names = {name.removesuffix(SWEEP) for name in others}
    return {**{name: value for name, value in arguments.items() if name.removesuffix(SWEEP) not in names}, **others}


def _check_value(name: str, value: Any, search: Search) -> None:
    shown = name.replace("_", "-") if not name.endswith(SWEEP) else name[:-1].replace("_", "-") + SWEEP
    for element in _list_values(shown.removesuffix(SWEEP), value) if name.endswith(SWEEP) else [value]:
        if isinstance(element, dict):
            if not name.endswith(SWEEP) or isinstance(value, list):
                raise ValueError(
                    f"{shown} has a mapping for a value: only '{shown.removesuffix(SWEEP)}{SWEEP}' may be a range"
                )
            if search == "grid":
                raise ValueError(f"{shown} is a range, of which there is no grid: list values, or search at random")
            try:
                Range.model_validate(element)
            except ValidationError as error:
                raise ValueError(f"{shown}: {explain(error).removesuffix('.')}") from None
        else:
            _check_plain(shown, element)


def _check_plain(name: str, value: Any) -> None:
    if isinstance(value, list):
        for element in cast("list[Any]", value):
            _check_plain(name, element)
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError(f"{name} is {value!r}, a {type(value).__name__} by YAML's rules: write it in quotes")


def _make_space(entry_point: str, arguments: Mapping[str, Any]) -> Space:
    fixed: dict[str, Plain] = {}
    choices: dict[str, list[Plain] | Range] = {}
    for name, value in arguments.items():
        if not name.endswith(SWEEP):
            fixed[name] = value
        elif isinstance(value, dict):
            choices[name.removesuffix(SWEEP)] = Range.model_validate(value)
        else:
            choices[name.removesuffix(SWEEP)] = _list_values(name, value)
    return Space(entry_point=entry_point, fixed=fixed, choices=choices)


def _pick(lists: Mapping[str, Sequence[Plain]], place: int) -> dict[str, Plain]:
    """Return the combination at a place of the grid."""
    picked: dict[str, Plain] = {}
    for name, values in reversed(list(lists.items())):
        place, number = divmod(place, len(values))
        picked[name] = values[number]
    return {name: picked[name] for name in lists}


def _list_choice(choice: list[Plain] | Range) -> Sequence[Plain]:
    return range(int(choice.least), int(choice.most) + 1) if isinstance(choice, Range) else choice


def _draw_by_chance(space: Space, number: int, generator: random.Random) -> list[dict[str, Plain]]:
    """Draw combinations until there are so many of which no two are alike."""
    drawn: dict[str, dict[str, Plain]] = {}
    while len(drawn) < number:
        chosen = {name: _draw(choice, generator) for name, choice in space.choices.items()}
        drawn.setdefault(repr(chosen), chosen)
    return list(drawn.values())


def _draw(choice: Sequence[Plain] | Range, generator: random.Random) -> Plain:
    if not isinstance(choice, Range):
        return generator.choice(choice)
    least, most = (math.log(bound) if choice.log else bound for bound in (choice.least, choice.most))
    value = generator.uniform(least, most)
    value = math.exp(value) if choice.log else value
    if choice.is_whole:
        return generator.randint(int(choice.least), int(choice.most)) if not choice.log else round(value)
    return min(max(value, choice.least), choice.most)
