"""The demo's other processes: started, waited for, and stopped whatever happens."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from lightspeed.errors import LocalError

__all__ = ["ProcessEnded", "Processes", "child_command", "free_ports", "run_until_asked_to_end"]

T = TypeVar("T")

_PATIENCE_SECONDS = 30.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 20
_ENDING_LOOKS = 20
_PORTS = range(10_000, 32_768)
"""Below those that systems give to outgoing connections, which would take a free one meanwhile."""


class ProcessEnded(LocalError, ChildProcessError):
    """A process of the demo ended, or did not become ready; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class _Running:
    name: str
    process: asyncio.subprocess.Process
    log: Path

    def tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return "\n".join(lines[-_LOG_TAIL_LINES:])
        return ""


class Processes:
    """An async context manager; at its end every process is asked to end, then killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[_Running] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.shield(self.stop())

    async def start(
        self, name: str, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """`python -m module arguments`; what it prints goes to `name.log` in the folder.

        It ends with this process, however that ends.
        """
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *child_command(module, *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the demo, which stops the others in order
            )
        self._running.append(_Running(name, process, log))

    async def until(self, name: str, ready: Callable[[], Awaitable[bool]]) -> None:
        """Waits until `ready()`; raises `ProcessEnded` when the process ends before."""
        running = next(one for one in self._running if one.name == name)
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while not await ready():
            if running.process.returncode is not None:
                raise _ended(running, f"ended with status {running.process.returncode}")
            if asyncio.get_running_loop().time() > deadline:
                raise _ended(running, f"was not ready after {_PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)

    async def check(self) -> None:
        """Raises `ProcessEnded` if one is not running any more, or is just ending."""
        for _ in range(_ENDING_LOOKS):
            for running in self._running:
                if running.process.returncode is not None:
                    raise _ended(running, f"ended with status {running.process.returncode}")
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Last started, first stopped."""
        for running in reversed(self._running):
            if running.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    running.process.send_signal(signal.SIGTERM)
        for running in reversed(self._running):
            try:
                await asyncio.wait_for(running.process.wait(), _STOP_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    running.process.kill()
                await running.process.wait()
        self._running.clear()


def _ended(running: _Running, what: str) -> ProcessEnded:
    return ProcessEnded(f"the demo's process {running.name!r} {what}\n{running.tail()}".rstrip())


def child_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Needs a pipe as standard input; see `lightspeed.cli.demo.child`."""
    return (sys.executable, "-m", "lightspeed.cli.demo.child", module, *arguments)


def run_until_asked_to_end(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, with SIGTERM and SIGHUP as gentle as Ctrl-C: what was started is stopped.

    Raises `KeyboardInterrupt` for any of them.
    """

    async def run() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await main

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def free_ports(number: int) -> list[int]:
    """Different TCP ports of loopback that nobody listens on now. Raises OSError for too many."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(_PORTS, len(_PORTS)):
            if len(found) == number:
                return found
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    raise OSError(f"there are no {number} free ports")
