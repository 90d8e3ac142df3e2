import hypothesis
import pytest
from hypothesis import strategies

from labkit.command import UsageError
from labkit.training.duration import Duration, Interval


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10 epochs", Duration(10, "epochs")),
        ("1 epoch", Duration(1, "epochs")),
        ("1 epochs", Duration(1, "epochs")),
        ("2000 steps", Duration(2000, "steps")),
        ("2000steps", Duration(2000, "steps")),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: Duration) -> None:
    assert Duration.parse(text) == duration


def test_an_interval_can_be_a_time_too() -> None:
    assert Interval.parse("  5   minutes ") == Interval(5, "minutes")
    with pytest.raises(UsageError, match=r"^'5' is no interval: .* epochs, steps or minutes, such as '10 epochs'\.$"):
        Interval.parse("5")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "epochs",
        "0 epochs",
        "-1 epochs",
        "1.5 epochs",
        "10 hours",
        "5 minutes",
        "ten epochs",
        "1 epoch 2 steps",
        "1\nx",
    ],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Duration.parse(text)
    assert str(refusal.value) == (
        f"{text!r} is no duration: write a whole number of epochs or steps, such as '10 epochs'."
    )


@pytest.mark.parametrize(
    ("duration", "text"),
    [(Duration(1, "epochs"), "1 epoch"), (Duration(2, "epochs"), "2 epochs"), (Duration(1, "steps"), "1 step")],
)
def test_a_duration_reads_like_english(duration: Duration, text: str) -> None:
    assert str(duration) == text


@hypothesis.given(strategies.integers(min_value=1), strategies.sampled_from(["epochs", "steps", "minutes"]))
def test_what_is_printed_can_be_read(amount: int, unit: str) -> None:
    interval = Interval.parse(f"{amount} {unit}")
    assert (interval.amount, interval.unit) == (amount, unit)
    assert Interval.parse(str(interval)) == interval


def test_epochs_and_steps_become_steps() -> None:
    assert Duration(3, "epochs").in_steps(17) == 51
    assert Duration(3, "steps").in_steps(17) == 3
