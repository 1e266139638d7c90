"""A paid API for subprocesses: `uvicorn http_app:app`; LIGHTSPEED_LEDGER, LIGHTSPEED_PRICE."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lightspeed.http import LightspeedMiddleware, Paid


async def answer(request: Request) -> JSONResponse:
    payment = Paid.of(request.scope)
    assert payment is not None
    return JSONResponse({"answer": 42, "units": payment.units, "pid": os.getpid()})


app = Starlette(routes=[Route("/answer", answer, methods=["GET", "POST"])])
app.add_middleware(
    LightspeedMiddleware,
    ledger=os.environ["LIGHTSPEED_LEDGER"],
    price=os.environ.get("LIGHTSPEED_PRICE", "1 sat"),
)
