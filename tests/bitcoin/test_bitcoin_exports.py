"""The package root names each public thing once, and nothing else."""

import importlib
import pkgutil

import lightspeed.bitcoin as package


def test_root_exports_every_public_name_of_its_modules_once() -> None:
    public: list[str] = []
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "ripemd":  # hashes.ripemd160 chooses between it and OpenSSL
            public += importlib.import_module(f"{package.__name__}.{module.name}").__all__
    assert sorted(public) == sorted(package.__all__)
    assert len(set(public)) == len(public)
    for name in package.__all__:
        assert getattr(package, name) is not None
