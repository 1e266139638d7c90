"""Work in threads that nobody can end before it is done."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["by_size", "to_the_end"]

P = ParamSpec("P")
T = TypeVar("T")

_FEW = 1_000
"""Items of about 10 µs: the loop need not be spared the work on so many."""


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


async def by_size(items: int, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`to_the_end` where there are many items to work on, and at once where there are few.

    What `act` reads must not change meanwhile; and the caller looks again at whatever may.
    """
    if items <= _FEW:
        return act(*args, **kwargs)
    return await to_the_end(act, *args, **kwargs)
