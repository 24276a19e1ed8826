"""Keys and tokens are taken out of what is stored, and refused where they would be: a record is made to be shared."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

HIDDEN = "***"
SHORTEST = 8  # of a variable's value; a shorter one is a switch, or a word that texts hold anyway
_SECRET_NAME = re.compile(r"(?i)(^|_)(token|api_?key|key|secret|password|passwd|credentials?)$")
# As their issuers write them, an HTTP header's, and a URL's user and password.
_FORMS = re.compile(
    r"\b(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[abp]-)[A-Za-z0-9_-]{16,}"
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^/\s:@'\"]+:[^/\s@'\"]+(?=@)"
)


def secrets_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables whose names say that they are secret (HF_TOKEN, OPENAI_API_KEY), the longest first."""
    values = {value for name, value in environment.items() if _SECRET_NAME.search(name) and len(value) >= SHORTEST}
    return tuple(sorted((value for value in values if re.search(r"\d", value)), key=len, reverse=True))


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without the secrets of the environment (None: this process's) and without what looks like a token."""
    for value in secrets_in(os.environ if environment is None else environment):
        text = text.replace(value, HIDDEN)
    return _FORMS.sub(HIDDEN, text)


def holds_secret(text: str) -> bool:
    """Whether `redacted` would change the text."""
    return redacted(text) != text
