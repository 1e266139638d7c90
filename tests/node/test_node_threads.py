"""A caller that gives up does not leave its thread to the next one."""

import asyncio
import threading

import pytest

from lightspeed.node.threads import to_the_end


async def test_caller_that_is_cancelled_waits_for_its_thread() -> None:
    """Else a peer that hangs up again and again would take all threads of the node."""
    begun, may_end = threading.Event(), threading.Event()
    alone, at_work = asyncio.Lock(), 0

    def work() -> None:
        nonlocal at_work
        at_work += 1
        begun.set()
        assert may_end.wait(60)
        at_work -= 1

    async def one_at_a_time() -> None:
        async with alone:
            await to_the_end(work)

    first = asyncio.create_task(one_at_a_time())
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    second = asyncio.create_task(one_at_a_time())
    for _ in range(10):
        await asyncio.sleep(0)
    assert at_work == 1
    assert not first.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert at_work == 0


async def test_what_it_returns_and_raises_is_told() -> None:
    assert await to_the_end(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await to_the_end(divmod, 7, 0)
