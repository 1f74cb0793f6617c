"""The entities of a provider: customers, accounts, products, tariffs, nodes and what is theirs."""
