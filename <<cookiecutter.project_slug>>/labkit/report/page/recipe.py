"""The page of a recipe: its steps as a timeline, each with its state, its verdicts and the reasons."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from labkit.recipe.record import PARENT_TAG, RECIPE_TAG, ROLE_OF_RECIPE, ROLE_TAG
from labkit.report.page.column import show_number, show_time
from labkit.report.page.element import Element, Node, element, link, table
from labkit.report.page.run import make_gallery
from labkit.report.page.runs import make_state
from labkit.report.store import StoredRun

CURRENT: Final = "up to date"
NOT_RUN: Final = "not run"
OUTCOMES: Final = {
    "passed": "it passed when it was executed",
    "failed": "a check failed when it was executed",
    "error": "an exception ended it when it was executed",
}
NUMBERS: Final = {"NaN", "Infinity", "-Infinity"}
"""Texts that stand for numbers that JSON has not."""

Standing = Mapping[str, Any]
"""How a recipe stands, as ``recipe.json`` has it."""


def find_recipes(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Find the newest execution of each recipe.

    :param runs: All runs, the newest first.
    :return: Runs, one a recipe, the newest first.
    """
    newest: dict[tuple[str, str], StoredRun] = {}
    for run in runs:
        if run.tags.get(ROLE_TAG) == ROLE_OF_RECIPE:
            newest.setdefault((run.experiment, run.tags.get(RECIPE_TAG, "")), run)
    return list(newest.values())


def make_recipe_page(
    recipe: StoredRun, standing: Standing, runs: Sequence[StoredRun], pictures: Mapping[str, Sequence[str]]
) -> Element:
    """Make the page.

    :param recipe: The newest execution of the recipe.
    :param standing: How the recipe stands.
    :param runs: All runs; those of the steps are among them.
    :param pictures: The paths of the figures of steps and experiments, by run id.
    :return: The page.
    """
    steps: list[Mapping[str, Any]] = sorted(standing.get("steps", []), key=lambda step: step.get("position", 0))
    known = {run.identifier: run for run in runs}
    states = [describe_state(step) for step in steps]
    counts = [f"{len(steps)} steps", *(f"{states.count(state)} {state}" for state in dict.fromkeys(states))]
    return element(
        "article",
        element("h1", str(standing.get("recipe") or recipe.tags.get(RECIPE_TAG, recipe.name))),
        element(
            "p", " · ".join(counts), f" · as of {show_time(recipe.started)}, when it was executed", classes="summary"
        ),
        element("p", "What has been edited since makes steps stale: `recipe --list` says which.", classes="common"),
        element("ol", *(_make_step(step, known, pictures) for step in steps), classes="timeline"),
        classes="recipe",
    )


def describe_state(step: Mapping[str, Any]) -> str:
    """Say where a step stands: what is up to date has passed or failed, and what is stale says so first."""
    state = str(step.get("state") or NOT_RUN)
    outcome = step.get("outcome")
    return str(outcome) if state == CURRENT and outcome else state


def _make_step(
    step: Mapping[str, Any], runs: Mapping[str, StoredRun], pictures: Mapping[str, Sequence[str]]
) -> Element:
    state = describe_state(step)
    identifier = str(step.get("run_id") or "")
    run = runs.get(identifier)
    reasons = [element("li", str(reason)) for reason in step.get("reasons") or []]
    verdicts = step.get("verdicts") or []
    parts: list[Node] = [element("h2", str(step.get("name", "")))]
    outcome = step.get("outcome")
    line: list[Node] = [make_state(state)]
    if outcome in OUTCOMES and state != outcome:
        line.append(f"{OUTCOMES[outcome]} ")
    experiments = _find_experiments(identifier, runs.values()) if run else []
    links = [link(f"/run/{one.identifier}", f"experiment {place}", title=one.name) for place, one in experiments]
    if run:
        line.append(link(f"/run/{identifier}", "run"))
        line += [node for one in links for node in (" · ", one)]
    parts.append(element("p", *line, classes="summary"))
    if reasons:
        parts.append(element("ul", *reasons, classes="reasons"))
    if verdicts:
        rows = [_list_verdict(verdict) for verdict in verdicts]
        parts.append(table(["check", "value", "threshold", "", "reason"], rows, classes="verdicts"))
    if run and pictures.get(identifier):
        parts.append(make_gallery(run, pictures[identifier]))
    for (_, experiment), way in zip(experiments, links, strict=True):
        if found := pictures.get(experiment.identifier):
            parts += [element("p", way, classes="summary"), make_gallery(experiment, found)]
    return element("li", *parts, classes="none" if state == NOT_RUN else state.split()[0])


def _find_experiments(identifier: str, runs: Iterable[StoredRun]) -> list[tuple[int, StoredRun]]:
    """Return the experiments of a step, numbered from 1 in the order in which they began."""
    children = [run for run in runs if run.tags.get(PARENT_TAG) == identifier]
    return list(enumerate(sorted(children, key=lambda run: run.started), start=1))


def _list_verdict(verdict: Mapping[str, Any]) -> list[Node]:
    holds = bool(verdict.get("holds"))
    return [
        str(verdict.get("check", "")),
        element("td", _show(verdict.get("value")), classes="number"),
        element("td", _show(verdict.get("threshold")), classes="number"),
        make_state("passed" if holds else "failed"),
        str(verdict.get("reason", "")),
    ]


def _show(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, list):
        return " to ".join(_show(part) for part in value)
    return show_number(float(value)) if isinstance(value, int | float) or value in NUMBERS else str(value)
