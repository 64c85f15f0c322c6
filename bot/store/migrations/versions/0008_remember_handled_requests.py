"""remember handled requests."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "handled",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_handled")),
    )
    with op.batch_alter_table("handled", schema=None) as batch_op:
        batch_op.create_index("ix_handled_at", ["at"], unique=False)
