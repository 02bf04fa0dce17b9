"""Taking servers out of service and bringing them back: `drain` and `restore`.

Invariant: when a drain is answered, no worker sends a request there that arrives from then on; what runs there is left
to finish. Both go the way of every change: judged, journaled, applied.
"""

from __future__ import annotations

from proxy.controlplane.commands.ask import Ask, Outcome
from proxy.controlplane.commands.reach import known_down
from proxy.controlplane.commands.transactions import Plan, Transactions
from proxy.controlplane.errors import InvalidChange, LastServer, UnknownVersion
from proxy.core import draining
from proxy.core.changes import ChangeError, Step
from proxy.core.route import Version
from proxy.errors import Problem
from proxy.settings.addresses import parse_server
from proxy.settings.grammar import suggest
from proxy.settings.units import quote

_NAMED = 10         # servers in a message


class Drainer:
    """See the module; what may be raised is at `Commands`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def drain(self, version: str, server: str | None, ask: Ask, *, force: bool) -> Outcome:
        """Out of service."""
        known: dict[Version, bool] = {}

        def judge() -> tuple[Version, str | None, Step]:
            found, address = self._find(version, server, ask)
            state, settings = self._transactions.state, self._transactions.settings
            try:
                return found, address, draining.drain(
                    state, settings.versions, settings.routes, found, address, force=force)
            except ChangeError as error:
                raise LastServer(str(error)) from None

        async def ask_others() -> None:
            found, _, step = judge()
            await self._must_leave_one(step, found, known)

        async def plan() -> Plan:
            found, address, step = judge()
            state, settings = self._transactions.state, self._transactions.settings
            if not force:
                await self._must_leave_one(step, found, known)
            notes = draining.consequences(state, step.state, settings.versions, settings.routes)
            return Plan(step, (), notes=notes + draining.elsewhere(step.state, settings.versions, found, address))

        return await self._transactions.run(plan, ask, None if force else ask_others)

    async def restore(self, version: str, server: str | None, ask: Ask) -> Outcome:
        """Back in service."""

        async def plan() -> Plan:
            step: Step = draining.restore(self._transactions.state, *self._find(version, server, ask))
            return Plan(step, ())

        return await self._transactions.run(plan, ask)

    async def _must_leave_one(self, step: Step, version: Version, known: dict[Version, bool]) -> None:
        """Raise LastServer if requests depend on the servers that stay in service, and each of them refuses to connect.

        `known`: whether they do, as far as it was asked already.
        """
        settings = self._transactions.settings
        left, = draining.in_service(step.state.drained, [version])
        routes = draining.needed(step.state, settings.versions, settings.routes, version.name)
        if not step.services or not left.servers or not routes:
            return
        if left not in known:
            known[left] = bool(await known_down([left]))
        if known[left]:
            raise LastServer(
                f"no other server of `{version.name}` accepts a connection, and requests of {draining.listed(routes)} "
                "would have nowhere to go: start one, or drain it all the same with `force`")

    def _find(self, version: str, server: str | None, ask: Ask) -> tuple[Version, str | None]:
        """The version of this name, and the address of its server as the file has it."""
        versions = {found.name: found for found in self._transactions.settings.versions}
        if version not in versions:
            raise UnknownVersion(f"no version is called `{version[:64]}`{suggest(version, list(versions))}")
        problems, found = ask.problems(), versions[version]
        known = [each.address for each in found.servers]
        address = None if server is None else as_written(server)
        if address is not None and address not in known:
            more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
            there = ", ".join(known[:_NAMED])
            what = f"{quote(server)} is no server of `{version}`; there are {there}{more}"
            problems.append(Problem("/server", "", what))
        if problems:
            raise InvalidChange(problems)
        return found, address


def as_written(text: str) -> str:
    """A server's address in the form that it has everywhere; `http://` may be left out. What is none stays as it is."""
    for form in (text, f"http://{text}"):
        try:
            return parse_server(form).address
        except ValueError:
            continue
    return text
