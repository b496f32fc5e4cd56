"""What is the gateway's own: keys, the account, usage, receipts, the secret of webhooks; and what
tells how the process does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.admission.keys import SCOPES
from engine.admission.plans import PRESETS
from engine.events import Outcome
from engine.ledger.usage_days import DIMENSIONS
from engine.ledger.windows import PERIODS
from frontends.reference.rows import (
    JSON,
    Answer,
    Example,
    Parameter,
    Row,
    Schema,
    always,
    answers_json,
    by_name,
    either,
    exactly,
    file_bytes,
    flag,
    listed,
    nullable,
    one_of,
    ref,
    text,
    thing,
    whole,
)

_COUNT: Final = nullable(whole(1, 1_000_000_000))
_LIMITS: Final = {
    "requests_per_min": _COUNT,
    "tokens_per_min": _COUNT,
    "concurrent_streams": _COUNT,
}
_OUTCOMES: Final = tuple(str(each) for each in Outcome)
_PAGED: Final = (
    Parameter("limit", whole(1, 200), "50 unless said."),
    Parameter("cursor", text(), "`next_cursor` of the page before."),
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Money": always(
        {"nanodollars": whole(), "usd": text("Exact, with nine places.")},
        "An amount: a billionth of a US dollar is its unit.",
    ),
    "KeyRequest": thing(
        {
            "name": text(minLength=1, maxLength=100),
            "expires_in": nullable(whole(1, 3_153_600_000, "Seconds.")),
            "scopes": nullable(listed(one_of(*SCOPES), minItems=1)),
            "models": nullable(listed(text(), "Names, or beginnings and `*`.", minItems=1)),
            "limits": nullable(thing(_LIMITS, closed=True)),
            "preset": nullable(one_of(*PRESETS)),
            "budget": nullable(
                thing(
                    {"usd": text(pattern=r"^\d{1,9}(\.\d{1,9})?$"), "period": one_of(*PERIODS)},
                    "usd",
                    "period",
                    closed=True,
                )
            ),
        },
        "name",
        closed=True,
    ),
    "Key": thing(
        {
            "key_id": text(),
            "account_id": text(),
            "name": text(),
            "prefix": text("What the key begins with."),
            "created_at": text(),
            "scopes": listed(one_of(*SCOPES)),
            "models": nullable(listed(text())),
            "limits": thing({}),
            "expires_at": nullable(text()),
            "revoked_at": nullable(text()),
        },
        "key_id",
        "account_id",
        "name",
        "scopes",
    ),
    "NewKey": {
        "allOf": [ref("Key"), always({"key": text("The key itself: it is shown this once.")})]
    },
    "RotateRequest": thing(
        {"overlap_s": whole(0, 31_536_000, "How long the old one goes on; 3,600 unless said.")},
        closed=True,
    ),
    "Account": always(
        {
            "account_id": text(),
            "name": text(),
            "balance": ref("Money"),
            "held": ref("Money"),
            "available": ref("Money"),
            "plan": nullable(thing({})),
            "limits": thing({}),
            "budgets": listed(thing({})),
            "key": thing({"key_id": text()}, "key_id"),
        }
    ),
    "Usage": always(
        {
            "object": exactly("list"),
            "data": listed(
                thing(
                    {
                        "requests": whole(0),
                        "input_tokens": whole(0),
                        "output_tokens": whole(0),
                        "units": by_name(whole()),
                        "charged": ref("Money"),
                        "refunded": ref("Money"),
                    },
                    "requests",
                    "charged",
                )
            ),
            "from": text(),
            "to": text(),
            "complete_from": nullable(text()),
        }
    ),
    "Receipt": thing(
        {
            "request_id": text(),
            "account_id": text(),
            "created_at": text(),
            "operation": text(),
            "protocol": text(),
            "stream": flag(),
            "outcome": one_of(*_OUTCOMES),
            "state": one_of("running", "settling", "settled"),
            "model": text("As it was asked for."),
            "model_used": nullable(text()),
            "provider": nullable(text()),
            "attempts": listed(thing({"provider": text(), "outcome": text()})),
            "usage": by_name(whole()),
            "provenance": nullable(text("How the usage is known: `reported`, `counted`, …")),
            "price": ref("Money"),
            "credits": text(),
            "error": nullable(always({"code": text(), "message": text()})),
        },
        "request_id",
        "outcome",
        "state",
        "usage",
        "price",
    ),
    "WebhookSecret": always(
        {
            "account_id": text(),
            "secret": text(),
            "created_at": text(),
            "former_secret_signs_until": nullable(text()),
        }
    ),
    "Status": thing({"status": text(), "reason": nullable(text())}, "status"),
}


def paged(schema: Schema) -> Schema:
    """A page of the gateway's own lists."""
    return always(
        {
            "object": exactly("list"),
            "data": listed(schema),
            "has_more": flag(),
            "next_cursor": nullable(text()),
        }
    )


