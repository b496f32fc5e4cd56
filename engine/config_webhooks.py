"""What a configuration can say of webhooks: messages to the receivers that clients name."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WebhooksConfig:
    """How clients are told, as Standard Webhooks, that their jobs have ended. Where to is bounded
    by `[egress]`: `http`, `ports`, `private`, `denied`, `ca_file`, `proxy`."""

    enabled: bool = True
    """Else requests with a `webhook_url` are refused."""
    timeout_s: float = 10.0
    """For one try, from the resolution of the name to the head of the answer."""
    retry_min_s: float = 1.0
    """The pause after the first failure; it doubles, up to `retry_max_s`, with jitter."""
    retry_max_s: float = 3_600.0
    give_up_after_s: float = 86_400.0
    at_once: int = 32
    """Receivers that are spoken to at the same time; each gets one message after the other."""
    at_once_per_account: int = 4
    """Of one account: its slow receivers hold up nobody else's."""
    secret_overlap_s: float = field(default=86_400.0, metadata={"positive": False})
    """So long a secret that was replaced signs too."""
    keep_days: int = 30
    """What became of a message is kept so long."""
