"""The README's code works as pasted, beside a running `lightspeed sandbox`."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
STARTING_SECONDS = 60


def snippet(name: str) -> str:
    """The code block whose first line is `# name`."""
    (code,) = re.findall(rf"```python\n# {re.escape(name)}\n(.*?)```", README, re.DOTALL)
    return code


@contextlib.contextmanager
def running(*command: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()


@pytest.mark.slow
def test_server_and_client_of_the_readme_work_as_pasted(tmp_path: Path) -> None:
    for name in ("server.py", "client.py"):
        (tmp_path / name).write_text(snippet(name))
    assert len(snippet("server.py").splitlines()) <= 10
    assert len(snippet("client.py").splitlines()) <= 5
    python = sys.executable
    with running(python, "-m", "lightspeed.cli", "sandbox", "--json", cwd=tmp_path) as sandbox:
        assert sandbox.stdout is not None
        said = []
        for line in sandbox.stdout:
            said.append(line)
            if '"payer_store"' in line:
                break
        assert '"payer_store"' in "".join(said[-1:]), "".join(said)
        serve = (python, "-m", "uvicorn", "server:app", "--port", "8000")
        with running(*serve, cwd=tmp_path) as server:
            deadline = time.monotonic() + STARTING_SECONDS
            while True:
                client = subprocess.run(
                    (python, "client.py"), cwd=tmp_path, capture_output=True, text=True
                )
                if "ConnectError" not in client.stderr or time.monotonic() > deadline:
                    break
                assert server.poll() is None
                time.sleep(0.2)
            assert client.stdout == "{'number': 12, 'square': 144}\n", client.stderr
            unpaid = subprocess.run(
                (
                    python,
                    "-c",
                    "import httpx; r = httpx.get('http://127.0.0.1:8000/v1/square/12');"
                    "print(r.status_code, r.headers['www-authenticate'][:8])",
                ),
                capture_output=True,
                text=True,
                check=True,
            )
            assert unpaid.stdout == "402 Payment \n"


def test_commands_of_the_readme_exist() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for command in re.findall(r"\.venv/bin/lightspeed (\w+)", README):
        shown = subprocess.run(
            (sys.executable, "-m", "lightspeed.cli", command, "--help"),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "100"},
        )
        assert "Usage" in shown.stdout
