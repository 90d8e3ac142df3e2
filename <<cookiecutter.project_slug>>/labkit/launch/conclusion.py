"""The end of a session, whoever finds that it has come: its state, and the ranking of its trials."""

from collections.abc import Sequence
from pathlib import Path

from labkit.launch.ranking import Row, collect, keep, rank, write_csv
from labkit.launch.standing import Standing, read_standings, tell_state
from labkit.launch.trial import SealedSession, find_run
from labkit.tracking.state import State


def conclude_if_over(session: SealedSession) -> bool:
    """Rank the trials of a session, and tell the store how it ended, if all of them have ended.

    A trial calls it when it has ended and the store knows so: the last one finds all others there. Where two find
    it at the same time, both say the same.

    :param session: The session.
    :return: Whether it is over.
    """
    environment = session.run.environment
    # Trials begin in their order: mostly, one question tells that some are left.
    if find_run(environment, session, session.manifest.trials - 1) is None:
        return False
    standings = read_standings(session)
    if not all(standing.has_ended for standing in standings):
        return False
    keep_ranking(session, standings)
    is_done = all(not standing.is_left(retry=True) for standing in standings)
    tell_state(environment, session.identifier, State.FINISHED if is_done else State.FAILED)
    return True


def keep_ranking(session: SealedSession, standings: Sequence[Standing]) -> tuple[list[Row], Path]:
    """Rank the trials of a session, and keep the results with it.

    :param session: The session.
    :param standings: Where each trial stands.
    :return: The combinations, best first, and the file.
    """
    rows = rank(session.manifest.session, collect(session, standings))
    return rows, keep(session, write_csv(session.manifest.session, rows))
