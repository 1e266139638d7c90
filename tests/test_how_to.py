"""docs/sell-an-api-for-tokens.md works as pasted, and says what one sees."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from lightspeed.cli.demo.processes import free_ports
from lightspeed.node.config import NodeConfig

HOW_TO = (Path(__file__).parents[1] / "docs" / "sell-an-api-for-tokens.md").read_text()
PORTS = {"regtest": 3002, "payee": 9735, "payer": 9745, "friend": 9755, "API": 8000}
PATIENCE_SECONDS = 600
QUIET_SECONDS = 0.8

PREAMBLE = """
set -e -o pipefail
trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT
sleep() { touch "$WAITING"; while [ -e "$WAITING" ]; do command sleep 0.05; done; }
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO, re.DOTALL)


def script(ports: dict[str, int]) -> str:
    """All commands, on ports that are free now."""
    commands = "".join(blocks("sh")).replace(f":{PORTS['API']}", f":{ports['API']}")
    commands = commands.replace(f"--port {PORTS['API']}", f"--port {ports['API']}")
    commands = commands.replace("lightspeed regtest >", "lightspeed regtest --port $REGTEST_PORT >")
    for node in ("payee", "payer", "friend"):
        commands = commands.replace(f" --port {PORTS[node]}", "").replace(
            f"node init -d {node}",
            f"node init -d {node} --esplora $LIGHTSPEED_REGTEST_URL "
            f"--port {ports[node]} --api-port {ports[f'{node} API']}",
        )
    return PREAMBLE + commands


def follows_the_chain(client: httpx.Client, folder: Path, *, esplora: str, api_port: int) -> bool:
    """Whether all that was started listens, and every node has seen the tip."""
    try:
        height = int(client.get(f"{esplora}/blocks/tip/height").text)
        for settings in folder.glob("*/*/node.toml"):
            config = NodeConfig.read(settings.parent)
            token = config.token_path.read_text().strip()
            info = client.get(
                f"http://127.0.0.1:{config.api_port}/v1/info",
                headers={"Authorization": f"Bearer {token}"},
            ).json()
            if info["block_height"] < height:
                return False
        if any(folder.glob("*/server.py")):
            client.get(f"http://127.0.0.1:{api_port}/")
    except (httpx.HTTPError, OSError):
        return False
    return True


@contextmanager
def waited_for(waiting: Path, folder: Path, *, esplora: str, api_port: int) -> Iterator[None]:
    """In place of the reader's patience: a file stands while a command `sleep` waits."""
    over = threading.Event()
    client = httpx.Client()

    def look() -> None:
        quiet_since = None
        while not over.wait(0.1):
            if not (
                waiting.exists()
                and follows_the_chain(client, folder, esplora=esplora, api_port=api_port)
            ):
                quiet_since = None
            else:
                quiet_since = quiet_since or time.monotonic()
                if time.monotonic() - quiet_since > QUIET_SECONDS:
                    waiting.unlink()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
        client.close()


def outline(text: str) -> str:
    """Without ids, rules and spacing, which differ from run to run and by the width of a screen."""
    text = re.sub(r"rgb:[\w~$-]+|\b[0-9a-f]{8,}\b|http://[\d.:]+|─+", "#", text)
    return " ".join(text.split())


@pytest.mark.slow
def test_how_to_works_as_pasted_and_says_what_one_sees(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    shop = tmp_path / "tmp"
    shop.mkdir()
    names = [*PORTS, "payee API", "payer API", "friend API"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    esplora = f"http://127.0.0.1:{ports['regtest']}"
    waiting = tmp_path / "waiting"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(shop),
        "WAITING": str(waiting),
        "REGTEST_PORT": str(ports["regtest"]),
        "LIGHTSPEED_REGTEST_URL": esplora,
    }
    with waited_for(waiting, shop, esplora=esplora, api_port=ports["API"]):
        process = subprocess.Popen(
            ("bash", "-c", script(ports)),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert "error" not in said.lower(), said
    rest = outline(said)
    for block in blocks("text"):
        for piece in filter(str.strip, re.split("…|\n", block)):
            _, found, rest_behind = rest.partition(outline(piece))
            assert found, f"{piece!r} is not in\n{said}"
            rest = rest_behind


def test_server_has_ten_lines() -> None:
    (server,) = re.findall(r"cat > server.py <<END\n(.*?)END\n", HOW_TO, re.DOTALL)
    assert len(server.splitlines()) == 10
