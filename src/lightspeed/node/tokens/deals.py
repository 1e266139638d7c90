"""What seller and buyer hand each other: an offer, and an order that pays for it. JSON texts."""

import base64
import binascii
import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from lightspeed.bitcoin import OutPoint, Tx
from lightspeed.bitcoin.errors import BitcoinError
from lightspeed.bitcoin.tx import txid_from_hex
from lightspeed.node.errors import DealRefused
from lightspeed.rgb import (
    ASSET_OWNER,
    Consignment,
    Opout,
    Reader,
    RgbError,
    SecretSeal,
    TokenInput,
    WitnessBundle,
    parse_contract_id,
    parse_secret_seal,
)

__all__ = ["MAX_DEAL_SIZE", "Offer", "OfferParts", "Order"]

MAX_DEAL_SIZE = 96 << 20  # characters: a consignment in base64, and what stands around it
_OFFER, _ORDER = "lightspeed token offer 1", "lightspeed token order 1"


class _Deal:
    """Base: JSON whose first member names the kind."""

    __slots__ = ()
    KIND = ""

    def text(self) -> str:
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return json.dumps({"kind": self.KIND, **values})

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises `DealRefused`."""
        if len(text) > MAX_DEAL_SIZE:
            raise DealRefused("the text is too long")
        try:
            values = json.loads(text)
            if values.pop("kind") != cls.KIND:
                raise DealRefused(f"this is not a {cls.KIND}")
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DealRefused(f"this is not a {cls.KIND}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(_Deal):
    """`amount` tokens for `price_sat`, from the coins of `inputs`; signed by nobody.

    What else is on those coins goes back to `change_seal`, which is on output 3.
    """

    KIND = _OFFER

    offer_id: str
    contract: str
    amount: int
    price_sat: int
    expires_at: int
    payout_script: str
    change_script: str
    change_seal: str
    inputs: list[dict[str, Any]]
    """Members txid, vout, opid, number, amount: an allocation each."""
    consignment: str

    def __post_init__(self) -> None:
        numbers = (self.amount, self.price_sat, self.expires_at)
        texts = (
            self.offer_id,
            self.contract,
            self.payout_script,
            self.change_script,
            self.change_seal,
            self.consignment,
        )
        if (
            any(type(number) is not int or not 0 < number < 1 << 63 for number in numbers)
            or not all(isinstance(text, str) for text in texts)
            or not isinstance(self.inputs, list)
        ):
            raise DealRefused(f"this is not a {self.KIND}")

    @classmethod
    def listed(cls, token: TokenInput, outpoint: OutPoint) -> dict[str, Any]:
        """An item of `inputs`."""
        return {
            "txid": outpoint.txid[::-1].hex(),
            "vout": outpoint.vout,
            "opid": token.opout.opid.hex(),
            "number": token.opout.number,
            "amount": token.amount,
        }

    def parts(self) -> "OfferParts":
        """Raises `DealRefused`."""
        try:
            tokens = [
                (
                    TokenInput(
                        Opout(bytes.fromhex(item["opid"]), ASSET_OWNER, item["number"]),
                        item["amount"],
                    ),
                    OutPoint(txid_from_hex(item["txid"]), item["vout"]),
                )
                for item in self.inputs
            ]
            return OfferParts(
                contract_id=parse_contract_id(self.contract),
                tokens=tuple(sorted(tokens)),
                payout_script=bytes.fromhex(self.payout_script),
                change_script=bytes.fromhex(self.change_script),
                change_seal=parse_secret_seal(self.change_seal) if self.change_seal else None,
                consignment=Consignment.parse(base64.b64decode(self.consignment, validate=True)),
            )
        except (
            KeyError,
            TypeError,
            ValueError,
            binascii.Error,
            BitcoinError,
            RgbError,
        ) as error:
            raise DealRefused(f"the offer cannot be read: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferParts:
    """`tokens` with the outpoints that they are on, ascending."""

    contract_id: bytes
    tokens: tuple[tuple[TokenInput, OutPoint], ...]
    payout_script: bytes
    change_script: bytes
    change_seal: SecretSeal | None
    consignment: Consignment

    @property
    def outpoints(self) -> list[OutPoint]:
        return sorted({outpoint for _, outpoint in self.tokens})

    @property
    def total(self) -> int:
        return sum(token.amount for token, _ in self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(_Deal):
    """The transaction, signed by the buyer, and the bundle that it commits to."""

    KIND = _ORDER

    offer_id: str
    tx: str
    bundle: str

    @classmethod
    def of(cls, offer_id: str, tx: Tx, bundle: WitnessBundle) -> Self:
        data = base64.b64encode(bundle.serialize()).decode()
        return cls(offer_id=offer_id, tx=tx.serialize().hex(), bundle=data)

    def parts(self) -> tuple[Tx, WitnessBundle]:
        """Raises `DealRefused`."""
        try:
            reader = Reader(base64.b64decode(self.bundle, validate=True))
            bundle = WitnessBundle.read(reader)
            reader.finish()
            return Tx.parse(bytes.fromhex(self.tx)), bundle
        except (TypeError, ValueError, binascii.Error, BitcoinError, RgbError) as error:
            raise DealRefused(f"the order cannot be read: {error}") from None
