"""Names and other words of strangers as text for a person: of a file, a folder, an experiment, a command."""


def shown(text: str) -> str:
    r"""The text with backslash escapes for what is not printable: control characters, bytes of a name that
    are not UTF-8.

    >>> shown("red\x1b[31m \udcff ±1.h5")
    'red\\x1b[31m \\udcff ±1.h5'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
