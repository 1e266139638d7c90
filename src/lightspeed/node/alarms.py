"""What the operator has to know: conditions that hold now, logged when they begin and end."""

import logging

__all__ = ["Alarms"]

_log = logging.getLogger(__name__)


class Alarms:
    """By key, such as `wallet` or `refill <channel>`; the node's `info` lists their texts."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def report(self, key: str, text: str | None) -> None:
        """`text` says what is wrong now; None: nothing is."""
        if text is None:
            if self._texts.pop(key, None) is not None:
                _log.info("alarm ends", extra={"alarm": key})
            return
        if key not in self._texts:
            _log.error("alarm", extra={"alarm": key, "reason": text})
        self._texts[key] = text

    @property
    def texts(self) -> tuple[str, ...]:
        """What holds now, the oldest first."""
        return tuple(self._texts.values())
