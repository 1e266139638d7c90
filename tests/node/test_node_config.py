"""Configuration and key files: what is refused, what is kept from others."""

from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import Network
from lightspeed.lsf import Party
from lightspeed.node import ConfigError
from lightspeed.node.config import LightspeedConfig, NodeConfig
from lightspeed.node.keys import NodeKeys
from lightspeed.node.service import init_node


def config(folder: Path, **changes: Any) -> NodeConfig:
    values: dict[str, Any] = {"data_dir": folder, "esplora_url": "http://127.0.0.1:3002"}
    return NodeConfig(**(values | changes))


def test_configuration_reads_back_as_written(tmp_path: Path) -> None:
    lightspeed = LightspeedConfig(
        parties=frozenset(Party),
        origins=("http://127.0.0.1:8000", "https://api.example.com"),
        ledger=tmp_path / "elsewhere" / 'with "quotes" \\.sqlite',
        payer_store=tmp_path / "payer.sqlite",
    )
    written = config(
        tmp_path,
        network=Network.SIGNET,
        listen_port=0,
        poll_seconds=0.5,
        minimum_depth=6,
        lightspeed=lightspeed,
    )
    written.write()
    assert NodeConfig.read(tmp_path) == written
    plain = config(tmp_path)
    plain.write()
    assert NodeConfig.read(tmp_path) == plain


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not complete"),
        ("esplora_url = 1", "esplora_url: 1 is of the wrong type"),
        ('esplora_url = "http://x"\nminimum_depth = true', "wrong type"),
        ('esplora_url = "http://x"\n[lightspeed]\norigins = [1]', "wrong type"),
        ('esplora_url = "ftp://x"', "URL"),
        ("not toml", "node.toml"),
        ('esplora_url = "http://x"\nunknown = 1', "unknown setting 'unknown'"),
        ('esplora_url = "http://x"\nnetwork = "moon"', "'moon' is not known"),
        ('esplora_url = "http://x"\nlightspeed = 1', "a table"),
        ('esplora_url = "http://x"\n[lightspeed]\nparties = ["payee"]', "needs a ledger"),
        ('esplora_url = "http://x"\n[lightspeed]\nparties = ["payer"]', "needs a payer_store"),
        ('esplora_url = "http://x"\n[lightspeed]\nparties = ["thief"]', "'thief' is not one of"),
        ('esplora_url = "http://x"\n[lightspeed]\nladder = 1', "unknown setting"),
        (
            'esplora_url = "http://x"\n[lightspeed]\nparties = []\norigins = ["https://x/"]',
            "no origin such as",
        ),
        (
            'esplora_url = "http://x"\n[lightspeed]\nparties = []\norigins = ["x.example"]',
            "no origin such as",
        ),
        (
            'esplora_url = "http://x"\n[lightspeed]\nparties = []\ntokens = ["CALL"]',
            "no contract id",
        ),
        ('esplora_url = "http://\N{LATIN SMALL LETTER E WITH ACUTE}"', "codec can't decode"),
        (
            'esplora_url = "http://example.com"\nnetwork = "mainnet"\nmainnet_allowed = true',
            "https",
        ),
    ],
)
def test_bad_configuration_is_refused_with_the_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "node.toml").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=reason):
        NodeConfig.read(tmp_path)


def test_seed_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    made = config(tmp_path / "node")
    with pytest.raises(ConfigError, match="cannot be read"):
        NodeKeys.read(made.seed_path)
    init_node(made)
    seed = made.seed_path.read_bytes()
    init_node(made)
    assert made.seed_path.read_bytes() == seed
    assert made.seed_path.stat().st_mode & 0o777 == 0o600
    assert made.data_dir.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="cannot be created"):
        NodeKeys.create(made.seed_path)
    made.seed_path.chmod(0o640)
    with pytest.raises(ConfigError, match="0600"):
        NodeKeys.read(made.seed_path)


def test_keys_follow_from_the_seed_and_differ() -> None:
    keys = NodeKeys.derive(bytes(32))
    assert keys == NodeKeys.derive(bytes(32))
    assert keys != NodeKeys.derive(bytes(31) + b"\x01")
    channels = [keys.channel_secrets(index).funding.secret for index in range(3)]
    assert len({*channels, keys.wallet_seed, keys.node_key.secret}) == 5
    assert keys.node_key.secret.hex() not in repr(keys)
