"""Books: what the id commits to, and how the payer's secrets follow from the seed."""

import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lightspeed.payment import Book, Scheme, SecretBook, TermsError, lock_hash, walk
from lightspeed.tagged import tagged_hash
from payment_books import CHANNEL_ID, make_book, make_terms, seal_of


def test_book_id_commits_to_channel_terms_and_all_lock_data():
    book = make_book().book
    whole = CHANNEL_ID + book.terms.to_bytes() + book.lock_hashes + book.anchors
    assert book.book_id == tagged_hash("lightspeed/book", whole)[:16]


def test_lock_data_must_fit_the_terms():
    book = make_book().book
    right = {
        "channel_id": CHANNEL_ID,
        "terms": book.terms,
        "lock_hashes": book.lock_hashes,
        "anchors": book.anchors,
    }
    assert Book(**right) == book
    for wrong in (
        {"channel_id": bytes(31)},
        {"lock_hashes": book.lock_hashes[:-1]},
        {"anchors": b""},
        {"anchors": book.anchors + bytes(32)},
    ):
        with pytest.raises(TermsError):
            Book(**{**right, **wrong})


def test_a_book_of_scheme_seals_lists_a_seal_for_every_lock_and_its_id_commits_to_them():
    secret_book = make_book(scheme=Scheme.SEALS, locks=3)
    book = secret_book.book
    assert [book.seal(lock) for lock in (1, 2, 3)] == [
        seal_of(secret_book.lock_secret(lock)) for lock in (1, 2, 3)
    ]
    whole = CHANNEL_ID + book.terms.to_bytes() + book.lock_hashes + book.anchors + book.seals
    assert book.book_id == tagged_hash("lightspeed/book", whole)[:16]


def test_seals_belong_to_scheme_seals_and_to_no_other():
    sealed = make_book(scheme=Scheme.SEALS).book
    with pytest.raises(TermsError):
        replace(sealed, seals=b"")
    with pytest.raises(TermsError):
        replace(sealed, seals=sealed.seals[:-1])
    with pytest.raises(TermsError):
        SecretBook.create(channel_id=CHANNEL_ID, terms=sealed.terms, seed=bytes(32))
    with pytest.raises(TermsError):
        replace(make_book().book, seals=sealed.seals)


def test_chain_length_one_has_no_anchors():
    assert make_book(chain_length=1).book.anchors == b""


def test_secrets_are_the_keystream_of_the_seed():
    seed = bytes(range(32))
    secret_book = make_book(seed=seed, locks=3)
    stream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor().update(bytes(96))
    assert [secret_book.lock_secret(lock) for lock in (3, 1, 2)] == [
        stream[64:],
        stream[:32],
        stream[32:64],
    ]


def test_lock_hashes_and_anchors_follow_from_the_secrets():
    secret_book = make_book(locks=3, chain_length=7)
    for lock in (1, 2, 3):
        secret = secret_book.lock_secret(lock)
        assert secret_book.book.lock_hash(lock) == lock_hash(secret)
        assert secret_book.book.anchor(lock) == walk(secret, 7)
        assert [secret_book.element(lock, unit) for unit in range(1, 8)] == [
            walk(secret, 7 - unit) for unit in range(1, 8)
        ]


def test_elements_may_be_asked_for_in_any_order():
    secret_book = make_book(locks=6, chain_length=4, seed=bytes([9]) * 32)
    for lock in (5, 1, 6, 1, 2, 5):
        assert walk(secret_book.element(lock, 2), 2) == secret_book.book.anchor(lock)


def test_what_is_not_in_the_book_is_not_made():
    secret_book = make_book(locks=2, chain_length=3)
    for wrong in (
        lambda: secret_book.lock_secret(0),
        lambda: secret_book.lock_secret(3),
        lambda: secret_book.element(1, 0),
        lambda: secret_book.element(1, 4),
        lambda: secret_book.credential(0, 1),
        lambda: secret_book.credential(6, 2),
        lambda: secret_book.credential(1, 0),
        lambda: SecretBook(book=secret_book.book, seed=bytes(31)),
        lambda: SecretBook.create(channel_id=CHANNEL_ID, terms=make_terms(), seed=bytes(33)),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_repr_shows_no_secret():
    seed = bytes(range(100, 132))
    secret_book = make_book(seed=seed)
    secret_book.element(1, 1)
    for shown in (repr(secret_book), str(secret_book), repr([secret_book])):
        assert repr(seed)[2:20] not in shown
        assert seed.hex() not in shown
        assert "_chains" not in shown


def test_a_book_of_200_000_units_is_made_in_a_fraction_of_a_second():
    """One hash per unit: a quadratic book would take minutes."""
    before = time.process_time()
    make_book(locks=400, chain_length=500, seed=bytes([7]) * 32)
    assert time.process_time() - before < 2
