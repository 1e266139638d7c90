"""What paid calls need to know of tokens: how an asset is written, and what a lock's seal is.

RGB is loaded when the first token is met: whoever sells for sats never waits for it.
"""

from functools import lru_cache

from lightspeed.payment import SATS

__all__ = ["BITCOIN", "asset_text", "parse_asset", "seal_of"]

BITCOIN = "btc"


@lru_cache(maxsize=1_024)
def asset_text(asset: bytes) -> str:
    """`btc`, or the contract's id as RGB writes it: `rgb:...`."""
    if asset == SATS:
        return BITCOIN
    from lightspeed.rgb import contract_id_text

    return contract_id_text(asset)


@lru_cache(maxsize=1_024)
def parse_asset(text: str) -> bytes:
    """Only what `asset_text` writes; raises ValueError."""
    if text == BITCOIN:
        return SATS
    from lightspeed.rgb import parse_contract_id

    asset = parse_contract_id(text)
    if asset_text(asset) != text:
        raise ValueError("the id of a contract is not in its usual form")
    return asset


def seal_of(secret: bytes) -> bytes:
    """For the ledger: the concealed seal of a lock with this secret."""
    from lightspeed.rgb import secret_lock_seal

    return secret_lock_seal(secret)
