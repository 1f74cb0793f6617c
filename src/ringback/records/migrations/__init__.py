"""The steps from nothing to today's tables, one file each under versions/, in order of their number."""
