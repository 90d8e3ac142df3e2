"""Runs that differ in chance alone: the same configuration under several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from labkit.report.store import SEED, StoredRun

ENTRY_POINT: Final = "entry point"
Circumstance = Literal["code", "data"]
"""What can tell two configurations apart beside their parameters."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The repetitions of a configuration."""

    configuration: Mapping[str, str]
    """Its parameters without those that number its repetitions, such as the seed."""
    runs: tuple[StoredRun, ...]
    """One run a repetition, in their order: the newest that has finished, or the newest where none has."""
    repetitions: tuple[tuple[str, ...], ...]
    """What numbers each: its seed, by default."""
    repeated: tuple[StoredRun, ...] = ()
    """Other runs of a repetition that is there already. They add no evidence: the same seed gives the same numbers."""

    @property
    def counted(self) -> tuple[StoredRun, ...]:
        """The runs that a mean goes over: those that have finished, or all where none has yet."""
        return tuple(run for run in self.runs if run.has_finished) or self.runs


def group_runs(
    runs: Sequence[StoredRun], *, over: Sequence[str] = (SEED,), by: Sequence[Circumstance] = ()
) -> list[Group]:
    """Put the repetitions of each configuration together.

    :param runs: Runs, the newest first.
    :param over: The parameters in which repetitions differ.
    :param by: What tells configurations apart beside their parameters.
    :return: The groups, that with the oldest run first.
    """
    found: dict[tuple[tuple[str, str], ...], dict[tuple[str, ...], list[StoredRun]]] = {}
    for run in reversed(runs):
        configuration = find_configuration(run, over, by)
        repetition = tuple(run.parameters.get(name, "") for name in over)
        found.setdefault(tuple(sorted(configuration.items())), {}).setdefault(repetition, []).append(run)
    groups: list[Group] = []
    for items, runs_by_repetition in found.items():
        ordered = sorted(runs_by_repetition.items(), key=lambda entry: [_order(text) for text in entry[0]])
        by_worth = [sorted(same, key=lambda run: run.has_finished) for _, same in ordered]
        groups.append(
            Group(
                configuration=dict(items),
                runs=tuple(same[-1] for same in by_worth),
                repetitions=tuple(repetition for repetition, _ in ordered),
                repeated=tuple(run for same in by_worth for run in same[:-1]),
            )
        )
    return groups


def find_configuration(
    run: StoredRun, over: Sequence[str] = (SEED,), by: Sequence[Circumstance] = ()
) -> dict[str, str]:
    """Return all that makes a run what it is, but for chance.

    :param run: The run.
    :param over: The parameters that are left to chance.
    :param by: What counts beside the parameters and the entry point.
    :return: Texts by name.
    """
    circumstances: dict[Circumstance, str | None] = {"code": run.code, "data": run.data}
    return {
        ENTRY_POINT: run.entry_point,
        **{name: value for name, value in run.parameters.items() if name not in over},
        **{name: (circumstances[name] or "")[:12] for name in by},
    }


def find_differences(configurations: Sequence[Mapping[str, str]]) -> list[str]:
    """Find in what configurations differ.

    :param configurations: Texts by name.
    :return: The names whose texts are not the same in all, sorted; a text that is absent is one of its own.
    """
    names = sorted(set[str]().union(*configurations))
    return [name for name in names if len({configuration.get(name) for configuration in configurations}) > 1]


def _order(text: str) -> tuple[float, str]:
    """Order numbers by their size, and texts after them."""
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text
