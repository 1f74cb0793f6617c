"""Whose traffic it is: the rules that give captured messages and log lines to environments."""
