"""What is no event: users, tokens, nodes, share links. SQLAlchemy 2 on SQLite or PostgreSQL, Alembic migrations."""
