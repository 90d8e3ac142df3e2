import subprocess
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.launch.render import render


def test_a_value_is_one_word_of_a_shell_whatever_it_holds(tmp_path: Path) -> None:
    hostile = "a 'b' \"c\" $(touch executed) `touch executed` ; touch executed\n-d é"
    template = tmp_path / "job.sh.j2"
    template.write_text("printf %s {{ value | quote }}")
    script = render(template, value=hostile)
    answer = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout == hostile
    assert list(tmp_path.iterdir()) == [template]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{{ hosts }}", "'hosts' is undefined; a template may name folder, host."),
        ("{% if %}", "line 1: Expected an expression, got 'end of statement block'; a template may name folder, host."),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "job.sh.j2").write_text(text)
    with pytest.raises(UsageError) as caught:
        render(tmp_path / "job.sh.j2", host="login", folder="/runs")
    assert str(caught.value).endswith(sentence)


def test_a_template_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`git checkout job\.sh.j2` brings it back"):
        render(tmp_path / "job.sh.j2")
