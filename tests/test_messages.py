"""What a test asks of a message: parts in order, whole numbers, and no sentence."""

import re

import pytest

from tests.messages import sentences, shows

MESSAGE = "params.yaml:3: train.epochs: a whole number in [1, 4000], got -25"


@pytest.mark.parametrize(
    "parts",
    [
        "train.epochs",
        "params.yaml:3: ... got -25",
        "epochs ... whole ... 1 ... 4000], got",
        "[1, 4000] ... -25",
    ],
)
def test_parts_are_found_in_order(parts: str) -> None:
    assert re.search(shows(parts), MESSAGE)
    assert re.search(shows(parts), MESSAGE.replace(" a whole", "\nof a\nwhole"))


@pytest.mark.parametrize(
    "parts", ["train_epochs", "got -25 ... epochs", "got -2", "25", "400", "000", "epochs ... epochs"]
)
def test_what_is_not_shown_is_not_found(parts: str) -> None:
    assert not re.search(shows(parts), MESSAGE)


@pytest.mark.parametrize("shown", ["got 2.5", "got 25", "got 2e-3"])
def test_a_number_stands_whole(shown: str) -> None:
    assert re.search(shows("got 2"), "got 2.")
    assert not re.search(shows("got 2"), shown)


@pytest.mark.parametrize(
    "text", ["there is no file", "epochs: a whole number, got 0", r"scenes \[1\] of this batch"]
)
def test_three_words_in_a_row_are_a_sentence(text: str) -> None:
    assert sentences(text)
    with pytest.raises(ValueError, match=shows("got [")):
        shows(text)


@pytest.mark.parametrize(
    "text",
    ["noise power", "scenes ... of batch", "`dvc repro train`", "a.b_c is 1 or 2", "field of view: range is"],
)
def test_names_numbers_and_commands_are_none(text: str) -> None:
    assert sentences(text) == []
