"""What another process has to know of a node's folder to speak to that node.

Loads nothing of the node itself, so that commands start at once.
"""

import tomllib
from pathlib import Path
from typing import Any

from lightspeed.node.errors import ConfigError

__all__ = ["CONFIG_NAME", "DEFAULT_API_PORT", "api_url", "read_settings", "token_path"]

CONFIG_NAME = "node.toml"
DEFAULT_API_PORT = 9736


def read_settings(data_dir: Path) -> dict[str, Any]:
    """`node.toml` as it stands there. Raises `ConfigError`."""
    path = data_dir / CONFIG_NAME
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def api_url(data_dir: Path) -> str:
    """Of the node's API, on loopback. Raises `ConfigError`."""
    port = read_settings(data_dir).get("api_port", DEFAULT_API_PORT)
    if type(port) is not int:
        raise ConfigError(f"api_port: {port!r} is of the wrong type")
    return f"http://127.0.0.1:{port}"


def token_path(data_dir: Path) -> Path:
    """The file with the token that the API asks for; a node that runs has made it."""
    return data_dir / "api-token"
