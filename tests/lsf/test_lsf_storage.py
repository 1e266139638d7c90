"""A node that starts again has the same books; a damaged store is said to be damaged."""

import importlib
import pkgutil

import pytest

import lightspeed.lsf as package
from channel_pair import Node
from lightspeed.channel import StateError
from lightspeed.lsf import BOOK_TABLE, LsfContent, OpenBook, usable_books
from lightspeed.lsf.state import dump_content, dump_state, load_content, load_state
from lsf_pair import channel_of, open_book, open_lsf_pair, payee_of, propose_book, secret_book
from lsf_world import book_terms


def test_a_restarted_node_has_the_same_books() -> None:
    pair = open_lsf_pair()
    first = secret_book(pair, book_terms(chain_length=8), seed=b"x")
    open_book(pair, first)
    propose_book(pair, secret_book(pair, seed=b"y").book)
    for node in (pair.funder, pair.fundee):
        before = channel_of(node)
        node.restart()
        after = channel_of(node)
        state, kept = (c.state.extension_states["lsf"] for c in (before, after))
        assert kept == state.without_connection()
        assert kept.books[first.book.book_id].claims == state.books[first.book.book_id].claims
        assert usable_books(after) == (first.book,)
        assert after.holder_commitment().frozen == before.holder_commitment().frozen


def test_content_round_trips() -> None:
    content = LsfContent((OpenBook(b"\x01" * 16, 3), OpenBook(b"\x02" * 16)))
    assert load_content(dump_content(content)) == content
    with pytest.raises(StateError):
        load_content(dump_content(content)[:-1])


def damaged(node: Node, record: bytes | None) -> None:
    state = channel_of(node).state
    parameters = state.config.extensions["lsf"]
    load_state(parameters, dump_state(state.extension_states["lsf"]), lambda table, key: record)


def test_a_damaged_store_raises_the_declared_error() -> None:
    pair = open_lsf_pair()
    open_book(pair, secret_book(pair))
    payee = payee_of(pair)
    (book,) = usable_books(channel_of(payee))
    record = payee.store[BOOK_TABLE, book.book_id]
    damaged(payee, record)
    for wrong in (None, b"", record[:-1], record + b"\x00", b"\x02" + record[1:], record[::-1]):
        with pytest.raises(StateError):
            damaged(payee, wrong)
    flipped = bytearray(record)
    flipped[-1] ^= 1
    with pytest.raises(StateError, match="another book"):
        damaged(payee, bytes(flipped))
    parameters = channel_of(payee).state.config.extensions["lsf"]
    for document in (b"", b"[]", b'{"version": 2}', b'{"version": 1, "books": ["zz"]}'):
        with pytest.raises(StateError):
            load_state(parameters, document, payee.lookup)


def test_a_rejection_is_kept() -> None:
    pair = open_lsf_pair(origins=frozenset())
    propose_book(pair, secret_book(pair).book)
    pair.settle()
    payee = payee_of(pair)
    rejected = channel_of(payee).state.extension_states["lsf"].rejected
    assert rejected is not None
    payee.restart()
    assert channel_of(payee).state.extension_states["lsf"].rejected == rejected


def test_no_secret_is_in_a_repr() -> None:
    pair = open_lsf_pair()
    secret = secret_book(pair)
    open_book(pair, secret)
    for node in (pair.funder, pair.fundee):
        text = repr(channel_of(node).state)
        for lock in range(1, 6):
            assert repr(secret.lock_secret(lock))[2:-1] not in text
        basepoint_secret = node.signer.secrets.extension_secret("lsf")
        assert basepoint_secret.secret.hex() not in text


def test_root_exports_only_what_its_modules_declare() -> None:
    declared: set[str] = set()
    for module in pkgutil.iter_modules(package.__path__):
        declared |= set(importlib.import_module(f"{package.__name__}.{module.name}").__all__)
    assert set(package.__all__) <= declared
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
