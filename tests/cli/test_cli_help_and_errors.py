"""Help teaches, an error says what is wrong and what to do, and neither shows a traceback."""

import json
import os
import pty
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lightspeed.cli.app import app
from lightspeed.cli.errors import UsageError
from lightspeed.cli.files import check_writable
from lightspeed.cli.ids import full_id

COMMANDS = [
    ["demo"],
    ["sandbox"],
    ["regtest"],
    ["regtest", "mine"],
    ["regtest", "fund"],
    ["node"],
    ["node", "init"],
    ["node", "run"],
    ["node", "info"],
    ["node", "connect"],
    ["node", "address"],
    ["node", "balance"],
    ["channel"],
    ["channel", "open"],
    ["channel", "list"],
    ["channel", "show"],
    ["channel", "buy"],
    ["channel", "close"],
    ["book"],
    ["book", "open"],
    ["book", "list"],
    ["book", "settle"],
    ["book", "close"],
    ["invoice"],
    ["invoice", "create"],
    ["invoice", "lookup"],
    ["pay"],
    ["rgb"],
    ["rgb", "inspect"],
    ["rgb", "validate"],
    ["token"],
    *(["token", name] for name in ["issue", "list", "invoice", "send", "receive", "accept"]),
    *(["token", name] for name in ["import", "export", "history", "proof", "cancel"]),
    *(["token", name] for name in ["sell", "buy", "complete", "deals", "withdraw"]),
    ["tower"],
    ["tower", "run"],
    ["tower", "add-client"],
    ["tower", "remove-client"],
    ["tower", "clients"],
    ["tower", "use"],
    ["version"],
]
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there

HEAVY = {
    "aiohttp",
    "bdkpython",
    "coincurve",
    "cryptography",
    "httpx",
    "pbk",
    "starlette",
    "uvicorn",
}


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_help_names_the_way_in() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("lightspeed demo", "lightspeed regtest", "lightspeed book open", "node init"):
        assert word in result.output


def test_help_comes_without_loading_what_it_does_not_need() -> None:
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from lightspeed.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & set(loaded)
    assert not {"lightspeed.node", "lightspeed.chain", "lightspeed.http"} & set(loaded)


