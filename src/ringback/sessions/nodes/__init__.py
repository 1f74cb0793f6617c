"""The node register: which capture id or address is which node."""
