"""What a node is told once: where it listens, which chain, what it offers. One TOML file."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_type_hints
from urllib.parse import urlsplit

from lightspeed.bitcoin import Network
from lightspeed.channel import OpeningTerms
from lightspeed.lsf import (
    CHAIN_RULES,
    DEFAULT_MAX_RUNGS,
    MAX_CHANNEL_RUNGS,
    REGTEST_RULES,
    DelayRules,
    Party,
    PayeeLimits,
)
from lightspeed.lsf.limits import DEFAULT_MAX_EXPOSURE_SAT
from lightspeed.node.closing import SAFE_DEPTH
from lightspeed.node.errors import ConfigError, NodeRefusal
from lightspeed.node.folder import CONFIG_NAME, DEFAULT_API_PORT, read_settings, token_path
from lightspeed.payment import SealsPolicy, is_origin
from lightspeed.rgb import RgbError, parse_contract_id
from lightspeed.units import Sat

__all__ = ["LightspeedConfig", "NodeConfig", "not_configured"]

_GENESIS = {
    Network.MAINNET: "6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000",
    Network.TESTNET: "43497fd7f826957108f4a30fd9cec3aeba79972084e90ead01ea330900000000",
    Network.SIGNET: "f61eee3b63a380a477a063af32b2bbc97c9ff9f01f2c4225e973988108000000",
    Network.REGTEST: "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f",
}
"""Chain hashes: the genesis block's, in internal order (BOLT 0)."""

