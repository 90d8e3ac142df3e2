from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from labkit.command import UsageError
from labkit.launch.record import read_yaml
from labkit.launch.session import draw, expand, find_seeds, parse_session, read_session


def expand_text(text: str) -> list[dict[str, Any]]:
    """Return the arguments of every combination."""
    return [combination.arguments for combination in expand(parse_session(yaml.safe_load(text), {}))]


class TestExpand:
    def test_each_value_of_a_name_with_an_underscore_is_a_combination(self) -> None:
        text = "{entry-point: train, arguments: {learning-rate_: [0.1, 0.01], depth_: [2, 3], label: x}}"
        assert expand_text(text) == [
            {"label": "x", "learning_rate": 0.1, "depth": 2},
            {"label": "x", "learning_rate": 0.1, "depth": 3},
            {"label": "x", "learning_rate": 0.01, "depth": 2},
            {"label": "x", "learning_rate": 0.01, "depth": 3},
        ]

    def test_a_single_value_can_be_swept_too(self) -> None:
        assert expand_text("{entry-point: train, arguments: {batch-size_: [32]}}") == [{"batch_size": 32}]
        assert expand_text("{entry-point: train, arguments: {batch-size_: 32}}") == [{"batch_size": 32}]

    def test_a_plain_list_is_a_value(self) -> None:
        assert expand_text("{entry-point: train, arguments: {sizes: [1, 2]}}") == [{"sizes": [1, 2]}]
        assert expand_text("{entry-point: train, arguments: {sizes_: [[1, 2], [3]]}}") == [
            {"sizes": [1, 2]},
            {"sizes": [3]},
        ]

    def test_whole_mappings_and_entry_points_are_swept_too(self) -> None:
        text = "{entry-point_: [train, test], arguments_: [{a: 1, b_: [2, 3]}, {a: 4}]}"
        combinations = expand(parse_session(yaml.safe_load(text), {}))
        assert [(one.entry_point, one.arguments) for one in combinations] == [
            (entry_point, arguments)
            for entry_point in ("train", "test")
            for arguments in ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 4})
        ]

    def test_what_is_no_value_is_zero_or_nothing(self) -> None:
        assert expand_text("{entry-point: train, arguments: {seed_: [0, null]}}") == [{"seed": 0}, {"seed": None}]

    def test_the_limit_of_trials_is_kept(self) -> None:
        session = parse_session({"entry-point": "train", "arguments": {"a_": [1, 2, 3]}, "trials": 2}, {})
        with pytest.raises(UsageError, match=r"^the session has 3 combinations, more than 2: "):
            expand(session)


class TestOptions:
    def test_the_command_line_counts_more_than_the_file(self) -> None:
        content = {"entry-point": "train", "arguments": {"a_": [1, 2], "b": 3}, "repeat": 2, "resources": {"gpus": 1}}
        options = {"arguments": {"a": 9}, "repeat": 4, "resources": {"cpus": 2}}
        session = parse_session(content, options)
        assert session.arguments == ({"b": 3, "a": 9},)
        assert session.repeat == 4
        assert (session.resources.gpus, session.resources.cpus) == (1, 2)


