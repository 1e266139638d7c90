"""Law: whatever bytes a peer sends or a store gives back, a parser of `lsf` returns a value or
raises its one declared error.

Run it with `python fuzz/fuzz_lsf.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

from lightspeed.bitcoin import PrivateKey
from lightspeed.channel import ChannelViolation, StateError
from lightspeed.lsf import LSF_MESSAGES, LsfParameters, PayeeLimits
from lightspeed.lsf.errors import BookRefused
from lightspeed.lsf.keys import LsfBasepoints
from lightspeed.lsf.messages import (
    LsfAccept,
    LsfClose,
    LsfLocks,
    LsfPropose,
    LsfReject,
    LsfSettle,
    LsfSignatures,
    Party,
)
from lightspeed.lsf.negotiation import LIMITS_TLV, PARTY_TLV, negotiate, offer
from lightspeed.lsf.settlement import Settlement
from lightspeed.lsf.state import LsfContent, OpenBook, dump_content, load_content, load_state
from lightspeed.payment import LockElement
from lightspeed.wire import BOLT_CODEC, WireError
from target import Target

CODEC = BOLT_CODEC.extended(LSF_MESSAGES)
IDS = {"channel_id": bytes(32), "book_id": bytes(range(16))}
LIMITS = PayeeLimits()
PAYER, PAYEE = (PrivateKey(bytes([byte]) * 32).public for byte in (1, 2))
PARAMETERS = LsfParameters(
    holder=Party.PAYEE, basepoints=LsfBasepoints(payer=PAYER, payee=PAYEE), limits=LIMITS
)
OFFERED = offer(Party.PAYER, basepoint=PAYER, limits=LIMITS)
RECEIVED = offer(Party.PAYEE, basepoint=PAYEE, limits=LIMITS)
PARTY_SIZE = len(RECEIVED[PARTY_TLV])


def message(data: bytes) -> None:
    decoded = CODEC.decode(data)
    assert CODEC.decode(decoded.encode()) == decoded


def negotiated(data: bytes) -> None:
    """The records of a payee's open_channel: party, then limits."""
    records = {PARTY_TLV: data[:PARTY_SIZE], LIMITS_TLV: data[PARTY_SIZE:]}
    agreed = negotiate(offered=OFFERED, received=records)
    assert LsfParameters.from_bytes(agreed.to_bytes()) == agreed


def parameters(data: bytes) -> None:
    parsed = LsfParameters.from_bytes(data)
    assert LsfParameters.from_bytes(parsed.to_bytes()) == parsed


def settlement(data: bytes) -> None:
    assert Settlement.from_bytes(data).to_bytes() == data


def content(data: bytes) -> None:
    assert dump_content(load_content(data)) == data


def state(data: bytes) -> None:
    """A document, and beside it a record that is given for every book."""
    document, _, record = data.partition(b"|")
    load_state(PARAMETERS.to_bytes(), document, lambda table, key: record)


TARGET = Target(
    name="lsf",
    parsers=(
        (message, WireError),
        (negotiated, ChannelViolation),
        (parameters, StateError),
        (settlement, BookRefused),
        (content, StateError),
        (state, StateError),
    ),
    seeds=(
        (message, LsfPropose(**IDS, terms=b"terms").encode()),
        (message, LsfLocks(**IDS, first_lock=1, data=bytes(64)).encode()),
        (message, LsfAccept(**IDS).encode()),
        (message, LsfReject(**IDS, reason=1, text=b"no").encode()),
        (
            message,
            LsfSignatures(
                channel_id=bytes(32),
                commitment_number=3,
                whose=1,
                first=0,
                total=1,
                signatures=(bytes(64),),
            ).encode(),
        ),
        (message, LsfSettle(**IDS, first_lock=1, last_lock=1, secrets=(bytes(32),)).encode()),
        (
            message,
            LsfClose(**IDS, first_lock=2, elements=(LockElement(2, 3, bytes(32)),)).encode(),
        ),
        (negotiated, RECEIVED[PARTY_TLV] + RECEIVED[LIMITS_TLV]),
        (parameters, PARAMETERS.to_bytes()),
        (settlement, Settlement(refund_delay_blocks=1_008, child_feerate=253).to_bytes()),
        (content, dump_content(LsfContent((OpenBook(bytes(16), 3),)))),
        (
            state,
            b'{"version":1,"books":[],"closed":{"00":7},"close_requested":["00"],'
            b'"proposed":null,"rejected":null}|',
        ),
    ),
)

if __name__ == "__main__":
    TARGET.run()
