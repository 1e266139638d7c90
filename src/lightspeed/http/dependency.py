"""For Starlette and FastAPI: what was paid, as a dependency. Needs starlette."""

from starlette.requests import HTTPConnection

from lightspeed.http.paid import Paid

__all__ = ["paid"]


async def paid(connection: HTTPConnection) -> Paid:
    """`payment: Paid = Depends(paid)`; a coroutine, because a function would cost a thread.

    Raises LookupError for a request that the middleware let through for free.
    """
    found = Paid.of(connection.scope)
    if found is None:
        raise LookupError("nothing was paid for this request")
    return found
