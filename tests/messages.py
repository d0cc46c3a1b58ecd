"""What a message shows: keys, numbers, paths and lines are tested, the words around them are free."""

import re


def sentences(text: str) -> list[str]:
    """The prose of a text: three or more words of small letters in a row, with single spaces between.

    Two may be a name, as in `noise power`; of three words is the name of one option, the field of view. What
    stands in backquotes is code to type.
    """
    return re.findall(r"\b[a-z]+(?: [a-z]+){2,}\b", re.sub(r"`[^`]*`|\bfield of view\b", "`", text))


def shows(parts: str) -> str:
    """Regular expression of a message that shows some parts in this order: `train.epochs ... got 0`.

    A number at an end of a part stands whole: `got 2` is not in "got 25", "got 2.5" or "got 2e-3".
    """
    if prose := sentences(parts):
        raise ValueError(f"a part is a key, a number, a path or a word, and no sentence; got {prose}")
    return "(?s:.*)".join(
        (r"(?<![\w.-])" if part[:1].isdigit() else "")
        + re.escape(part)
        + (r"(?!\w|\.\d)" if part[-1:].isdigit() else "")
        for part in parts.split(" ... ")
    )
