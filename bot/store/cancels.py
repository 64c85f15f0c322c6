"""Cancel requests of people, in the columns of the deployment that they are about."""

from sqlalchemy import update

from bot.deployments.model import AuditEntry, CancelRequest
from bot.deployments.states import ENDINGS
from bot.deployments.verdict.left_builds import ASKED, BUILD
from bot.store.database import Transaction
from bot.store.tables import cancel_values, deployments


async def write_cancel(
    tx: Transaction, deployment_id: str, request: CancelRequest, *, through: str, build: str | None
) -> AuditEntry | None:
    """Write it once, as `Store.ask_cancel` says; what to audit, None: it was there before."""
    asked = update(deployments).where(
        deployments.c.id == deployment_id, deployments.c.cancel_at.is_(None)
    )
    if build is None:
        asked = asked.where(deployments.c.phase.not_in(ENDINGS))
    else:
        # It may have ended unproven while its build went on; and what only waits behind the build
        # is not cancelled.
        asked = asked.where(deployments.c.build_id == build)
    written = await tx.connection.execute(asked.values(cancel_values(request)))
    if build is not None:
        return AuditEntry(actor=request.by, through=through, action=ASKED, detail={BUILD: build})
    if not written.rowcount:
        return None
    return AuditEntry(actor=request.by, through=through, action="cancel_asked")
