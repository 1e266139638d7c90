"""The funder's `update_fee`: commitments follow the fee market, but not each of its steps."""

from collections.abc import Callable, Iterable

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate
from lightspeed.channel import Channel, ChannelRefusal, Effect, Link, Phase, Side
from lightspeed.node.alarms import Alarms
from lightspeed.node.driver import ChannelDriver
from lightspeed.wire import UpdateFee

__all__ = ["FeeUpdates", "wanted_feerate"]

_RAISE_AT_PERCENT = 130
"""Of the commitment's fee rate: what is below confirms or is lifted by an anchor."""
_LOWER_AT_PERCENT = 50
"""A low fee rate costs little while the market is quiet, and much when it is not."""


def wanted_feerate(current_per_kw: int, market: FeeRate) -> FeeRate | None:
    """What commitments should pay from now on; None: what they pay is good enough."""
    wanted = max(market, FEE_RATE_FLOOR)
    if wanted * 100 >= current_per_kw * _RAISE_AT_PERCENT:
        return wanted
    if wanted * 100 <= current_per_kw * _LOWER_AT_PERCENT:
        return wanted
    return None


class FeeUpdates:
    """For all channels that we fund. `market` is None until the chain backend has told it."""

    def __init__(self, *, market: Callable[[], FeeRate | None], alarms: Alarms) -> None:
        self._market = market
        self._alarms = alarms

    async def tend(self, driver: ChannelDriver) -> None:
        market = self._market()
        if market is None or self._wanted(driver.channel, market) is None:
            self._alarms.report(_alarm(driver), None)
            return

        def turn(channel: Channel) -> Iterable[Effect]:
            wanted = self._wanted(channel, market)
            if wanted is None:
                return ()
            return (*channel.update_fee(wanted), *channel.commit())

        try:
            await driver.act(turn)
        except ChannelRefusal as refusal:
            text = f"{_alarm(driver)} stays as it is, the market's is {market} sat/kw: {refusal}"
            self._alarms.report(_alarm(driver), text)
        else:
            self._alarms.report(_alarm(driver), None)

    def _wanted(self, channel: Channel, market: FeeRate) -> FeeRate | None:
        state = channel.state
        if (
            state.config.funder is not Side.HOLDER
            or state.phase is not Phase.NORMAL
            or state.session.link is not Link.UP
            or any(isinstance(update, UpdateFee) for update in state.holder_log)
        ):
            return None
        return wanted_feerate(state.base.feerate_per_kw, market)


def _alarm(driver: ChannelDriver) -> str:
    return f"fee rate of channel {driver.channel.channel_id.hex()}"
