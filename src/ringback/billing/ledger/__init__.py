"""The ledger: what customers owe and why, their payments, and their invoices."""