class TestDraw:
    CONTENT: ClassVar = {"entry-point": "train", "arguments": {"a_": [1, 2, 3], "b_": [4, 5]}, "search": "random"}

    def test_no_combination_is_drawn_twice(self) -> None:
        drawn = draw(parse_session({**self.CONTENT, "trials": 6}, {}), seed=7)
        assert sorted(tuple(one.arguments.values()) for one in drawn) == sorted(
            (a, b) for b in (4, 5) for a in (1, 2, 3)
        )

    @pytest.mark.parametrize(("most", "trials"), [(3, 3), (20, 10), (20, 15)])
    def test_no_whole_number_of_a_range_is_drawn_twice(self, most: int, trials: int) -> None:
        arguments = {"a_": {"least": 1, "most": most, "log": True}}
        content = {"entry-point": "train", "arguments": arguments, "search": "random", "trials": trials}
        numbers = [combination.arguments["a"] for combination in draw(parse_session(content, {}), seed=7)]
        assert len(set(numbers)) == trials
        assert set(numbers) <= set(range(1, most + 1))
        with pytest.raises(UsageError, match=f"^there are only {most} combinations to choose {most + 1} trials from"):
            draw(parse_session({**content, "trials": most + 1}, {}), seed=7)

    def test_the_same_seed_draws_the_same(self) -> None:
        session = parse_session({**self.CONTENT, "trials": 3}, {})
        assert draw(session, 0) == draw(session, 0)
        assert draw(session, 0) != draw(session, 1)

    def test_no_more_are_drawn_than_there_are(self) -> None:
        with pytest.raises(UsageError, match=r"^there are only 6 combinations to choose 7 trials from"):
            draw(parse_session({**self.CONTENT, "trials": 7}, {}), seed=7)

    def test_a_range_is_kept_to(self) -> None:
        arguments = {"rate_": {"least": 0.001, "most": 0.1, "log": True}, "depth_": {"least": 2, "most": 4}}
        drawn = draw(parse_session({**self.CONTENT, "arguments": arguments, "trials": 200}, {}), seed=7)
        rates = [one.arguments["rate"] for one in drawn]
        assert all(isinstance(rate, float) and 0.001 <= rate <= 0.1 for rate in rates)
        assert 70 < sum(isinstance(rate, float) and rate < 0.01 for rate in rates) < 130
        assert {repr(one.arguments["depth"]) for one in drawn} == {"2", "3", "4"}


def test_repetitions_have_different_seeds_and_combinations_the_same() -> None:
    assert find_seeds(0, 1) == [0]
    seeds = find_seeds(0, 5)
    assert seeds[0] == 0
    assert len(set(seeds)) == 5
    assert find_seeds(0, 5) == seeds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "the key 'entry-point' is missing."),
        ("{entry-point: train, reapet: 5}", "there is no key 'reapet'."),
        ("{entry-point: train, repeat: 0}", "repeat is 0: input should be greater than or equal to 1."),
        ("{entry-point: train, search: gird}", "search is 'gird': write 'grid', 'random' or 'bayesian'."),
        (
            "{entry-point: train, search: random}",
            "a random search does not end by itself: say how many trials there are.",
        ),
        (
            "{entry-point: train, search: bayesian, trials: 3}",
            "a bayesian search needs a validation metric to minimise or to maximise.",
        ),
        (
            "{entry-point: train, maximise: test/accuracy}",
            (
                "maximise: 'test/accuracy' is measured on the test data, by which nothing may be chosen: name a "
                "validation metric."
            ),
        ),
        (
            "{entry-point: train, minimise: loss}",
            "minimise: 'loss' is no validation metric: name one such as validation/loss.",
        ),
        (
            "{entry-point: train, minimise: validation/a, maximise: validation/b}",
            "minimise and maximise exclude each other: leave out one of them.",
        ),
        ("{entry-point: train, arguments: {a_: []}}", "'a_' has no values to choose from."),
        ("{entry-point: train, arguments: {a: 1, a_: [2]}}", "'a' and 'a_' exclude each other: leave out one of them."),
        (
            "{entry-point: train, entry-point_: [test]}",
            "'entry-point' and 'entry-point_' exclude each other: leave out one of them.",
        ),
        ("{entry-point: train, arguments: [1]}", "arguments is [1]: write names with their values."),
        (
            "{entry-point: train, arguments: {day: 2026-01-01}}",
            "day is datetime.date(2026, 1, 1), a date by YAML's rules: write it in quotes.",
        ),
        ("{entry-point: train, resources: {gpu: 1}}", "there is no key 'resources.gpu'."),
        (
            "{entry-point: train, resources: {time: soon}}",
            "resources.time: 'soon' is no span of time: write one such as 90s, 10m, 4h, 2d or 1d12h.",
        ),
        (
            "{entry-point: train, arguments: {a_: {least: 1, most: 2}}}",
            "a_ is a range, of which there is no grid: list values, or search at random.",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "session.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_session(path, {})
    assert str(error.value) == f"{path}: {sentence}"


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.yaml"
    path.write_text("entry-point: train\nrepeat: 1\nrepeat: 2\n")
    with pytest.raises(UsageError, match=r"session\.yaml, line 3 is no YAML: the key 'repeat' stands twice\.$"):
        read_yaml(path)
