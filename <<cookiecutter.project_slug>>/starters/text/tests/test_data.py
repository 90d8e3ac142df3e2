from pathlib import Path

import pytest

from << cookiecutter.package_name >>.data import (
    PADDING,
    UNKNOWN,
    VOCABULARY,
    Parts,
    encode,
    find_parts,
    find_vocabulary,
    fold_by_source,
)
from << cookiecutter.package_name >>.passage import LENGTH, TOPICS, Passage, find_passages, find_words, read_passages

from .project import Project

MODULE = '''"""Too few words here."""

def solve(matrix):
    """Solve a system.

    The   matrix is taken apart, and of its parts
    a solution is made that fits all of them.

    >>> solve(the matrix is taken apart and of its parts a solution is made that fits)
    """
'''


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    return read_passages()


def test_passages_are_the_prose_of_docstrings(tmp_path: Path) -> None:
    module = tmp_path / "linalg" / "solver.py"
    module.parent.mkdir()
    module.write_text(MODULE)
    assert list(find_passages(module)) == [
        Passage(
            "linalg",
            "solver.py:solve",
            "The matrix is taken apart, and of its parts a solution is made that fits all of them.",
        )
    ]


def test_there_are_enough_passages_of_each_topic_and_each_is_there_once(passages: list[Passage]) -> None:
    for topic in TOPICS:
        assert sum(passage.topic == topic for passage in passages) > 200
    assert len({tuple(find_words(passage.text)[:LENGTH]) for passage in passages}) == len(passages)


def test_no_docstring_is_in_two_parts(passages: list[Passage]) -> None:
    for fold in fold_by_source(passages).folds:
        train, validation, test = (
            {passages[index][:2] for index in fold[part]} for part in ("train", "validation", "test")
        )
        assert not train & validation | train & test | validation & test


def test_words_are_numbers_the_commonest_first() -> None:
    vocabulary = find_vocabulary(["a matrix and 2 vectors", "the matrix", "the vectors and the matrix"])
    assert vocabulary == ["<padding>", "<unknown>", "matrix", "the", "and", "vectors"]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    encoded = encode("The matrices and vectors", numbers).tolist()
    assert encoded == [3, UNKNOWN, 4, 5] + [PADDING] * (LENGTH - 4)
    assert len(encode("matrix " * (LENGTH + 1), numbers)) == LENGTH


def test_only_what_is_to_learn_from_says_which_words_there_are(project: Project) -> None:
    parts: Parts = find_parts(project.environment)
    assert len(parts.vocabulary) == VOCABULARY
    assert parts.training.tensors[0].max() == VOCABULARY - 1
    known = set(parts.vocabulary)
    unknown = [word for word in find_words(parts.texts[0])[:LENGTH] if word not in known]
    assert (parts.validation.tensors[0][0] == UNKNOWN).sum() == len(unknown)
