"""Everything that happened to one customer or account, from all rooms, in one list."""
