"""How capture and store are doing, for programs: the collector's counters and the stored segments."""
