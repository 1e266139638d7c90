"""The house: who may import whom, and what the pure packages must not touch."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "lightspeed"

LAYERS = (
    ("cli", "dashboard"),
    ("http",),
    ("node",),
    ("lsf",),
    ("colour",),
    ("channel",),
    ("wire",),
    ("rgb",),
    ("chain",),
    ("bitcoin",),
    ("ledger",),
    ("payment",),
)
"""From top to bottom; a package imports only what stands below it."""
FLOOR = frozenset({"errors", "units", "tagged"})
"""Modules below all packages."""
EDGE_FLOOR = frozenset({"outbound"})
"""Modules below all packages that talk to the world: not for pure ones."""

PURE_PACKAGES = frozenset({"lsf", "colour", "channel", "rgb", "bitcoin", "payment", "wire"})
EDGES = frozenset({"wire/peer.py"})
"""Modules of pure packages that talk to the world."""

IMPURE_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "ctypes",
        "datetime",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
    }
)
IMPURE_CALLS = frozenset({"open", "print", "input", "breakpoint", "exec", "eval"})


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def level_of(package: str) -> int:
    for level, packages in enumerate(LAYERS):
        if package in packages:
            return level
    raise AssertionError(f"{package} has no place in the house: add it to LAYERS")


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of imported modules, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield alias.name, node.lineno
            case ast.ImportFrom(module=module, level=level, names=names):
                assert level == 0, f"{path}:{node.lineno}: relative import"
                assert module is not None
                if module == "lightspeed":
                    for alias in names:
                        yield f"lightspeed.{alias.name}", node.lineno
                else:
                    yield module, node.lineno


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    package = package_of(path)
    if package in FLOOR | EDGE_FLOOR | {"__init__"}:
        allowed: frozenset[str] = FLOOR
    else:
        below = {name for layer in LAYERS[level_of(package) + 1 :] for name in layer}
        allowed = frozenset(below | FLOOR | EDGE_FLOOR | {package})
        if package in PURE_PACKAGES:
            allowed &= PURE_PACKAGES | FLOOR
    for module, line in imports_of(path):
        parts = module.split(".")
        if parts[0] == "lightspeed" and len(parts) > 1:
            assert parts[1] in allowed, f"{path}:{line}: {package} imports {parts[1]}"


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if package_of(p) in PURE_PACKAGES and name_of(p) not in EDGES],
    ids=name_of,
)
def test_pure_packages_touch_nothing(path: Path) -> None:
    """No I/O, no clock, no randomness, no logging, no threads."""
    for module, line in imports_of(path):
        assert module.split(".")[0] not in IMPURE_MODULES, f"{path}:{line}: imports {module}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{path}:{node.lineno}: {node.func.id}()"


@pytest.mark.parametrize("path", sorted((ROOT / "channel").rglob("*.py")), ids=name_of)
def test_the_channel_knows_no_extension_by_name(path: Path) -> None:
    """What an extension needs it gets through `channel.extension`, or nobody does."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                names = [name]
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Constant(value=str() as text) if text.isidentifier():
                names = [text]
        for name in names:
            assert not {"lsf", "rgb"} & set(name.lower().split("_")), f"{path}: {name}"


def packages() -> list[str]:
    return sorted(p.name for p in ROOT.iterdir() if (p / "__init__.py").is_file())


@pytest.mark.parametrize("package", packages())
def test_public_names_exist_and_are_told_once(package: str) -> None:
    module = importlib.import_module(f"lightspeed.{package}")
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names)), "a name is exported twice"
    for name in names:
        assert hasattr(module, name)


def test_accepting_payments_imports_nothing_of_lightning() -> None:
    """`payment`, `ledger` and `http` are all that an API server needs."""
    program = (
        "import sys, lightspeed.payment, lightspeed.ledger, lightspeed.http\n"
        "print(*[m for m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    forbidden = {"bitcoin", "chain", "rgb", "wire", "channel", "lsf", "node", "cli", "dashboard"}
    ours = {m.split(".")[1] for m in loaded if m.startswith("lightspeed.")}
    assert not ours & forbidden
    assert not {"coincurve", "pbk", "bdkpython", "uvicorn"} & set(loaded)


def test_speaking_to_a_node_loads_nothing_of_it() -> None:
    """Commands that only ask start at once."""
    program = (
        "import sys, lightspeed.cli.client, lightspeed.node.client, lightspeed.node.folder\n"
        "print(*[m for m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    ours = {m.split(".")[1] for m in loaded if m.startswith("lightspeed.")}
    assert ours <= {"cli", "node", "errors", "outbound"}
    assert not {"coincurve", "pbk", "bdkpython", "uvicorn", "starlette"} & set(loaded)
