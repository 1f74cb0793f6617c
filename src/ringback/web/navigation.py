"""The pages that the shell links to, each with the permission that its reader needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    path: str
    permission: str  # "" anyone who is signed in; "everywhere" who looks after the whole installation
    also: tuple[str, ...] = ()  # paths of pages that no link of their own leads to


@dataclass(frozen=True, slots=True)
class Menu:
    """Links under one word; the word is where the page shown is one of them."""

    text: str
    links: tuple[Link, ...]


MENUS = (
    Menu("Sessions", (Link("Sessions", "/sessions", "sessions.read"),)),
    Menu(
        "Customers",
        (
            Link("Customers", "/customers", "customers.read", also=("/payments", "/xdrs")),
            Link("Accounts", "/accounts", "customers.read"),
            Link("Invoices", "/invoices", "customers.read"),
            Link("Add-on products", "/add-ons", "customers.read"),
            Link("Commitments", "/commitments", "customers.read"),
            Link("CPE", "/cpe", "customers.read"),
            Link("DID numbers", "/did-numbers", "customers.read"),
            Link("SIM cards", "/sim-cards", "customers.read"),
        ),
    ),
    Menu(
        "Catalogue",
        (
            Link("Products", "/products", "catalogue.read"),
            Link("Rating entries", "/rating-entries", "catalogue.read"),
            Link("Tariffs", "/tariffs", "catalogue.read"),
            Link("Rates", "/rates", "catalogue.read"),
            Link("Access policies", "/access-policies", "catalogue.read"),
        ),
    ),
    Menu(
        "Network",
        (
            Link("Nodes", "/nodes", "network.read"),
            Link("Connections", "/connections", "network.read"),
            Link("CPE profiles", "/cpe-profiles", "network.read"),
            Link("Capture", "/capture", "capture.read"),
            Link("Upload a capture", "/upload", "captures.write"),
        ),
    ),
    Menu("Audit log", (Link("Audit log", "/audit", "audit.read"),)),
    Menu(
        "Settings",
        (
            Link("Options", "/configuration", "configuration.read"),
            Link("People", "/people", "users.read"),
            Link("Environments", "/environments", "environments.write"),
            Link("Whose traffic it is", "/environments/traffic", "everywhere"),
        ),
    ),
    Menu("Guide", (Link("Guide", "/guide", ""),)),
)


def menus_for(permissions: Collection[str]) -> list[Menu]:
    """What a reader with these permissions may open."""
    seen = []
    for menu in MENUS:
        links = tuple(link for link in menu.links if not link.permission or link.permission in permissions)
        if links:
            seen.append(Menu(menu.text, links))
    return seen


def place(menus: list[Menu], path: str) -> tuple[Menu | None, Link | None]:
    """Where the page at `path` is found: the link whose path is the longest beginning of it."""
    under = [
        (len(begin), menu, link)
        for menu in menus
        for link in menu.links
        for begin in (link.path, *link.also)
        if path == begin or path.startswith(begin + "/")
    ]
    _, menu_here, link_here = max(under, key=lambda found: found[0], default=(0, None, None))
    return menu_here, link_here
