"""What a provider's error says about its operator, kept from the clients.

A provider's words go to whoever asked, but the account they were asked on is the operator's: its
organization, project, keys and mail addresses are replaced by what they were.
"""

from __future__ import annotations

import re

# Keys of OpenAI and Anthropic, masked ones too; of others only what is long and holds a digit,
# since a tool or a column may be called `pk_customers`.
_OTHER_KEYS = r"(?:pk|rk|gsk|xai|pplx|tgp|csk|hf|nvapi|dsk|sess)[-_](?=[\w-]{0,60}\d)[\w-]{16,}"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), "[email]"),
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){1,2}"), "[token]"),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/=*-]{12,}"), "[token]"),
    (re.compile(r"\bsk[-_](?=[\w.-]{0,60}[\d*•…])[\w*.•…-]{4,}[\w*]"), "[key]"),
    (re.compile(rf"\b{_OTHER_KEYS}"), "[key]"),
    (re.compile(r"\b(?:AIza[\w-]{8,}|ya29\.[\w.-]{8,}|A[KS]IA[A-Z0-9]{12,})"), "[key]"),
    (re.compile(r"\borg[-_](?=\w*\d)[A-Za-z0-9]{6,}"), "[organization]"),
    (re.compile(r"\borg-[A-Za-z0-9]{16,}"), "[organization]"),
    (re.compile(r"\bwrkspc_[A-Za-z0-9]{6,}"), "[workspace]"),
    (re.compile(r"\bproj_[A-Za-z0-9]{6,}"), "[project]"),
    (re.compile(r"\bacct_[A-Za-z0-9]{6,}"), "[account]"),
    (re.compile(r"\bprojects/[\w.:-]+"), "projects/[project]"),
    (
        re.compile(r"(?i)\b(project(?:[ _](?:number|id))?[:=]?\s*)(?=[\w-]{0,30}\d{4})[\w-]{4,}"),
        r"\1[project]",
    ),
    (re.compile(r"\barn:aws[\w-]{0,16}:\S+"), "[resource]"),
    (re.compile(r"(?i)/subscriptions/[\w-]+(?:/resourcegroups/[\w.-]+)?"), "/[resource]"),
    # Organizations of Anthropic's and workspaces of others are plain UUIDs.
    (re.compile(r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "[id]"),
)


def scrub(message: str) -> str:
    """The message without ids, keys and addresses of the operator's.

    >>> scrub("Rate limit reached for gpt-4o in organization org-abc123DEF on tokens")
    'Rate limit reached for gpt-4o in organization [organization] on tokens'
    >>> scrub("Quota exceeded for consumer 'projects/123456'.")
    "Quota exceeded for consumer 'projects/[project]'."
    """
    for pattern, replacement in _PATTERNS:
        message = pattern.sub(replacement, message)
    return message


_ACCOUNT_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "account_deactivated",
    }
)
# Not "exceeded your current quota": that is also what Gemini says of its limits a minute.
_ACCOUNT_WORDS = re.compile(
    r"(?i)credit balance is too low"
    r"|insufficient (?:credits|balance|funds)|billing (?:hard )?limit|payment required"
)

_KEY_WORDS = re.compile(
    r"(?i)\bapi[ _-]?key (?:provided|not valid|not found|expired|is invalid)"
    r"|(?:incorrect|invalid|missing) api[ _-]?key|\bapi_key_invalid\b"
)


def is_out_of_funds(code: str | None, message: str | None) -> bool:
    """Whether a provider's error says that the operator's own account there is used up.

    >>> is_out_of_funds(None, "Your credit balance is too low to access the Anthropic API.")
    True
    """
    return code in _ACCOUNT_CODES or bool(message and _ACCOUNT_WORDS.search(message))


def is_bad_key(message: str | None) -> bool:
    """Whether a provider's error is about the operator's key, under a status that hides it (xAI's
    and Gemini's 400).

    >>> is_bad_key("API key not valid. Please pass a valid API key.")
    True
    """
    return bool(message and _KEY_WORDS.search(message))
