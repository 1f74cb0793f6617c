"""The chain of events: who changed what, when, from where, and what it caused."""
