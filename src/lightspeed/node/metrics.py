"""What a node counts, where it happens: at the signer, at the socket, at the API."""

from collections import Counter
from collections.abc import Iterable

from lightspeed.channel import Signer
from lightspeed.node.views import MetricsView
from lightspeed.wire.peer import Peer

__all__ = ["Metrics"]


class Metrics:
    """Signers and peers are registered once and read when somebody asks."""

    def __init__(self) -> None:
        self.api_calls: Counter[str] = Counter()
        self.other_signatures = 0
        """Of invoices and of the wallet's transactions."""
        self._signers: list[Signer] = []
        self._peers: list[Peer] = []
        self._sent: Counter[str] = Counter()
        self._received: Counter[str] = Counter()

    def add_signer(self, signer: Signer) -> None:
        self._signers.append(signer)

    def add_peer(self, peer: Peer) -> None:
        self._peers.append(peer)

    def remove_peer(self, peer: Peer) -> None:
        """The connection has ended; what it counted stays."""
        self._peers.remove(peer)
        self._sent += peer.messages_sent
        self._received += peer.messages_received

    def snapshot(self) -> MetricsView:
        return MetricsView(
            signatures=sum(signer.signatures_made for signer in self._signers)
            + self.other_signatures,
            messages_sent=_sum(self._sent, (peer.messages_sent for peer in self._peers)),
            messages_received=_sum(
                self._received, (peer.messages_received for peer in self._peers)
            ),
            api_calls=dict(self.api_calls),
        )


def _sum(ended: Counter[str], live: Iterable[Counter[str]]) -> dict[str, int]:
    return dict(sum(live, start=Counter(ended)))
