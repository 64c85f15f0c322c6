"""What a deployment needs before it joins the queue, and who approved it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("deployments") as table:
        table.add_column(sa.Column("approval", sa.Text(), server_default="none", nullable=False))
        table.add_column(sa.Column("approved_by", sa.JSON(none_as_null=True), nullable=True))
