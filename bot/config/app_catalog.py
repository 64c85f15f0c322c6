"""The apps and their rules, from the settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.deployments.model import AppKey, AppPolicy, Deployment
from bot.deployments.ports import Catalog
from bot.errors import Declined
from bot.names import slash


class TableCatalog(Catalog):
    """Apps that have a table, and defaults for the rest.

    A table applies to both names, its own and Dokku's: otherwise the second one would be a way
    around its `deployers`.
    """

    def __init__(
        self,
        *,
        tables: Sequence[AppPolicy],
        servers: Sequence[str],
        only_listed: bool,
        template: str | None,
        rules: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """`rules`: by server, those of an app without a table, as `AppPolicy` takes them."""
        self._tables = tuple(tables)
        self._servers = tuple(servers)
        self._only_listed = only_listed
        self._template = template
        self._rules = rules

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        wanted = None if server is None else self._server(server)
        found = self._table(app, wanted)
        if found is not None:
            return found
        if self._only_listed:
            raise Declined(
                f"{app} is not among the apps I may deploy{f' to {wanted}' if wanted else ''}. "
                f"{slash('apps')} lists them."
            )
        server = wanted or self._only_server(app)
        return AppPolicy(server=server, app=app, dokku_app=app, **self._rules[server])

    def rules_of(self, key: AppKey, app: str) -> AppPolicy | None:
        for table in self._tables:
            if table.target == key:
                return table
        if app != key.dokku_app:
            return None
        try:
            found = self.policy(app, key.server)
        except Declined:
            return None
        return found if found.target == key else None

    def servers(self) -> Sequence[str]:
        return self._servers

    def notified(self, deployment: Deployment) -> frozenset[str]:
        """The channels that also get its result, other than the one of its message."""
        rules = self.rules_of(deployment.target, deployment.app)
        at = deployment.message
        return (rules.notify if rules else frozenset()) - {at.channel if at else deployment.channel}

    def notify_channels(self) -> frozenset[str]:
        """All channels that get results of some app."""
        listed = [table.notify for table in self._tables]
        listed += [rules["notify"] for rules in self._rules.values()]
        return frozenset[str]().union(*listed)

    def named(self) -> frozenset[str]:
        listed = [table.deployers | table.approvers for table in self._tables]
        listed += [rules["deployers"] | rules["approvers"] for rules in self._rules.values()]
        return frozenset[str]().union(*listed)

    def listed(self) -> Sequence[AppPolicy]:
        return self._tables

    def repo_for(self, policy: AppPolicy) -> str | None:
        if policy.repo is not None or self._template is None:
            return policy.repo
        return self._template.replace("{app}", policy.app)

    def _table(self, app: str, server: str | None) -> AppPolicy | None:
        here = [table for table in self._tables if server in {None, table.server}]
        by_name = [table for table in here if table.app == app]
        return next(iter(by_name or [table for table in here if table.dokku_app == app]), None)

    def _server(self, name: str) -> str:
        for known in self._servers:
            if known.casefold() == name.casefold():
                return known
        raise Declined(f"There is no server {name}. I know: {', '.join(self._servers)}.")

    def _only_server(self, app: str) -> str:
        if len(self._servers) == 1:
            return self._servers[0]
        raise Declined(
            f"On which server? {slash(f'{app} … to SERVER')}, with one of: "
            f"{', '.join(self._servers)}."
        )
