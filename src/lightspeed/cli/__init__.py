"""The command line: `lightspeed`."""

__all__ = ["main"]


def main() -> None:
    """Runs the command in `sys.argv` and exits with its status."""
    from lightspeed.cli.app import app

    app(prog_name="lightspeed")
