import hypothesis
from hypothesis import strategies

from labkit.seed import derive_seed

SEEDS = strategies.integers(min_value=0, max_value=2**32 - 1)
INDICES = strategies.lists(strategies.integers(min_value=0, max_value=2**31), max_size=3)


def test_a_derived_seed_never_changes_or_runs_could_not_be_repeated() -> None:
    assert derive_seed(0, "order") == 5618756638689033999
    assert derive_seed(1, "augmentation", 2, 3) == 2450410084911903216


@hypothesis.given(SEEDS, INDICES)
def test_a_derived_seed_fits_every_generator_of_torch(seed: int, indices: list[int]) -> None:
    assert 0 <= derive_seed(seed, "order", *indices) < 2**63


@hypothesis.given(strategies.lists(strategies.tuples(SEEDS, strategies.sampled_from(["order", "loading"]), INDICES)))
def test_no_two_streams_are_alike(streams: list[tuple[int, str, list[int]]]) -> None:
    derived = {derive_seed(seed, purpose, *indices) for seed, purpose, indices in streams}
    assert len(derived) == len({(seed, purpose, *indices) for seed, purpose, indices in streams})


def test_indices_are_told_apart_from_their_digits() -> None:
    assert derive_seed(0, "order", 1, 23) != derive_seed(0, "order", 12, 3)
