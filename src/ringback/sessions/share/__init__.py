"""Links that show one session without a login, and who viewed which session."""
