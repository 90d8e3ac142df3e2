import hypothesis
import pytest
from hypothesis import strategies

from labkit.command import UsageError
from labkit.training.duration import Duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10 epochs", Duration(10, "epochs")),
        ("1 epoch", Duration(1, "epochs")),
        ("1 epochs", Duration(1, "epochs")),
        ("2000 steps", Duration(2000, "steps")),
        ("2000steps", Duration(2000, "steps")),
        ("  5   minutes ", Duration(5, "minutes")),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: Duration) -> None:
    assert Duration.parse(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "10", "epochs", "0 epochs", "-1 epochs", "1.5 epochs", "10 hours", "ten epochs", "1 epoch 2 steps", "1\nx"],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Duration.parse(text)
    assert str(refusal.value) == (
        f"{text!r} is no duration: write a whole number of epochs, steps or minutes, such as '10 epochs'."
    )


@pytest.mark.parametrize(
    ("duration", "text"),
    [(Duration(1, "epochs"), "1 epoch"), (Duration(2, "epochs"), "2 epochs"), (Duration(1, "steps"), "1 step")],
)
def test_a_duration_reads_like_english(duration: Duration, text: str) -> None:
    assert str(duration) == text


@hypothesis.given(strategies.integers(min_value=1), strategies.sampled_from(["epochs", "steps", "minutes"]))
def test_what_is_printed_can_be_read(amount: int, unit: str) -> None:
    duration = Duration.parse(f"{amount} {unit}")
    assert (duration.amount, duration.unit) == (amount, unit)
    assert Duration.parse(str(duration)) == duration


def test_epochs_and_steps_become_steps() -> None:
    assert Duration(3, "epochs").in_steps(17) == 51
    assert Duration(3, "steps").in_steps(17) == 3


def test_minutes_are_no_number_of_steps() -> None:
    sentence = r"^'1 minute' is a time, and no number of steps follows from it: give epochs or steps here\.$"
    with pytest.raises(UsageError, match=sentence):
        Duration(1, "minutes").in_steps(17)