def test_version_is_the_packages() -> None:
    assert run("version").output.startswith("lightspeed ")
    assert json.loads(run("version", "--json").output)["version"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nonsense"], 2, "No such command"),
        (["node", "info", "--data-dir", "/nowhere"], 2, "lightspeed node init"),
        (["channel", "list", "--data-dir", "/nowhere"], 2, "lightspeed node init"),
        (["node", "init", "--data-dir", "/nowhere", "--network", "moon"], 2, "regtest"),
        (["node", "init", "--data-dir", "/nowhere", "--network", "signet"], 2, "--esplora URL"),
        (["regtest", "mine", "--url", NOBODY], 3, "lightspeed regtest"),
        (["regtest", "--host", "8.8.8.8"], 1, "loopback"),
        (["demo", "--calls", "1"], 2, "--calls"),
        (["demo", "--calls", "500", "--locks", "4", "--chain-length", "100"], 2, "fewer calls"),
        (["demo", "--scheme", "magic"], 2, "conventional"),
        (["demo", "--folder", "/tmp"], 2, "another folder"),
        (["sandbox", "/tmp"], 2, "another folder"),
        (["token", "sell", "CALL", "1", "5000", "/nowhere/offer"], 2, "no folder /nowhere"),
        (["token", "export", "CALL", "/nowhere/file"], 2, "no folder /nowhere"),
        (["token", "send", "rgb:x", "--consignment", "/nowhere/file"], 2, "no folder /nowhere"),
        (["token", "send", "rgb:x"], 2, "in quotes"),
        (["token", "send", "x"], 2, "lightspeed token invoice"),
        (["token", "complete", "/bin/sh"], 2, "no text"),
        (["token", "buy", "/bin/sh", "/nowhere/order", "--max-price", "5"], 2, "no text"),
        (["token", "buy", "/etc/passwd", "/nowhere/order", "--max-price", "5"], 2, "no folder"),
    ],
)
def test_an_error_says_what_to_do(arguments: list[str], status: int, says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status
    assert says in " ".join(result.output.split())


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("regtest", "--port", port)
    assert result.exit_code == 1
    assert f"127.0.0.1:{port}: Address already in use" in result.output


def test_a_file_is_writable_before_anything_is_done_that_it_is_to_tell_of(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    (tmp_path / "old").touch()
    check_writable(tmp_path / "old")
    for path in (tmp_path, tmp_path / "no" / "new", tmp_path / "old" / "new"):
        with pytest.raises(UsageError, match="cannot write"):
            check_writable(path)


def test_an_id_is_told_by_its_start_and_nothing_tells_none() -> None:
    """An unset variable of a shell is no channel, though there is only one."""

    def found(start: str, *ids: str) -> str:
        return full_id(start, ids, what="channel", see="lightspeed channel list")

    assert found("AB", "abcd", "cdef") == "abcd"
    for start, says in [("", "no channel"), ("x", "no channel"), ("a", "2 channels")]:
        with pytest.raises(UsageError, match=f"{says} .*lightspeed channel list"):
            found(start, "aa", "ab")
    with pytest.raises(UsageError):
        found("", "ab")


def test_mainnet_needs_an_explicit_word(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    esplora = ("--esplora", "https://esplora.example/api")
    refused = run("node", "init", "--data-dir", folder, "--network", "mainnet", *esplora)
    assert refused.exit_code == 2
    assert "--mainnet-i-accept-the-risk" in refused.output
    assert not folder.exists()
    accepted = run(
        *("node", "init", "--data-dir", folder, "--network", "mainnet", *esplora),
        "--mainnet-i-accept-the-risk",
    )
    assert accepted.exit_code == 0


def test_a_new_node_keeps_its_seed_to_itself(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    result = run(
        "node", "init", "--data-dir", folder, "--payee-for", "https://api.example", "--json"
    )
    assert result.exit_code == 0
    assert len(bytes.fromhex(json.loads(result.output)["node_id"])) == 33
    assert stat.S_IMODE((folder / "seed").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "seed").read_bytes().hex() not in result.output


def test_a_node_is_never_made_over_another(tmp_path: Path) -> None:
    assert run("node", "init", "--data-dir", tmp_path / "node").exit_code == 0
    seed = (tmp_path / "node" / "seed").read_bytes()
    again = run("node", "init", "--data-dir", tmp_path / "node")
    assert again.exit_code == 2
    assert "another --data-dir" in again.output
    assert (tmp_path / "node" / "seed").read_bytes() == seed


def test_a_node_that_does_not_run_is_named(tmp_path: Path) -> None:
    assert run("node", "init", "--data-dir", tmp_path / "node").exit_code == 0
    result = run("node", "balance", "--data-dir", tmp_path / "node")
    assert result.exit_code == 3
    assert "lightspeed node run" in " ".join(result.output.split())


def in_a_terminal(*arguments: str) -> tuple[int, str]:
    """Runs `lightspeed` on a pseudo-terminal: (exit status, what it shows)."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "lightspeed.cli", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:
        pass  # Linux says EIO once the other end is closed
    finally:
        os.close(master)
    return process.wait(timeout=60), shown.decode()


def test_help_in_a_terminal_ends_well() -> None:
    status, shown = in_a_terminal("--help")
    assert status == 0
    assert "lightspeed demo" in shown


def test_an_error_in_a_terminal_is_one_message() -> None:
    status, shown = in_a_terminal("node", "info", "--data-dir", "/nowhere")
    assert status == 2
    assert "\x1b[1;31merror:\x1b[0m" in shown
    assert "Traceback" not in shown
