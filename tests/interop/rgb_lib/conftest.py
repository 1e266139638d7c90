"""These tests need a wheel of rgb-lib, and a package registry on first use."""

import pytest

from rgb_lib_world import RgbLibMissing, installed_rgb_lib


@pytest.fixture(scope="session", autouse=True)
def rgb_lib() -> None:
    try:
        installed_rgb_lib()
    except RgbLibMissing as missing:
        pytest.skip(f"NOT TESTED AGAINST RGB-LIB: {missing}")
