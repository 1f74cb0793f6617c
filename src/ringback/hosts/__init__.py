"""Which host runs what, and who does what only one may do: the records are where the hosts meet."""
