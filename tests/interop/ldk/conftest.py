"""These tests need Node and npm, and a package registry on first use."""

import pytest

from ldk_world import LdkMissing, installed_ldk


@pytest.fixture(scope="session", autouse=True)
def ldk() -> None:
    try:
        installed_ldk()
    except LdkMissing as missing:
        pytest.skip(f"NOT TESTED AGAINST LDK: {missing}")


@pytest.fixture(autouse=True)
def fee_rates_are_the_tests_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our node would follow the market by itself, back to where a test comes from."""
    monkeypatch.setattr("lightspeed.node.fee_updates.wanted_feerate", lambda *_: None)
