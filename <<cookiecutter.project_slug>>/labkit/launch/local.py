"""Executing runs on this machine, from their own code: `local-launch --help`.

This is what every launcher comes down to: wherever a unit is to be executed, its envelope is opened there by
``local-launch UNIT``.
"""

import sys

from labkit.command import EXIT_DONE
from labkit.environment import Environment
from labkit.launch.launcher import Request, launcher, unit_option
from labkit.launch.opening import prepare
from labkit.launch.sealing import Sealed, seal
from labkit.launch.trial import SealedSession, begin
from labkit.tracking.run import Run, open_run


@launcher(unit_option)
def local_launch(request: Request) -> int:
    """Execute runs on this machine, from the code that they were sealed with.

    Changes of the working tree since then do not matter. What was interrupted goes on; the exit code is that of the
    run. Examples: local-launch 4f0c12, local-launch --entry-point train --arguments "learning-rate=0.1",
    local-launch --session sessions/learning-rate.yaml --parallel 2
    """
    environment = Environment.read()
    sealed = seal(request, environment)
    if request.dry_run:
        return EXIT_DONE
    unit = sealed.units[0]
    run = open_run(environment, unit.identifier)
    if unit.index is not None:
        run = begin(SealedSession(run), unit.index)
    return execute_here(run, sealed)


def execute_here(run: Run, sealed: Sealed) -> int:
    """Let a run take the place of this process."""
    prepared = prepare(run, sealed.secrets)
    print(f"run         {run.identifier} ({run.name}, experiment {run.experiment_name})", flush=True)
    prepared.replace_process()
    raise AssertionError


if __name__ == "__main__":
    sys.exit(local_launch.main())
