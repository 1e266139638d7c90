"""What goes wrong at the command line, and the exit status that says so.

LocalError
├── UsageError        an argument that cannot be right                        status 2
├── NodeUnreachable   the node of this folder does not answer                 status 3
└── CheckFailed       a command did its work, and what it checked is not so   status 1
"""

from typing import ClassVar

from lightspeed.errors import LocalError

__all__ = ["CheckFailed", "NodeUnreachable", "UsageError", "exit_status", "explanation"]

_FAILED = 1


class UsageError(LocalError, ValueError):
    """The text says what is wrong and what would be right."""

    exit_status: ClassVar[int] = 2


class NodeUnreachable(LocalError, ConnectionError):
    """Nothing was asked of the node."""

    exit_status: ClassVar[int] = 3


class CheckFailed(LocalError):
    """Printed like any other error; what was found is on the screen already."""

    exit_status: ClassVar[int] = _FAILED


def exit_status(error: BaseException) -> int:
    """1 where the error has no status of its own."""
    status = getattr(error, "exit_status", _FAILED)
    return status if isinstance(status, int) else _FAILED


def explanation(error: BaseException) -> str:
    """One line for a person: what is wrong."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
