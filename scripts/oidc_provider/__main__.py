"""`python -m scripts.oidc_provider`: gets the OpenID Provider of the tests ready."""

from __future__ import annotations

import sys

from scripts.oidc_provider import ProviderFailed, assembled

try:
    print(assembled())
except ProviderFailed as error:
    sys.exit(str(error))
