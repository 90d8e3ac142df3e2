"""How long each starter trains as it comes, and what it scores: the times and the table of docs/starters.md.

Run by `make benchmark NAME=starters`. Each is generated anew, and uses the packages of the default project.
"""

import argparse
import os
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARTERS = ("image-classification", *sorted(path.name for path in ROOT.glob("*/starters/*/")))


def generate(name: str, folder: Path) -> Path:
    """Generate a project that begins with a starter, and return where it is."""
    answers = folder / "answers.yaml"
    answers.write_text(f"{{default_context: {{starter: {name}}}}}", encoding="utf-8")
    words = ("--output", folder, "--config", answers, "--no-input")
    subprocess.run([ROOT / ".tools" / "bin" / "python", ROOT / "generate.py", *words], check=True, capture_output=True)
    return folder / "my-research"


def call(project: Path, program: str, *words: str) -> str:
    """Call a program of a project, and return what it printed."""
    python = ROOT / "build" / "my-research" / ".venv" / "bin" / "python"
    command = [python, "-m", f"my_research.{program}", *words]
    own = {name: value for name, value in os.environ.items() if name not in {"MLFLOW_TRACKING_URI", "RUNS_PATH"}}
    return subprocess.run(command, cwd=project, env=own, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Train and test one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=STARTERS, metavar="NAME", help="only these starters")
    print(f"{'starter':<22}{'wall (s)':>10}{'CPU (s)':>10}  on the test set")
    for name in parser.parse_args().names:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            project = generate(name, Path(folder))
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            call(project, "train", "--seed", "0")
            seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            scores = re.findall(r"^test/(\w+) +([\d.]+)$", call(project, "evaluate"), flags=re.MULTILINE)
        print(
            f"{name:<22}{seconds:>10.1f}{computed:>10.1f}  {', '.join(' '.join(score) for score in scores)}", flush=True
        )


if __name__ == "__main__":
    main()
