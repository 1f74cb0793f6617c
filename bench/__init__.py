"""Measurements: `python -m bench [NAME...]`, each beside a peer or a limit in the same run."""
