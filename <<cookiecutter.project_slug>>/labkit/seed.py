"""Streams of random numbers, each derived from the run's one seed and from what it is for."""

import hashlib


def derive_seed(seed: int, purpose: str, *indices: int) -> int:
    """Derive the seed of a stream, so that no two streams are alike and none depends on what was drawn before.

    :param seed: The run's seed.
    :param purpose: What the stream is for: ``order``, ``augmentation``.
    :param indices: Which one of them: epoch, batch, sample.
    :return: A number below 2**63.
    """
    words = "/".join((str(seed), purpose, *map(str, indices)))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()) >> 1
