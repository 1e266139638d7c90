"""One paid request as a generator: what to send, what to wait for. Any client can drive it."""

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from lightspeed.http.challenge import find_request
from lightspeed.http.errors import PaymentRejected
from lightspeed.http.origin import origin_and_path
from lightspeed.http.payer import Call, Payer
from lightspeed.payment import (
    AlreadyRedeemed,
    BookClosed,
    ExposureExceeded,
    NoPayment,
    Price,
    Receipt,
    TooFar,
    TooLittle,
    UnknownBook,
)

__all__ = ["PAYMENT_REQUIRED", "Answer", "Flow", "Payment", "Send", "payment_flow"]

MAX_ATTEMPTS = 32  # each redeems at least one unit, or takes one out of what is presented again

PAYMENT_REQUIRED = 402
_AGAIN = frozenset((AlreadyRedeemed.slug, ExposureExceeded.slug, TooFar.slug))
_OTHER_BOOK = frozenset((BookClosed.slug, UnknownBook.slug))


class Send(NamedTuple):
    """Send the request, with this token in `Lightspeed-Payment`, or without a payment.

    After a redirect it is the request that the redirect led to.
    """

    token: str | None


class Answer(NamedTuple):
    """The final response: after redirects `url` is where they led, `receipts` are of all hops.

    `challenges` are the `WWW-Authenticate` fields; `body` is needed for a 402 only.
    """

    status: int
    url: str
    receipts: Sequence[str] = ()
    challenges: Iterable[str] = ()
    body: bytes = b""


class Payment(NamedTuple):
    """What a request cost; `amount` is in msat, or in units of a token.

    `receipt` is None if no answer told whether the units were redeemed.
    """

    units: int
    amount: int
    asset: bytes
    receipt: Receipt | None


Flow = Generator[Send | Future[None], Answer | None, Payment | None]


def payment_flow(payer: Payer, method: str, url: str) -> Flow:
    """Answer each Send with an Answer, each future, once it is done, with None.

    Returns what was paid; the last answer is the request's. Close the generator if a request
    fails: its units are presented again. Raises what `Payer.start` does, ChallengeError,
    PaymentRejected and PayeeMisbehaves.
    """
    origin, path = origin_and_path(url)
    prices = payer.known_prices.find(method, origin, path)
    for _ in range(MAX_ATTEMPTS):
        payment: Payment | None = None
        if prices is None:
            answer = yield from _send(None)
        else:
            call = yield from _start(payer, origin, prices)
            try:
                answer = yield from _send(call.token)
            except BaseException:
                call.lost()
                raise
            receipt, refusal = call.end(answer.status, answer.receipts, answer.body)
            payment = Payment(call.units, call.amount, call.asset, receipt)
            if refusal is not None and refusal.slug != TooLittle.slug:
                if refusal.slug in _AGAIN:
                    continue
                if refusal.slug in _OTHER_BOOK and payer.has_other_book(origin, prices):
                    continue
                raise PaymentRejected(refusal.slug, refusal.detail)
        if answer.status != PAYMENT_REQUIRED:
            return payment
        request = find_request(answer.challenges)
        if request is None:
            return payment
        asked = origin, path, prices
        origin, path = origin_and_path(answer.url)
        prices = request.prices
        if asked == (origin, path, prices):
            raise PaymentRejected(NoPayment.slug, "the credential did not arrive, or not enough")
        payer.known_prices.learn(method, origin, path, scope=request.scope, prices=prices)
    raise PaymentRejected(NoPayment.slug, f"{MAX_ATTEMPTS} attempts")


def _send(token: str | None) -> Generator[Send | Future[None], Answer | None, Answer]:
    answer = yield Send(token)
    if answer is None:
        raise TypeError("a Send is answered with an Answer")
    return answer


def _start(
    payer: Payer, origin: str, prices: Sequence[Price]
) -> Generator[Send | Future[None], Answer | None, Call]:
    while True:
        started = payer.start_or_wait(origin, prices)
        if isinstance(started, Call):
            return started
        try:
            yield started
        except BaseException:
            if not started.cancel():
                payer.wake_next()  # it was our turn: let another have it
            raise
