"""These tests need Node and npm, and a package registry on first use."""

import pytest

from ldk_world import LdkMissing, installed_ldk


@pytest.fixture(scope="session", autouse=True)
def ldk() -> None:
    try:
        installed_ldk()
    except LdkMissing as missing:
        pytest.skip(f"NOT TESTED AGAINST LDK: {missing}")
