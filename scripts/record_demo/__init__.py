"""Records the demo's traffic from a chain of two Kamailio proxies with sipp phones and gateways."""
