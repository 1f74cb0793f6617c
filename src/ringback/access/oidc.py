"""Single sign-on by OpenID Connect: the authorisation code flow with PKCE, by Authlib.

What a login under way must remember (state, nonce, verifier, where to go) is sealed in a cookie of ten minutes, so that
any host of the installation can finish what another one began.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.starlette_client import OAuth, StarletteOAuth2App
from joserfc.errors import JoseError

from ringback import clock
from ringback.access.permissions import Role
from ringback.records.secrets import SecretsUnavailable, seal, unseal
from ringback.settings import Settings, SettingsError

COOKIE = "ringback_oidc"
LIFE = timedelta(minutes=10)
CALLBACK = "/login/oidc/callback"
_SEALED_AS = "cookie.oidc"
_TIMEOUT_S = 10.0
_ORDER = (
    Role.ADMINISTRATOR,
    Role.BILLING,
    Role.SUPPORT,
    Role.NOC,
    Role.READ_ONLY,
)  # the first of several groups' holds


class SignInFailed(Exception):
    """The provider, or what it said, let nobody in; the text is fit to be shown."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What membership of a group gives."""

    role: Role
    environments: tuple[str, ...]  # () every environment


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str  # on the button
    scopes: str
    groups_claim: str
    grants: dict[str, Grant]  # group -> what it gives; empty: people are made by an administrator first


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is."""

    issuer: str
    subject: str
    email: str  # "" unless the provider verified it
    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """A login under way: where the browser goes, and the cookie it brings back."""

    url: str
    cookie: str


def parse_grants(text: str) -> dict[str, Grant]:
    """``noc-team=noc@default,acme; it=administrator@*``. Raises ValueError."""
    grants = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        group, _, given = part.partition("=")
        role, _, where = given.partition("@")
        environments = tuple(filter(None, (each.strip() for each in where.split(","))))
        if not group.strip() or not environments or role.strip() not in set(_ORDER):
            raise ValueError(
                f"{part!r} is no grant such as noc-team=noc@default,acme (roles: {', '.join(_ORDER)}; * is every environment)"
            )
        if "*" in environments and role.strip() != Role.ADMINISTRATOR:
            raise ValueError(f"{part!r}: only administrators belong to every environment")
        grants[group.strip()] = Grant(Role(role.strip()), () if "*" in environments else environments)
    return grants


def sign_in_of(settings: Settings) -> SignIn | None:
    """None where no provider is set up. Raises SettingsError."""
    if not settings.oidc_issuer:
        return None
    try:
        grants = parse_grants(settings.oidc_grants)
    except ValueError as error:
        raise SettingsError("RINGBACK_OIDC_GRANTS", str(error)) from error
    return SignIn(
        ProviderSettings(
            settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret, settings.oidc_name,
            settings.oidc_scopes, settings.oidc_groups_claim, grants,
        )
    )  # fmt: skip


def grant_of(identity: Identity, grants: dict[str, Grant]) -> Grant | None:
    """The highest role of the person's groups, with the environments of all groups that give it."""
    given = [grants[group] for group in identity.groups if group in grants]
    if not given:
        return None
    role = min((each.role for each in given), key=_ORDER.index)
    of_role = [each for each in given if each.role == role]
    if any(not each.environments for each in of_role):
        return Grant(role, ())
    return Grant(role, tuple(dict.fromkeys(name for each in of_role for name in each.environments)))


class SignIn:
    """The provider, as one process talks to it. What it publishes of itself is read when first needed, and kept."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings
        self._app: Any = None

    async def begin(self, redirect_uri: str, next_path: str) -> Begun:
        """Raises SignInFailed."""
        app = self._client()
        try:
            await self._check_issuer(app)
            begun: dict[str, Any] = await app.create_authorization_url(redirect_uri)
        except (httpx2.HTTPError, OAuthError, RuntimeError, ValueError) as error:
            raise self._unreachable(error) from error
        kept = {
            "state": begun["state"],
            "nonce": begun["nonce"],
            "verifier": begun["code_verifier"],
            "redirect": redirect_uri,
            "next": next_path,
            "until": clock.to_us(clock.now() + LIFE),
        }
        return Begun(begun["url"], seal(json.dumps(kept), _SEALED_AS))

    async def finish(self, cookie: str, query: dict[str, str]) -> tuple[Identity, str]:
        """Who it is, and where to go. Raises SignInFailed."""
        kept = _opened(cookie)
        if "error" in query:
            raise SignInFailed(
                f"{self.settings.name} did not sign you in: {query.get('error_description') or query['error']}."
            )
        if query.get("state") != kept["state"] or "code" not in query:
            raise SignInFailed("The answer belongs to another sign-in. Begin again.")
        app = self._client()
        try:
            await self._check_issuer(app)
            token = await app.fetch_access_token(
                redirect_uri=kept["redirect"], code=query["code"], code_verifier=kept["verifier"]
            )
            options = {
                "iss": {"essential": True, "values": [self.settings.issuer]},
                "aud": {"essential": True, "values": [self.settings.client_id]},
                "sub": {"essential": True},
            }
            claims = await app.parse_id_token(token, kept["nonce"], claims_options=options)
        except (OAuthError, JoseError) as error:
            raise SignInFailed(f"What {self.settings.name} said cannot be trusted: {error}. Begin again.") from error
        except (httpx2.HTTPError, RuntimeError, ValueError) as error:
            raise self._unreachable(error) from error
        if claims is None:
            raise SignInFailed(f"{self.settings.name} sent no identity: is the scope openid allowed to this client?")
        return self._identity(claims), str(kept["next"])

    def _identity(self, claims: dict[str, Any]) -> Identity:
        groups = claims.get(self.settings.groups_claim, [])
        return Identity(
            issuer=str(claims["iss"]),
            subject=str(claims["sub"]),
            email=str(claims.get("email", "")) if claims.get("email_verified") is True else "",
            name=str(claims.get("name", "")),
            groups=tuple(str(group) for group in (groups if isinstance(groups, list) else [groups])),
        )

    def _client(self) -> StarletteOAuth2App:
        if self._app is None:
            self._app = OAuth().register(
                "provider",
                client_id=self.settings.client_id,
                client_secret=self.settings.client_secret,
                server_metadata_url=self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration",
                client_kwargs={
                    "scope": self.settings.scopes,
                    "code_challenge_method": "S256",
                    "timeout": _TIMEOUT_S,
                },
            )
        return self._app

    async def _check_issuer(self, app: StarletteOAuth2App) -> None:
        """What answers must be who it is taken for (OpenID Connect Discovery, section 4.3)."""
        metadata = await app.load_server_metadata()
        if metadata.get("issuer") != self.settings.issuer:
            self._app = None
            raise SignInFailed(
                f"RINGBACK_OIDC_ISSUER is {self.settings.issuer}, but the provider calls itself {metadata.get('issuer')}."
            )

    def _unreachable(self, error: Exception) -> SignInFailed:
        self._app = None  # what was read of it may be half
        return SignInFailed(
            f"{self.settings.name} cannot be reached: {error}. Try again, or sign in with a password."
        )


def _opened(cookie: str) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(unseal(cookie, _SEALED_AS))
    except (SecretsUnavailable, ValueError) as error:
        raise SignInFailed("This sign-in was not begun in this browser. Begin again.") from error
    if clock.to_us(clock.now()) > kept["until"]:
        raise SignInFailed("Signing in took longer than ten minutes. Begin again.")
    return kept
