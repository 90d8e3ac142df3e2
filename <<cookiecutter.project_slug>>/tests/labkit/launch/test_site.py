from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.host import Answer, Host
from labkit.launch.site import require_store


class Elsewhere(Host):
    """Another machine, which has this one's folders or none of them."""

    def run(self, script: str, *, text: str = "") -> Answer:
        return Host().run(script if self.name == "sharing" else "false", text=text)


def test_a_file_is_a_store_only_for_those_who_share_it(tmp_path: Path) -> None:
    environment = Environment.read({}, tmp_path)
    for host in (Host(), Elsewhere("sharing")):
        require_store(host, environment)
    server = Environment.read({"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}, tmp_path)
    require_store(Elsewhere("apart"), server)
    with pytest.raises(UsageError) as error:
        require_store(Elsewhere("apart"), environment)
    assert str(error.value) == (
        "the runs are recorded in a file of this machine, which apart cannot reach: name the address of a server in "
        "MLFLOW_TRACKING_URI."
    )
