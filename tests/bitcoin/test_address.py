"""Addresses are those of BIP 350, on the network asked for and no other."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import (
    AddressError,
    Network,
    address_of_script,
    p2pkh,
    script_of_address,
    witness_program,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "bip" / "bip350.json"
programs = st.builds(
    lambda version, size, byte: witness_program(version, bytes([byte]) * size),
    st.integers(1, 16),
    st.integers(2, 40),
    st.integers(0, 255),
) | st.builds(witness_program, st.just(0), st.sampled_from([bytes(20), b"\x07" * 32]))


def test_addresses_of_bip_350(vectors: Callable[[str, int], None]) -> None:
    cases = json.loads(VECTORS.read_text())
    for address, network, script in cases["valid"]:
        assert script_of_address(address, Network(network)).hex() == script
        assert address_of_script(bytes.fromhex(script), Network(network)) == address.lower()
    for address, _reason in cases["invalid"]:
        for network in Network:
            with pytest.raises(AddressError):
                script_of_address(address, network)
    assert (len(cases["valid"]), len(cases["invalid"])) == (8, 15)
    vectors("BIP 350 addresses", 8 + 15)


@given(programs, st.sampled_from(Network))
def test_address_round_trips(script: bytes, network: Network) -> None:
    address = address_of_script(script, network)
    assert script_of_address(address, network) == script
    assert script_of_address(address.upper(), network) == script
    for other in Network:
        if other.hrp != network.hrp:
            with pytest.raises(AddressError):
                script_of_address(address, other)


@given(programs, st.data())
def test_one_wrong_character_is_noticed(script: bytes, data: st.DataObject) -> None:
    address = address_of_script(script, Network.REGTEST)
    position = data.draw(st.integers(len("bcrt1"), len(address) - 1))
    character = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7lb1"))
    if character == address[position]:
        return
    with pytest.raises(AddressError):
        script_of_address(address[:position] + character + address[position + 1 :], Network.REGTEST)


@given(st.text(max_size=100) | st.text("bcrt1qpzy9x8", max_size=95).map("bcrt1".__add__))
def test_any_text_is_an_address_or_raises_the_declared_error(text: str) -> None:
    try:
        script = script_of_address(text, Network.REGTEST)
    except AddressError:
        return
    assert address_of_script(script, Network.REGTEST) == text.lower()


def test_only_witness_programs_have_an_address() -> None:
    with pytest.raises(AddressError):
        address_of_script(p2pkh(bytes(20)), Network.MAINNET)
