"""The daemon's rare looks, beside the cycles and never in one: what has changed that is read once, and what is new.

An account that uses another asset than before cannot be judged until its pool is discovered again; a position that
keeper.toml does not name is nobody's concern until somebody is told.
"""

import structlog

from keeper.alerts import Alarm
from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.core.snapshot import SubaccountId
from keeper.errors import ChainError, ConfigError, ProtocolError
from keeper.opening import Running
from keeper.protocols.euler.topology import NAME as EULER
from keeper.report import name_of, verdict_text
from keeper.unlisted import Unlisted, find_unlisted

log = structlog.stdlib.get_logger(__name__)

STEP_SECONDS = 60
"""At least so long between two looks, and so long until what is outdated is found out anew."""
LOOK_SECONDS = 600
"""Between two looks for what is new."""


class Lookout:
    """One keeper's."""

    def __init__(self, running: Running, clock: Clock = SYSTEM_CLOCK) -> None:
        self._running = running
        self._clock = clock
        self._told: set[SubaccountId] = set()
        """The positions that somebody was told of, once each."""

    async def run(self) -> None:
        """Until cancelled; the first look is a step after the start."""
        waited = LOOK_SECONDS
        while True:
            await self._clock.sleep(STEP_SECONDS)
            waited += STEP_SECONDS
            if self._running.keeper.is_outdated:
                await self.find_out_anew()
            if waited >= LOOK_SECONDS:
                waited = 0
                await self.look()

    async def find_out_anew(self) -> None:
        """What it finds holds from the next cycle on; what it cannot find leaves everything as it was, and is told."""
        running = self._running
        try:
            session = await running.session.found_out_anew()
        except ChainError as fault:
            running.alerts.raise_alarm(Alarm.NODE_FAILING, running.session.rpc.label, str(fault))
        except (ProtocolError, ConfigError) as fault:
            says = f"What changed on the chain cannot be found out: {str(fault).rstrip('.')}."
            running.alerts.raise_alarm(Alarm.UNKNOWN, "discovery", says)
        else:
            async with running.cycles:
                running.keeper.adopt(session)
            log.info("found out anew", accounts=[str(each.subaccount) for each in session.portfolio.enrolments()])

    async def look(self) -> Unlisted:
        """An alarm for each position with debt that is new since the last look."""
        running = self._running
        try:
            found = await find_unlisted(running.session, await running.session.rpc.head())
        except ChainError as fault:
            running.alerts.raise_alarm(Alarm.NODE_FAILING, running.session.rpc.label, str(fault))
            return Unlisted()
        for note in found.notes:
            log.info("look for new positions", note=note)
        for each in found.positions:
            if each.has_debt and each.id not in self._told:
                says = f"{name_of(each)} is {verdict_text(found.verdicts[each.id])}."
                running.alerts.raise_alarm(Alarm.NOT_PROTECTED, str(each.id), says)
                self._told.add(each.id)
        if any(each.id.protocol == EULER for each in found.positions):
            # Found anew, it is judged from the next cycle on as what it is: an account that the guard does not know.
            await self.find_out_anew()
        return found
