"""What an API server imports: every public name once, and nothing of the Lightning side."""

import subprocess
import sys

import pytest

import lightspeed.ledger
import lightspeed.payment


@pytest.mark.parametrize("package", [lightspeed.payment, lightspeed.ledger])
def test_every_public_name_is_exported_once(package):
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert getattr(package, name, None) is not None


def test_accepting_payments_imports_nothing_of_the_lightning_side():
    program = (
        "import sys, lightspeed.payment, lightspeed.ledger\nprint(*(name for name in sys.modules))"
    )
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    ours = {name.split(".")[1] for name in modules if name.startswith("lightspeed.")}
    assert ours == {"payment", "ledger", "errors", "units", "tagged"}
    assert not {"coincurve", "cryptography", "pbk", "bdkpython", "aiohttp"} & set(modules)
