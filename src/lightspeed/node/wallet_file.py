"""Where BDK keeps what it knows of the wallet's coins."""

import os
from dataclasses import dataclass
from pathlib import Path

import bdkpython as bdk

from lightspeed.node.errors import WalletMismatch

__all__ = ["KeptWallet", "WalletFile"]

_KEYCHAINS = (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)


@dataclass(frozen=True, slots=True)
class KeptWallet:
    """BDK's wallet, and what writes it to its file."""

    wallet: bdk.Wallet
    persister: bdk.Persister

    def persist(self) -> None:
        self.wallet.persist(self.persister)

    @property
    def holds_lost_transactions(self) -> bool:
        """Does it count a transaction whose block is gone, and which the server has not got?

        BDK expects such a transaction back for ever. But what spends a commitment never comes
        back once a reorganisation confirmed another commitment instead.
        """
        return any(
            not found.chain_position.is_confirmed() and found.chain_position.timestamp is None
            for found in self.wallet.transactions()
        )


class WalletFile:
    """An SQLite file of BDK's, readable by its owner alone: it shows every payment of the node."""

    def __init__(
        self, path: Path, *, account: bdk.DescriptorSecretKey, network: bdk.Network
    ) -> None:
        self._path = path
        self._network = network
        main = network is bdk.Network.BITCOIN
        kind = bdk.NetworkKind.MAIN if main else bdk.NetworkKind.TEST
        self._descriptors = [bdk.Descriptor.new_bip86(account, k, kind) for k in _KEYCHAINS]

    def open(self) -> KeptWallet:
        """Creates the file if it is missing. Raises `WalletMismatch`, and BDK's errors."""
        if not self._path.exists() or self._path.stat().st_size == 0:
            return self._create(self._path)
        self._path.chmod(0o600)
        persister = bdk.Persister.new_sqlite(str(self._path))
        try:
            wallet = bdk.Wallet.load(*self._descriptors, persister)
        except bdk.LoadWithPersistError.InvalidChangeSet:
            raise WalletMismatch("the wallet's file is of another seed or network") from None
        if wallet.network() is not self._network:
            raise WalletMismatch("the wallet's file is of another network")
        return KeptWallet(wallet, persister)

    def empty(self, old: KeptWallet) -> bdk.Wallet:
        """In memory: knows no transaction, only the scripts that `old` gave out."""
        persister = bdk.Persister.new_in_memory()
        wallet = bdk.Wallet(*self._descriptors, self._network, persister)
        _copy_promises(old.wallet, wallet)
        return wallet

    def rebuilt(self, old: KeptWallet, scan: bdk.Update) -> KeptWallet:
        """With what `scan`, made for `empty`, found; in the old one's place."""
        self._new_path.unlink(missing_ok=True)
        new = self._create(self._new_path)
        _copy_promises(old.wallet, new.wallet)
        new.wallet.apply_update(scan)
        new.persist()
        del new  # SQLite's files must not be renamed while they are open
        os.replace(self._new_path, self._path)
        return self.open()

    @property
    def _new_path(self) -> Path:
        return self._path.with_name(self._path.name + ".new")

    def _create(self, path: Path) -> KeptWallet:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        persister = bdk.Persister.new_sqlite(str(path))
        return KeptWallet(bdk.Wallet(*self._descriptors, self._network, persister), persister)


def _copy_promises(old: bdk.Wallet, new: bdk.Wallet) -> None:
    """Scripts that were given out, and coins that are reserved."""
    for keychain in _KEYCHAINS:
        index = old.derivation_index(keychain)
        if index is not None:
            new.reveal_addresses_to(keychain, index)
    for outpoint in old.list_locked_outpoints():
        new.lock_outpoint(outpoint)
