"""Which extensions a channel of this node has, and how they are configured."""

from collections.abc import Callable
from dataclasses import replace

from lightspeed.bitcoin import FeeRate
from lightspeed.channel import Extensions
from lightspeed.lsf import LightspeedFunding, Party, PayeeLimits
from lightspeed.lsf.limits import DEFAULT_MAX_EXPOSURE_SAT
from lightspeed.node.config import NodeConfig
from lightspeed.units import Sat

__all__ = ["extensions_for"]


def extensions_for(
    party: Party | None, config: NodeConfig, *, claim_feerate: Callable[[], FeeRate]
) -> Extensions:
    """Those of a channel in which we are `party`; none of an ordinary one."""
    if party is None:
        return Extensions()
    lightspeed = config.lightspeed
    funding = LightspeedFunding(
        party=party,
        rules=config.delay_rules,
        limits=_limits(config),
        origins=frozenset(lightspeed.origins) if lightspeed else frozenset(),
        max_exposure_sat=Sat(
            lightspeed.max_exposure_sat if lightspeed else DEFAULT_MAX_EXPOSURE_SAT
        ),
        claim_feerate=claim_feerate,
    )
    return Extensions([funding])


def _limits(config: NodeConfig) -> PayeeLimits | None:
    """A tower is given late children, which the payer has to be asked for."""
    if config.lightspeed is None:
        return None
    return replace(config.lightspeed.limits, late_children=bool(config.tower_url))
