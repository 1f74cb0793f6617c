"""People and programs: users, logins, API tokens, and the dependency that asks who is there."""
