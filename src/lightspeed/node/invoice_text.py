"""BOLT 11 through the `bolt11` package: what we put into an invoice, what we read from one.

The package lets some things pass that are checked here: letters in both cases, an amount that is no
whole number of millisatoshi, features by other numbers than BOLT 9's; and it writes 1,000 BTC as 1.
"""

import re
from dataclasses import dataclass, field

from bolt11 import Bolt11, MilliSatoshi, decode, encode
from bolt11.models.features import Feature, Features, FeatureState
from bolt11.models.tags import TagChar, Tags

from lightspeed.bitcoin import Network, PrivateKey, PublicKey
from lightspeed.node.errors import InvoiceError
from lightspeed.units import Msat

__all__ = ["MIN_FINAL_CLTV_EXPIRY_DELTA", "DecodedInvoice", "decode_invoice", "encode_invoice"]

MIN_FINAL_CLTV_EXPIRY_DELTA = 18  # BOLT 11's default, stated all the same

_CURRENCY = {
    Network.MAINNET: "bc",
    Network.TESTNET: "tb",
    Network.SIGNET: "tbs",
    Network.REGTEST: "bcrt",
}
_OUR_FEATURES = (Feature.var_onion_optin, Feature.payment_secret)
_PAYMENT_METADATA_FEATURE = 48 // 2  # BOLT 9; the package has another number under this name
_KNOWN_FEATURES = frozenset(
    {*(feature.value for feature in _OUR_FEATURES), _PAYMENT_METADATA_FEATURE}
)
_TOO_MUCH = Msat(1_000 * 100_000_000_000)  # 1,000 BTC
_SUB_MILLISATOSHI = re.compile(r"ln[a-z]+[0-9]*[1-9]p1")  # a pico-bitcoin is 0.1 msat


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedInvoice:
    """What a payer has to know."""

    payee: PublicKey
    payment_hash: bytes
    payment_secret: bytes = field(repr=False)
    amount_msat: Msat | None
    expires_at: int
    """Seconds since 1970."""
    min_final_cltv_expiry_delta: int
    payment_metadata: bytes | None = field(repr=False, default=None)
    description: str = ""


def encode_invoice(
    *,
    network: Network,
    node_key: PrivateKey,
    payment_hash: bytes,
    payment_secret: bytes,
    amount_msat: Msat | None,
    description: str,
    created_at: int,
    expiry_seconds: int,
) -> str:
    """Signed with the node's key; `InvoiceError` from 1,000 BTC on."""
    if amount_msat is not None and amount_msat >= _TOO_MUCH:
        raise InvoiceError("an invoice asks for less than 1,000 BTC")
    required = FeatureState.required
    features = Features.from_feature_list(dict.fromkeys(_OUR_FEATURES, required))
    tags = Tags()
    tags.add(TagChar.payment_hash, payment_hash.hex())
    tags.add(TagChar.payment_secret, payment_secret.hex())
    tags.add(TagChar.description, description)
    tags.add(TagChar.expire_time, expiry_seconds)
    tags.add(TagChar.min_final_cltv_expiry, MIN_FINAL_CLTV_EXPIRY_DELTA)
    tags.add(TagChar.features, features)
    invoice = Bolt11(
        currency=_CURRENCY[network],
        amount_msat=None if amount_msat is None else MilliSatoshi(amount_msat),
        date=created_at,
        tags=tags,
    )
    return encode(invoice, private_key=node_key.secret.hex())


def decode_invoice(text: str, *, network: Network) -> DecodedInvoice:
    """Raises `InvoiceError`; whether it has expired is for the caller to see."""
    text = text.removeprefix("lightning:")
    if text not in (text.lower(), text.upper()):
        raise InvoiceError("the invoice has letters in both cases; paste it as it was made")
    if _SUB_MILLISATOSHI.match(text.lower()):
        raise InvoiceError("the invoice's amount is no whole number of millisatoshi")
    try:
        invoice = decode(text)
        payee = PublicKey(bytes.fromhex(invoice.payee or ""))
        payment_hash = bytes.fromhex(invoice.payment_hash)
        payment_secret = bytes.fromhex(invoice.payment_secret or "")
        metadata = None if invoice.metadata is None else bytes.fromhex(invoice.metadata)
        features = {} if invoice.features is None else invoice.features.feature_list
    except Exception as error:  # the library raises whatever its parts raise
        raise InvoiceError(f"the invoice does not parse: {type(error).__name__}") from None
    if invoice.currency != _CURRENCY[network]:
        raise InvoiceError(f"the invoice is not for {network.value}")
    if len(payment_hash) != 32 or len(payment_secret) != 32:
        raise InvoiceError("the invoice has no payment hash or no payment secret of 32 bytes")
    for feature, state in features.items():
        if state is FeatureState.required and feature.value not in _KNOWN_FEATURES:
            raise InvoiceError(f"the invoice requires feature {2 * feature.value}, unknown here")
    amount = invoice.amount_msat
    return DecodedInvoice(
        payee=payee,
        payment_hash=payment_hash,
        payment_secret=payment_secret,
        amount_msat=None if amount is None else Msat(int(amount)),
        expires_at=invoice.date + invoice.expiry,
        min_final_cltv_expiry_delta=invoice.min_final_cltv_expiry,
        payment_metadata=metadata,
        description=invoice.description or "",
    )
