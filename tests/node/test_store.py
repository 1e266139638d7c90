"""What `apply` returned from is on the disk, all of it, and one process at a time writes it."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.channel import Put
from lightspeed.node.errors import StoreFormatError, StoreInUse, StoreUnavailable
from lightspeed.node.store import NodeStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[NodeStore]:
    with NodeStore(path) as opened:
        yield opened


def test_records_survive_reopening(path: Path) -> None:
    with NodeStore(path) as store:
        store.apply([Put("channel", b"a", b"1"), Put("revoked", b"a", b"2")])
        store.put("channel", b"a", b"3")
        store.put("revoked", b"a", None)
        store.put("revoked", b"never there", None)
    with NodeStore(path) as store:
        assert store.get("channel", b"a") == b"3"
        assert store.get("revoked", b"a") is None
        assert (store.count("channel"), store.count("revoked")) == (1, 0)


def test_apply_takes_all_or_nothing(store: NodeStore) -> None:
    store.put("channel", b"a", b"old")
    broken = Put("channel", b"b", "not bytes")  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        store.apply([Put("channel", b"a", b"new"), broken])
    assert dict(store.scan("channel")) == {b"a": b"old"}
    store.put("channel", b"b", b"the store goes on")


def test_last_put_of_a_key_counts(store: NodeStore) -> None:
    store.apply([Put("t", b"k", b"1"), Put("t", b"k", None), Put("t", b"k", b"2")])
    assert store.get("t", b"k") == b"2"


@settings(max_examples=50, deadline=None)
@given(
    keys=st.sets(st.binary(max_size=3), max_size=12),
    prefix=st.sampled_from([b"", b"\x00", b"a", b"\xff", b"a\xff", b"\xff\xff"]),
)
def test_scan_gives_the_keys_with_the_prefix_in_order(
    tmp_path_factory: pytest.TempPathFactory, keys: set[bytes], prefix: bytes
) -> None:
    all_keys = keys | {prefix, prefix + b"\xff", prefix + b"\x00"}
    with NodeStore(tmp_path_factory.mktemp("scan") / "node.sqlite") as store:
        store.apply([Put("t", key, key) for key in all_keys])
        store.put("other", prefix, b"")
        expected = [(key, key) for key in sorted(all_keys) if key.startswith(prefix)]
        assert list(store.scan("t", prefix)) == expected


def test_file_is_the_owners_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        path.touch(0o666)
        with NodeStore(path) as store:
            store.put("t", b"k", b"v")
            modes = {stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == {0o600}


_WRITER = """
import sys
from pathlib import Path
from lightspeed.channel import Put
from lightspeed.node.store import NodeStore
store = NodeStore(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    value = number.to_bytes(8, "big")
    store.apply([Put("a", value, bytes(5000)), Put("b", value, value), Put("last", b"", value)])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_second_opening_is_refused(path: Path, store: NodeStore) -> None:
    with pytest.raises(StoreInUse):
        NodeStore(path)
    other = subprocess.run(
        [sys.executable, "-c", _WRITER, str(path)], capture_output=True, text=True, check=False
    )
    assert "StoreInUse" in other.stderr
    store.put("t", b"k", b"the first one goes on")
    store.close()
    NodeStore(path).close()


def test_other_files_are_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"something else" * 100)
    with pytest.raises(StoreFormatError):
        NodeStore(path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(StoreFormatError):
        NodeStore(other)
    newer = tmp_path / "newer.sqlite"
    NodeStore(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreFormatError, match="version 2"):
        NodeStore(newer)


def test_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        NodeStore(tmp_path / "missing" / "node.sqlite")


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_kill_leaves_every_acknowledged_record_and_no_half_of_one(path: Path, lines: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(lines)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout]
    writer.wait()
    writer.stdout.close()
    with NodeStore(path) as store:
        last = int.from_bytes(store.get("last", b"") or b"", "big")
        assert last >= acknowledged[-1]
        assert store.count("a") == store.count("b") == last
        store.put("last", b"", b"and it can be written")
