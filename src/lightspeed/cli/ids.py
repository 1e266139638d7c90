"""Ids by their first characters, as people type them."""

from collections.abc import Iterable

from lightspeed.cli.errors import UsageError

__all__ = ["full_id"]


def full_id(start: str, ids: Iterable[str], *, what: str, see: str) -> str:
    """The one id that starts so; nothing means none of them. Raises `UsageError`."""
    found = [each for each in ids if start and each.startswith(start.lower())]
    if len(found) != 1:
        which = f"{len(found)} {what}s" if found else f"no {what}"
        raise UsageError(f"{which} with an id that starts with {start!r}; see: {see}")
    return found[0]
