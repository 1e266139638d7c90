"""Which extensions a channel of this node has, and how they are configured."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lightspeed.bitcoin import FeeRate
from lightspeed.channel import Extensions
from lightspeed.colour import Colouring
from lightspeed.lsf import LightspeedFunding, Party, PayeeLimits
from lightspeed.lsf.limits import DEFAULT_MAX_EXPOSURE_SAT
from lightspeed.node.config import NodeConfig
from lightspeed.units import Sat

__all__ = ["extensions_for"]


def extensions_for(
    party: Party | None,
    config: NodeConfig,
    *,
    claim_feerate: Callable[[], FeeRate],
    colouring: Colouring | None = None,
) -> Extensions:
    """Those of a channel in which we are `party`; `colouring` where it holds tokens."""
    extensions: list[Any] = []
    if party is not None:
        extensions.append(_funding(party, config, claim_feerate, coloured=colouring is not None))
    if colouring is not None:
        extensions.append(colouring)
    return Extensions(extensions)


def _funding(
    party: Party, config: NodeConfig, claim_feerate: Callable[[], FeeRate], *, coloured: bool
) -> LightspeedFunding:
    lightspeed = config.lightspeed
    return LightspeedFunding(
        party=party,
        rules=config.delay_rules,
        limits=_limits(config, coloured=coloured),
        origins=frozenset(lightspeed.origins) if lightspeed else frozenset(),
        max_exposure_sat=Sat(
            lightspeed.max_exposure_sat if lightspeed else DEFAULT_MAX_EXPOSURE_SAT
        ),
        max_exposure_tokens=lightspeed.max_exposure_tokens if lightspeed else 0,
        claim_feerate=claim_feerate,
    )


def _limits(config: NodeConfig, *, coloured: bool) -> PayeeLimits | None:
    """A tower is given late children, which the payer has to be asked for.

    A channel with tokens is not given to a tower: what it published would have to move them.
    """
    if config.lightspeed is None:
        return None
    return replace(config.lightspeed.limits, late_children=bool(config.tower_url) and not coloured)
