"""What the world writes down while it goes on, to judge by it: words, units, and who owes what."""

from dataclasses import dataclass, field

from adversary_machine import Machine
from lightspeed.bitcoin import Tx
from lightspeed.channel.commitment import NotACommitment, commitment_number
from lightspeed.lsf import LsfSignatures, Party
from lightspeed.payment import Book, BookTerms, Credential, Receipt, Scheme
from lightspeed.payment.parts import split
from lightspeed.wire import CommitmentSigned, Message, RevokeAndAck

__all__ = ["BookUse", "Fault", "Record"]


class Fault(AssertionError):
    """A node broke a rule that protects it, whether or not that cost it something this time."""


@dataclass
class BookUse:
    """What of one book was said to the payee's side, and what it served."""

    book: Book
    presented: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Lock -> the deepest unit that was presented of it, and its element."""
    served: set[int] = field(default_factory=set)
    """Unit numbers."""

    @property
    def terms(self) -> BookTerms:
        return self.book.terms

    def present(self, credential: Credential) -> None:
        spans = split(credential.first_unit, credential.count, self.terms.chain_length)
        for at, (lock, _, last) in enumerate(spans):
            if lock <= self.terms.locks and last > self.presented.get(lock, (0, b""))[0]:
                self.presented[lock] = (last, credential.elements[32 * at :][:32])

    def serve(self, receipt: Receipt) -> None:
        units = set(range(receipt.first_unit, receipt.first_unit + receipt.count))
        if units & self.served:
            raise Fault(f"units {sorted(units & self.served)} were served twice")
        self.served |= units

    # --- in msat, or in tokens ------------------------------------------------------------
    @property
    def presented_value(self) -> int:
        """What the payer gave out: a skipped unit counts as soon as a deeper one is out."""
        return self._reach({lock: unit for lock, (unit, _) in self.presented.items()})

    @property
    def served_value(self) -> int:
        return len(self.served) * self.terms.unit_value

    @property
    def secured_value(self) -> int:
        """What of the served units can be enforced alone: see the exposure rule."""
        c, terms = self.terms.chain_length, self.terms
        complete = {unit // c for unit in self.served if unit % c == 0}
        if terms.scheme is Scheme.LADDER:
            return max(complete, default=0) * c * terms.unit_value
        return (len(complete) if 1 in complete else 0) * c * terms.unit_value

    @property
    def exposure_value(self) -> int:
        """What a payee may lose of it."""
        return (self.terms.chain_length + self.terms.window) * self.terms.unit_value

    def _reach(self, deepest: dict[int, int]) -> int:
        c = self.terms.chain_length
        if self.terms.scheme is Scheme.LADDER:
            top = max((lock for lock, unit in deepest.items() if unit == c), default=0)
            above = sum(unit for lock, unit in deepest.items() if lock > top)
            return (top * c + above) * self.terms.unit_value
        return sum(deepest.values()) * self.terms.unit_value


@dataclass
class Record:
    """Of one channel between two machines."""

    books: dict[bytes, BookUse] = field(default_factory=dict)
    signed: dict[tuple[str, str, int, int], object] = field(default_factory=dict)
    """(who, what, commitment number, part) -> the content that was signed."""
    revoked: dict[str, int] = field(default_factory=dict)
    """Who -> the highest commitment that it said to be void."""
    thief: Party | None = None
    """Its signatures are its own business."""

    def use(self, book: Book) -> BookUse:
        return self.books.setdefault(book.book_id, BookUse(book))

    def hear(self, machine: Machine, message: Message) -> None:
        """What left a process. Raises `Fault` for a second signature on another content."""
        if machine.party is self.thief or not machine.has_channel:
            return
        state = machine.channel.state
        match message:
            case CommitmentSigned():
                number = state.counterparty_commitments[-1].number
                self._sign(machine, "commitment", number, 0, message)
            case LsfSignatures() if message.whose == Party.PAYEE:
                self._sign(machine, "children", message.commitment_number, message.first, message)
            case RevokeAndAck():
                secrets = machine.channel.signer.secrets
                number = state.holder_commitment.number - 1
                if message.per_commitment_secret != secrets.per_commitment_secret(number):
                    raise Fault("a secret of another commitment than the one before the present")
                self.revoked[machine.name] = max(number, self.revoked.get(machine.name, -1))
            case _:
                pass

    def _sign(self, machine: Machine, what: str, number: int, part: int, content: Message) -> None:
        before = self.signed.setdefault((machine.name, what, number, part), content)
        if before != content:
            raise Fault(f"{machine.name} signed two different {what} {number}")

    def publish(self, machine: Machine, tx: Tx) -> None:
        """Before an honest node's broadcast. Raises `Fault` for a revoked commitment."""
        if not machine.has_channel:
            return
        channel = machine.channel
        if tx.inputs[0].outpoint != channel.state.config.funding_outpoint:
            return
        factor = channel.holder_commitment().terms.obscuring_factor
        try:
            number = commitment_number(tx, factor)
        except NotACommitment:
            return
        if number <= self.revoked.get(machine.name, -1):
            raise Fault(f"{machine.name} publishes commitment {number}, which it has revoked")