_STORE_OF_PARTY = {Party.PAYEE: "ledger", Party.PAYER: "payer_store"}
"""Settings: what a node that takes this part keeps, and shares with programs."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class LightspeedConfig:
    """Which part this node takes in channels with Lightspeed funding."""

    parties: frozenset[Party] = frozenset(Party)
    """What a peer that opens a channel may make of us."""
    origins: tuple[str, ...] = ()
    """A payee accepts books for these only."""
    ledger: Path | None = None
    """The payee's SQLite ledger, shared with the API's workers."""
    payer_store: Path | None = None
    """The payer's seeds, shared with the programs that pay."""
    max_books: int = 16
    max_lock_amount_sat: int = 10_000_000
    max_rungs: int = DEFAULT_MAX_RUNGS
    """Locks of a ladder book; at most 1,000. Each is signed again at every update."""
    max_exposure_sat: int = DEFAULT_MAX_EXPOSURE_SAT
    """What a payee is ready to lose to one channel: units served and not enforceable yet."""

    tokens: tuple[str, ...] = ()
    """Contract ids, `rgb:...`: a channel that a peer opens may hold tokens of these, and of those
    that this node issued."""
    max_exposure_tokens: int = 10_000
    """What a payee is ready to lose to one channel of its tokens."""
    max_seals_lock_tokens: int = 10_000
    """A payer puts no more tokens behind one seal of 64 bits (docs/security.md)."""
    max_seals_book_tokens: int = 10_000_000
    """Nor more behind all seals of a contract at one payee."""

    settle_at_sat: int = 500_000
    """A payee settles completed locks that are worth so much; 0: not for that."""
    settle_at_tokens: int = 0
    """The same for books in tokens."""
    settle_after_seconds: float = 3_600.0
    """A payee settles completed locks that have waited so long; 0: not for that."""
    refill_below_units: int = 0
    """A payer opens a book again when fewer units of it are left; 0: never."""
    refill_budget_sat_per_day: int = 0
    """What the books opened so may hold, all together; 0: nothing."""
    refill_budget_tokens_per_day: int = 0
    """The same for books in tokens, for each contract."""
    sell_price_msat: int = 0
    """For one token of a channel, to a peer that asks for some; 0: none are sold."""
    sell_max_tokens: int = 0
    """At one time; 0: as many as there are."""

    def __post_init__(self) -> None:
        for party in self.parties:
            store = _STORE_OF_PARTY[party]
            if getattr(self, store) is None:
                raise ConfigError(f"a {party.name.lower()} needs a {store}")
        if not 0 <= self.max_rungs <= MAX_CHANNEL_RUNGS:
            raise ConfigError(f"max_rungs: a channel has at most {MAX_CHANNEL_RUNGS}")
        for origin in self.origins:
            if not is_origin(origin):
                raise ConfigError(
                    f"origins: {origin!r} is no origin such as https://api.example (no path, "
                    "lower case, no default port)"
                )
        for contract in self.tokens:
            try:
                parse_contract_id(contract)
            except RgbError as error:
                raise ConfigError(f"tokens: {contract!r} is no contract id: {error}") from None

    @property
    def contract_ids(self) -> frozenset[bytes]:
        """Those of `tokens`."""
        return frozenset(map(parse_contract_id, self.tokens))

    @property
    def seals_policy(self) -> SealsPolicy:
        return SealsPolicy(
            max_lock_amount=self.max_seals_lock_tokens, max_book_amount=self.max_seals_book_tokens
        )

    @property
    def limits(self) -> PayeeLimits:
        return PayeeLimits(
            max_books=self.max_books,
            max_lock_amount=self.max_lock_amount_sat,
            max_rungs=self.max_rungs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Port 0 takes a free one. Raises `ConfigError`."""

    data_dir: Path
    esplora_url: str
    network: Network = Network.REGTEST
    mainnet_allowed: bool = False
    """This is young software: mainnet needs the operator's explicit word."""
    listen_host: str = "127.0.0.1"
    listen_port: int = 9735
    api_port: int = DEFAULT_API_PORT
    """On loopback."""
    poll_seconds: float = 1.0
    """Between two looks at the chain."""
    reconnect_seconds: float = 1.0
    """Before the first attempt; it doubles up to a minute."""
    minimum_depth: int = 3
    to_self_delay_blocks: int = 144
    safe_depth: int = SAFE_DEPTH
    """A transaction with so many confirmations is final."""
    min_funding_sat: int = 20_000
    answer_seconds: float = 60.0
    """How long a peer may take for child signatures before we hang up."""
    bump_reserve_sat: int = 20_000
    """Kept in the wallet for each channel, to pay for its transactions when fees have risen."""
    tower_url: str = ""
    """Of a watchtower that guards this node's channels; its token is in `tower-token`."""
    lightspeed: LightspeedConfig | None = field(default=None)

    def __post_init__(self) -> None:
        if self.network is Network.MAINNET and not self.mainnet_allowed:
            raise ConfigError(
                "mainnet is refused unless mainnet_allowed is set: this is young software"
            )
        url = urlsplit(self.esplora_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError("esplora_url is not an http or https URL")
        if (
            self.network is Network.MAINNET
            and url.scheme == "http"
            and (url.hostname not in _LOOPBACK)
        ):
            raise ConfigError("on mainnet esplora_url is https or on loopback")
        if self.tower_url:
            _check_tower_url(self.tower_url)

    # --- what follows from it -------------------------------------------------------------
    @property
    def chain_hash(self) -> bytes:
        return bytes.fromhex(_GENESIS[self.network])

    @property
    def delay_rules(self) -> DelayRules:
        return REGTEST_RULES if self.network is Network.REGTEST else CHAIN_RULES

    @property
    def store_path(self) -> Path:
        return self.data_dir / "node.sqlite"

    @property
    def wallet_path(self) -> Path:
        return self.data_dir / "wallet.sqlite"

    @property
    def seed_path(self) -> Path:
        return self.data_dir / "seed"

    @property
    def token_path(self) -> Path:
        return token_path(self.data_dir)

    @property
    def tower_token_path(self) -> Path:
        return self.data_dir / "tower-token"

    def opening_terms(self, shutdown_script: bytes) -> OpeningTerms:
        return OpeningTerms(
            shutdown_script=shutdown_script,
            minimum_depth=self.minimum_depth,
            to_self_delay_blocks=self.to_self_delay_blocks,
            min_funding_sat=Sat(self.min_funding_sat),
        )

    # --- the file -------------------------------------------------------------------------
    @classmethod
    def read(cls, data_dir: Path) -> Self:
        """From `node.toml` in the folder; paths in it are relative to the folder."""
        return cls.from_document(read_settings(data_dir), data_dir=data_dir)

    @classmethod
    def from_document(cls, document: dict[str, Any], *, data_dir: Path) -> Self:
        values = dict(document)
        lightspeed = values.pop("lightspeed", None)
        _check_settings(cls, values, besides=frozenset({"data_dir", "lightspeed"}))
        if "network" in values:
            values["network"] = _choice(Network, values["network"])
        if lightspeed is not None:
            values["lightspeed"] = _lightspeed(lightspeed, data_dir)
        try:
            return cls(data_dir=data_dir, **values)
        except TypeError as error:
            raise ConfigError(f"the configuration is not complete: {error}") from error

    def write(self) -> None:
        """Make the folder (0700) and `node.toml` in it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)
        lines = [
            f"{item.name} = {_toml(getattr(self, item.name))}"
            for item in fields(self)
            if item.name not in ("data_dir", "lightspeed")
        ]
        if self.lightspeed is not None:
            lines += ["", "[lightspeed]"]
            lines += [
                f"{item.name} = {_toml(value)}"
                for item in fields(self.lightspeed)
                if (value := getattr(self.lightspeed, item.name)) is not None
            ]
        (self.data_dir / CONFIG_NAME).write_text("\n".join(lines) + "\n")


def not_configured(party: Party) -> NodeRefusal:
    """What to say to an operator whose node is to take a part that it was not set up for."""
    store = _STORE_OF_PARTY[party]
    return NodeRefusal(
        f"this node is not configured to be a {party.name.lower()}: under [lightspeed] in "
        f'{CONFIG_NAME}, add "{party.name.lower()}" to parties and set {store}'
    )


def _check_tower_url(text: str) -> None:
    """The token goes over TLS, or stays on the machine."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError("tower_url is not an http or https URL")
    if url.scheme == "http" and url.hostname not in _LOOPBACK:
        raise ConfigError("tower_url is https or on loopback")


def _lightspeed(document: Any, data_dir: Path) -> LightspeedConfig:
    if not isinstance(document, dict):
        raise ConfigError("lightspeed is a table")
    values = dict(document)
    _check_settings(LightspeedConfig, values)
    if "parties" in values:
        names = {party.name.lower(): party for party in Party}
        unknown = [name for name in values["parties"] if name not in names]
        if unknown:
            raise ConfigError(f"parties: {unknown[0]!r} is not one of {', '.join(names)}")
        values["parties"] = frozenset(names[name] for name in values["parties"])
    for name in ("ledger", "payer_store"):
        if name in values:
            values[name] = data_dir / values[name]
    for name in ("origins", "tokens"):
        if name in values:
            values[name] = tuple(values[name])
    return LightspeedConfig(**values)


_TOML_TYPES: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    tuple[str, ...]: (list,),
    frozenset[Party]: (list,),
}
"""By field type; every other setting is a string."""


def _check_settings(
    kind: type[Any], values: dict[str, Any], *, besides: frozenset[str] = frozenset()
) -> None:
    """Known names, and TOML types that fit."""
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in hints or name in besides:
            raise ConfigError(f"unknown setting {name!r}")
        expected = _TOML_TYPES.get(hints[name], (str,))
        fits = isinstance(value, expected) and (bool in expected or not isinstance(value, bool))
        if not fits or (isinstance(value, list) and not all(isinstance(x, str) for x in value)):
            raise ConfigError(f"{name}: {value!r} is of the wrong type")


def _choice(kind: type[Network], value: object) -> Network:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"network: {value!r} is not known") from None


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Party():  # an int as well, so before it
            return f'"{value.name.lower()}"'
        case int() | float():
            return repr(value)
        case Network():
            return f'"{value.value}"'
        case tuple() | frozenset():
            return f"[{', '.join(sorted(map(_toml, value)))}]"
        case _:
            escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
