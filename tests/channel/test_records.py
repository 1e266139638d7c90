"""A stored channel comes back as it was; a damaged one is said to be damaged."""

import copy
import gc
import json
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_pair import Node, open_pair
from lightspeed.channel import CHANNEL_TABLE, StateError
from lightspeed.channel.records import dump_sheet, load_channel, load_sheet

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def node() -> Node:
    return open_pair().funder


def stored(node: Node) -> bytes:
    assert node.channel is not None
    return node.store[CHANNEL_TABLE, node.channel.channel_id]


def load(node: Node, data: bytes) -> Any:
    return load_channel(data, node.extensions, node.lookup)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of everything in a document, itself included."""
    found = [path]
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def test_a_channel_comes_back_as_it_was(node: Node) -> None:
    assert node.channel is not None
    before = node.channel.state
    node.restart()
    assert node.channel.state.base == before.base
    assert node.channel.state.config == before.config
    assert node.channel.state.holder_commitment == before.holder_commitment


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_other_document_loads_or_raises_the_declared_error(
    node: Node, data: st.DataObject
) -> None:
    document = json.loads(stored(node))
    path = data.draw(st.sampled_from(places(document)))
    put = data.draw(ANYTHING)
    if not path:
        document = put
    else:
        holder = document = copy.deepcopy(document)
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = put
    try:
        load(node, json.dumps(document).encode("utf-8", "replace"))
    except StateError:
        return


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_load_or_raise_the_declared_error(node: Node, data: st.DataObject) -> None:
    whole = stored(node)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]
    for record in (damaged, whole[:at]):
        try:
            load(node, record)
        except StateError:
            continue


def test_a_sheet_is_read_by_its_own_version_only(node: Node) -> None:
    assert node.channel is not None
    sheet = dump_sheet(node.channel.state.base, node.extensions)
    assert load_sheet(sheet, node.extensions) == node.channel.state.base
    for other in (sheet.replace(b'"version":2', b'"version":1'), sheet[:-1], b"[]", b"7", b""):
        with pytest.raises(StateError):
            load_sheet(other, node.extensions)


def test_what_stores_a_channel_keeps_nothing_of_it_alive() -> None:
    """What an extension knows of its node stays until it is freed, and all of the node with it."""
    node = open_pair().funder
    assert load(node, stored(node))
    extensions = weakref.ref(node.extensions)
    del node
    gc.collect()
    assert extensions() is None
