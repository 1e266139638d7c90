"""Which token is meant."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightspeed.node import NodeClient

__all__ = ["full_contract"]

_CERTAINLY_FULL = 40
"""Characters: nobody shortens an id to so many."""


async def full_contract(node: "NodeClient", text: str) -> str:
    """The id of the one token that is meant. Raises `UsageError`."""
    from lightspeed.cli.errors import UsageError

    if len(text) > _CERTAINLY_FULL and text.startswith("rgb:"):
        return text
    known = await node.tokens.all()
    start = text if text.startswith("rgb:") else f"rgb:{text}"
    found = [each.contract for each in known if start != "rgb:" and each.contract.startswith(start)]
    found = found or [each.contract for each in known if each.ticker == text]
    if len(found) != 1:
        which = "no token" if not found else f"{len(found)} tokens"
        raise UsageError(f"{which} called {text!r}; see: lightspeed token list")
    return found[0]
