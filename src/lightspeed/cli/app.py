"""The tree of commands. Each command imports what it needs when it runs: help comes at once."""

from typing import Any

import typer
from typer.core import TyperGroup

from lightspeed.cli import book, channel, demo, invoice, node, regtest, rgb, sandbox, token, tower
from lightspeed.cli.errors import exit_status, explanation
from lightspeed.cli.invoice import pay
from lightspeed.cli.output import JsonFlag, show_json, stderr
from lightspeed.errors import LightspeedError

__all__ = ["app"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells count

_HELP = """
Pay for API calls inside a Lightning channel, at the price of one hash per call.

A payer and a payee each run a node and share a channel. In it the payer opens a book: money
divided beforehand into hash-locked claims. From then on every call carries the next secret in a
header, and the payee's application checks it with one hash, asking nobody. If the channel is
closed against somebody's will, the chain enforces what was paid.

See all of it happen: lightspeed demo

By hand, on a chain of your own (what serves, in a terminal of its own):

\b
  lightspeed regtest
  lightspeed node init -d payee --payee-for http://127.0.0.1:8000
  lightspeed node run -d payee
  lightspeed node init -d payer --port 9745
  lightspeed node run -d payer
  lightspeed regtest fund $(lightspeed node address -d payer) 10000000
  lightspeed channel open -d payer NODE_ID@127.0.0.1:9735 5000000 --push 50000
  lightspeed regtest mine 3
  lightspeed book open -d payer CHANNEL_ID --origin http://127.0.0.1:8000

For tokens instead of sats: docs/sell-an-api-for-tokens.md, and lightspeed token, channel open
--token, channel buy, book open --asset token.
"""


class _ToldErrors(TyperGroup):
    """Turns what this program raises on purpose into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (LightspeedError, OSError) as error:
            told = f"[bold red]error:[/bold red] {_escaped(explanation(error))}"
            stderr().print(told, soft_wrap=True)  # commands and ids are there to be copied
            raise typer.Exit(exit_status(error)) from error
        except KeyboardInterrupt:
            stderr().print("interrupted")
            raise typer.Exit(_INTERRUPTED) from None


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


app = typer.Typer(
    cls=_ToldErrors,
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.command)
app.command("sandbox")(sandbox.command)
app.add_typer(regtest.app, name="regtest")
app.add_typer(node.app, name="node")
app.add_typer(channel.app, name="channel")
app.add_typer(book.app, name="book")
app.add_typer(invoice.app, name="invoice")
app.add_typer(rgb.app, name="rgb")
app.add_typer(token.app, name="token")
app.add_typer(tower.app, name="tower")
app.command("pay")(pay)


@app.command()
def version(as_json: JsonFlag = False) -> None:
    """Print the version of this program."""
    from importlib.metadata import version as version_of

    found = version_of("lightspeed")
    if as_json:
        show_json({"version": found})
    else:
        typer.echo(f"lightspeed {found}")
