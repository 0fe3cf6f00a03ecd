"""What can go wrong, by type; the command line turns each into one line and exit code 2."""

import re

LONGEST = 500
"""Characters of a message at the most: it may hold what a file says."""


class TitansSeqError(Exception):
    """Base of all errors of this package; a message is one line."""

    def __init__(self, message: object = "") -> None:
        text = "".join(letter if letter.isprintable() else " " for letter in str(message))
        super().__init__(text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}")


class DataError(TitansSeqError, ValueError):
    """What came in cannot be used; the message says what is wrong and what would do."""


class ModelError(TitansSeqError, ValueError):
    """A saved model or state is not one, is damaged, or is of another configuration."""


class NonFiniteError(TitansSeqError, ValueError):
    """NaN or infinite values where there must be none."""


class TrainingError(TitansSeqError, RuntimeError):
    """Training could not go on."""


class EngineError(TitansSeqError, ConnectionError):
    """A cluster cannot be reached, or lost its work."""


class TrackingError(TitansSeqError, ConnectionError):
    """The tracking server or database cannot be used."""


class StorageError(TitansSeqError, ConnectionError):
    """The database of a sweep cannot be used, or lacks what was asked for."""


class SweepError(TitansSeqError, RuntimeError):
    """A sweep could not go on."""


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, or its type if it says nothing; without passwords of addresses."""
    return without_secrets((str(error) or type(error).__name__).splitlines()[0])


def without_secrets(text: str) -> str:
    """Return a text whose addresses have no user and password."""
    return re.sub(r"//[^/\s]*@", "//***@", text)


class TitansSeqWarning(UserWarning):
    """What a user should know though the work goes on; the command line shows each as one line."""
