"""Work in threads that nobody can end before it is done."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["to_the_end"]

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, as `asyncio.to_thread`; a caller that is cancelled still waits for its end.

    So what bounds the callers, a lock for one, bounds the threads: there are few of them, and
    the wallet needs them too.
    """
    running = asyncio.ensure_future(asyncio.to_thread(act, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
