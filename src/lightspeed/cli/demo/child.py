"""Runs a module that ends when whoever started it is gone, however that ended.

    python -m lightspeed.cli.demo.child MODULE ARGUMENTS

Standard input is a pipe from the parent: the kernel closes it with the parent.
"""

import os
import runpy
import signal
import sys
import threading
import time

__all__ = ["main"]

_GRACE_SECONDS = 5.0


def main() -> None:
    """As `python -m MODULE ARGUMENTS`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
