"""What a person or program may do. A role is a named set of permissions; a token's scopes are permissions too."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    """`<what>.<how>`; the words are those of the API, of tokens' scopes and of the page of roles."""

    SESSIONS_READ = "sessions.read"
    SESSIONS_EXPORT = "sessions.export"  # pcap, text, JSON of a session
    SESSIONS_SHARE = "sessions.share"  # links for people without a login
    CAPTURES_WRITE = "captures.write"  # upload of captures
    LOGS_WRITE = "logs.write"  # log lines over HTTP
    CAPTURE_READ = "capture.read"  # the state of collectors, spool and stores
    CUSTOMERS_READ = "customers.read"  # customers, accounts and what is theirs: add-ons, commitments, CPE, DID, SIM
    CUSTOMERS_WRITE = "customers.write"
    MONEY_WRITE = "money.write"  # payments, refunds, adjustments, charges, invoices
    CATALOGUE_READ = "catalogue.read"  # products, tariffs, rates, access policies
    CATALOGUE_WRITE = "catalogue.write"
    NETWORK_READ = "network.read"  # nodes, connections, CPE profiles
    NETWORK_WRITE = "network.write"
    ENGINE_ASK = "engine.ask"  # a node asks the billing engine
    AUDIT_READ = "audit.read"
    AUDIT_VERIFY = "audit.verify"
    CONFIGURATION_READ = "configuration.read"
    CONFIGURATION_WRITE = "configuration.write"
    USERS_READ = "users.read"
    USERS_WRITE = "users.write"  # people, their roles and tokens
    ENVIRONMENTS_WRITE = "environments.write"  # environments, and which traffic is whose
    PERSONAL_READ = "personal.read"  # numbers, names, addresses and SIP identities in clear; else masked
    TOKENS_OWN = "tokens.own"  # make tokens for oneself


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    BILLING = "billing"
    SUPPORT = "support"
    NOC = "noc"
    READ_ONLY = "read-only"
    API = "api"  # no login: only its tokens work


_P = Permission
_TRACE = {_P.SESSIONS_READ, _P.SESSIONS_EXPORT, _P.SESSIONS_SHARE}
_LOOK = {
    _P.SESSIONS_READ,
    _P.CUSTOMERS_READ,
    _P.CATALOGUE_READ,
    _P.NETWORK_READ,
    _P.AUDIT_READ,
    _P.CONFIGURATION_READ,
}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMINISTRATOR: frozenset(Permission),
    Role.BILLING: frozenset(
        _LOOK | _TRACE | {_P.CUSTOMERS_WRITE, _P.MONEY_WRITE, _P.CATALOGUE_WRITE, _P.PERSONAL_READ, _P.TOKENS_OWN}
    ),
    Role.SUPPORT: frozenset(
        _LOOK | _TRACE | {_P.CAPTURES_WRITE, _P.CUSTOMERS_WRITE, _P.PERSONAL_READ, _P.TOKENS_OWN}
    ),
    Role.NOC: frozenset(
        _LOOK | _TRACE | {_P.CAPTURES_WRITE, _P.LOGS_WRITE, _P.CAPTURE_READ, _P.NETWORK_WRITE, _P.TOKENS_OWN}
    ),
    Role.READ_ONLY: frozenset(_LOOK),
    Role.API: frozenset(
        _LOOK
        | _TRACE
        | {_P.CAPTURES_WRITE, _P.LOGS_WRITE, _P.CAPTURE_READ, _P.CUSTOMERS_WRITE, _P.CATALOGUE_WRITE, _P.MONEY_WRITE}
        | {_P.NETWORK_WRITE, _P.PERSONAL_READ, _P.ENGINE_ASK}
    ),
}

ABOUT: dict[Permission, str] = {
    _P.SESSIONS_READ: "Search sessions and open them",
    _P.SESSIONS_EXPORT: "Download sessions as pcap, text, JSON or a drawing",
    _P.SESSIONS_SHARE: "Make links that show one session without a login",
    _P.CAPTURES_WRITE: "Upload captures",
    _P.LOGS_WRITE: "Send log lines",
    _P.CAPTURE_READ: "See the state of capture, spool and stores",
    _P.CUSTOMERS_READ: "See customers, accounts and what is theirs",
    _P.CUSTOMERS_WRITE: "Make and change customers, accounts and what is theirs",
    _P.MONEY_WRITE: "Take payments, refund, adjust, charge, and issue invoices",
    _P.CATALOGUE_READ: "See products, tariffs, rates and access policies",
    _P.CATALOGUE_WRITE: "Make and change products, tariffs, rates and access policies",
    _P.NETWORK_READ: "See nodes, connections and CPE profiles",
    _P.NETWORK_WRITE: "Make and change nodes, connections and CPE profiles",
    _P.ENGINE_ASK: "Ask the billing engine whether a call may be made, and tell it of calls",
    _P.AUDIT_READ: "Read the audit log",
    _P.AUDIT_VERIFY: "Verify the audit log",
    _P.CONFIGURATION_READ: "See the options",
    _P.CONFIGURATION_WRITE: "Change the options",
    _P.USERS_READ: "See people, their roles and tokens",
    _P.USERS_WRITE: "Make and change people, reset passwords, revoke tokens",
    _P.ENVIRONMENTS_WRITE: "Make and change environments, and say which traffic is whose",
    _P.PERSONAL_READ: "See numbers, names, addresses and SIP identities; without it they are masked",
    _P.TOKENS_OWN: "Make API tokens for oneself",
}

ROLES: dict[Role, tuple[str, str]] = {
    Role.ADMINISTRATOR: ("Administrator", "Everything, people and options included."),
    Role.BILLING: ("Billing", "Customers and the catalogue, with personal data."),
    Role.SUPPORT: ("Support", "Traces and customers, with personal data."),
    Role.NOC: ("NOC", "Traces, capture and the network, without personal data."),
    Role.READ_ONLY: ("Read-only", "Looks at everything but people, changes nothing, sees no personal data."),
    Role.API: ("API", "A program: it has tokens and no login."),
}


def known(words: Iterable[str]) -> frozenset[Permission]:
    """Those of the words that are permissions."""
    named = set(words)
    return frozenset(each for each in Permission if each.value in named)


def permissions_of(role: Role, sees_personal: bool | None = None) -> frozenset[Permission]:
    """Those of the role, with personal data granted (True), taken (False) or as the role says (None)."""
    found = PERMISSIONS[role]
    if sees_personal is None:
        return found
    return found | {_P.PERSONAL_READ} if sees_personal else found - {_P.PERSONAL_READ}