_TODAY: Final = text(pattern=r"^\d{4}-\d\d-\d\d$")
_KEYS: Final = (
    Row(
        "GET",
        "/api/auth",
        "listKeys",
        "Keys",
        "The account's keys, oldest first.",
        answers_json(paged(ref("Key")), "A page of them."),
        parameters=_PAGED,
        examples=(Example("all"),),
    ),
    Row(
        "POST",
        "/api/auth",
        "createKey",
        "Keys",
        "Make a key, which may do at most what this one may.",
        answers_json(ref("NewKey"), "The key.", 201),
        asks={JSON: ref("KeyRequest")},
        examples=(
            Example(
                "for a day",
                {
                    "name": "ci",
                    "expires_in": 86_400,
                    "scopes": ["inference"],
                    "models": ["sim-*"],
                    "limits": {"requests_per_min": 60},
                    "budget": {"usd": "5.00", "period": "month"},
                },
            ),
        ),
        refuses=(409,),
    ),
    Row(
        "POST",
        "/api/auth/<key_id>/rotate",
        "rotateKey",
        "Keys",
        "Another key in the place of one, with the same terms.",
        answers_json(ref("NewKey"), "The new one.", 201),
        asks={JSON: ref("RotateRequest")},
        asks_required=False,
        examples=(Example("within an hour", {"overlap_s": 3_600}),),
        refuses=(404, 409),
    ),
    Row(
        "DELETE",
        "/api/auth/<key_id>",
        "revokeKey",
        "Keys",
        "Refuse a key from now on.",
        answers_json(ref("Key"), "The key."),
        examples=(Example("one"),),
        refuses=(404, 409),
    ),
)
_ACCOUNT: Final = (
    Row(
        "GET",
        "/v1/account",
        "getAccount",
        "Account",
        "Balance, plan, limits and budgets, and the key that asks.",
        answers_json(ref("Account"), "The account."),
        examples=(Example("own"),),
    ),
    Row(
        "GET",
        "/v1/usage",
        "getUsage",
        "Account",
        "What was used and paid.",
        answers_json(ref("Usage"), "By day, key and model, as it is asked for."),
        parameters=(
            Parameter(
                "by",
                text(pattern=f"^({'|'.join(DIMENSIONS)})(,({'|'.join(DIMENSIONS)}))*$"),
                "`day,model`",
            ),
            Parameter("from", _TODAY),
            Parameter("to", _TODAY, "The first day that is left out."),
        ),
        examples=(Example("by model", query={"by": "day,model"}),),
    ),
    Row(
        "GET",
        "/v1/account/webhook_secret",
        "getWebhookSecret",
        "Account",
        "What the account's webhooks are signed by.",
        answers_json(ref("WebhookSecret"), "The secret."),
        examples=(Example("own"),),
    ),
    Row(
        "POST",
        "/v1/account/webhook_secret/rotate",
        "rotateWebhookSecret",
        "Account",
        "Sign by another secret; by the one before too for a while.",
        answers_json(ref("WebhookSecret"), "The new one.", 201),
        examples=(Example("own"),),
    ),
)
_RECEIPTS: Final = (
    Row(
        "GET",
        "/v1/receipts",
        "listReceipts",
        "Receipts",
        "The account's receipts, the newest first.",
        answers_json(paged(ref("Receipt")), "A page of them, which may be short."),
        parameters=(
            *_PAGED,
            Parameter("key_id", text()),
            Parameter("model", text()),
            Parameter("outcome", one_of(*_OUTCOMES)),
            Parameter("state", one_of("running", "settling", "settled")),
            Parameter("from", _TODAY, "A day or a time."),
            Parameter("to", _TODAY, "The first one that is left out."),
        ),
        examples=(
            Example("all"),
            Example("of a model", query={"model": "sim-openai", "limit": "10"}),
        ),
    ),
    Row(
        "GET",
        "/v1/receipts/<request_id>",
        "getReceipt",
        "Receipts",
        "What became of a request: usage, price, attempts, timings.",
        answers_json(ref("Receipt"), "The receipt."),
        examples=(Example("one"),),
        refuses=(404,),
    ),
    Row(
        "POST",
        "/v1/receipts/<request_id>/cancel",
        "cancelStream",
        "Receipts",
        "End a stream here.",
        answers_json(ref("Receipt"), "Its receipt, settled."),
        examples=(Example("a stream that runs"),),
        refuses=(404, 409),
        path="/v1/receipts/{stream_request_id}/cancel",
    ),
    Row(
        "GET",
        "/v1/media/<media_id>",
        "getMedium",
        "Images",
        "What was generated, by the URL that its answer had.",
        {200: Answer("The bytes.", {"*/*": file_bytes()})},
        detail="The signature is the credential.",
        parameters=(
            Parameter("expires", text(), required=True),
            Parameter("signature", text(), required=True),
        ),
        examples=(Example("one"),),
        refuses=(404,),
    ),
)
_PROCESS: Final = (
    Row(
        "GET",
        "/healthz",
        "getHealth",
        "Process",
        "Whether it serves.",
        answers_json(ref("Status"), "It does."),
        examples=(Example("asked"),),
    ),
    Row(
        "GET",
        "/readyz",
        "getReadiness",
        "Process",
        "Whether requests are taken.",
        {
            200: Answer("They are.", {JSON: ref("Status")}),
            503: Answer("Not now.", {JSON: either(ref("Status"), ref("OpenAIError"))}),
        },
        examples=(Example("asked"),),
    ),
    Row(
        "GET",
        "/metrics",
        "getMetrics",
        "Process",
        "Prometheus' exposition, for this machine only.",
        {200: Answer("The metrics.", {"text/plain": text()})},
        examples=(Example("asked"),),
        refuses=(404,),
    ),
    Row(
        "GET",
        "/openapi.json",
        "getOpenAPI",
        "Process",
        "This document.",
        answers_json(thing({"openapi": text()}, "openapi"), "The document."),
        examples=(Example("asked"),),
    ),
    Row(
        "GET",
        "/docs",
        "showDocs",
        "Process",
        "This document as a page.",
        {200: Answer("The page.", {"text/html": text()})},
        examples=(Example("asked"),),
    ),
    Row(
        "GET",
        "/docs/<name>",
        "showDocsFile",
        "Process",
        "What that page is made of.",
        {
            200: Answer(
                "The file.",
                {"text/css": text(), "text/javascript": text(), "image/png": file_bytes()},
            )
        },
        examples=(Example("styles", path={"name": "swagger-ui.css"}),),
        refuses=(404,),
    ),
)

ROWS: Final = (*_KEYS, *_ACCOUNT, *_RECEIPTS, *_PROCESS)
