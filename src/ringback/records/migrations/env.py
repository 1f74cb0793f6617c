"""Run by Alembic for every step. The connection, its transaction and its lock are `ringback.records.schema`'s."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
