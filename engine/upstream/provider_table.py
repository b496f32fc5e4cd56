"""Providers by name: one row each, pure data. `kind = "NAME"` in a provider's table takes a row,
and every field of it can be said anew there.

Sources are the providers' own API references and recorded traffic, unless a row says another one.

`on_cancel`: what a provider bills when its stream is reset. "OpenRouter's list" is the section
'Stream cancellation' of openrouter.ai/docs/api-reference/streaming, which names the providers that
stop processing and billing at once and those that go on. `stop` is right for both: the client pays
what was received, and what a provider bills beyond that is the house's. No provider is known to
waive a stream that was broken off.

Errors have many shapes, which `engine.protocols.openai_chat.errors` reads without asking for a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.job import JobKind
from engine.owned import StateApi
from engine.protocols.jobs.specs import KnownSpec
from engine.protocols.quirks import Hosting, InlineKind

Auth = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "google", "aws", "none"]
"""Where the key goes: `Authorization: Bearer`, a header of that name, or nowhere. `google`: a token
of Google's, which is renewed. `aws`: the key as a bearer, and without one a signature."""


FilesApi = Literal["openai", "anthropic", "gemini"]
"""Whose files API a provider has."""


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """What is known of one provider; the fields are those of its table in the configuration.

    Attributes:
        base_url: None where it is the operator's own; `{project}` and `{region}` in it are the
            table's.
        api_key_env: where the key is looked for if the table names none; None: it needs none. With
            the auth `aws` it may be nowhere.
        auth: how the key is sent; None: as the protocol says.
        model_path: see `engine.upstream.providers.Provider`, as for `api_version`.
        terminal: whether a stream may end without its protocol's end marker.
        responses, completions: it speaks `/responses`, `/completions` too.
        include_usage, output_limit_field, refuses, reasoning_apart, inlines: see
            `engine.protocols.quirks.Quirks`; `hosting` too.
        files: whose files API it has: files that requests name go there once, where they are too
            large to go inline; None: none that is known.
        state: whose way it is that it keeps what it was sent or has made, by ids; None: it does
            not, or it is not known how.
        environment: variables that keys of the table are looked for in, the first one that is set
            counts: those that the provider's own SDKs read.
        hosts: of regions whose host is another than the base URL makes of their name.
        jobs: how it is asked for what takes it minutes.
    """

    base_url: str | None
    api_key_env: str | None
    protocol: Literal["openai", "openai-responses", "anthropic", "gemini"] = "openai"
    auth: Auth | None = None
    model_path: str = ""
    api_version: str | None = None
    terminal: Literal["done-marker", "eof"] = "done-marker"
    on_cancel: Literal["stop", "drain", "waive"] = "stop"
    responses: bool = False
    completions: bool = False
    include_usage: bool = True
    output_limit_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    refuses: tuple[str, ...] = ()
    reasoning_apart: bool | None = None
    inlines: tuple[InlineKind, ...] = ()
    hosting: Hosting | None = None
    files: FilesApi | None = None
    state: StateApi | None = None
    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[JobKind, KnownSpec] = field(default_factory=dict)


_VERTEX_HOSTS: Mapping[str, str] = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
"""As Google's and Anthropic's SDKs have them; all other regions are part of their host's name."""

PROVIDERS: Mapping[str, ProviderRow] = {
    "openai": ProviderRow(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        # on_cancel: stops, by OpenRouter's list.
        responses=True,
        completions=True,
        reasoning_apart=False,
        files="openai",
        state="openai",
        jobs={"video": "openai"},
    ),
    "anthropic": ProviderRow(
        "https://api.anthropic.com/v1",
        "ANTHROPIC_API_KEY",
        protocol="anthropic",
        files="anthropic",
        # on_cancel: stops, by OpenRouter's list.
    ),
    "gemini": ProviderRow(
        "https://generativelanguage.googleapis.com/v1beta",
        "GEMINI_API_KEY",
        protocol="gemini",
        # on_cancel: goes on, by OpenRouter's list ("Google AI Studio").
        # Files of its own and YouTube's only, and others' not for all models (Google's page of
        # file input methods).
        inlines=("image", "document"),
        files="gemini",
        jobs={"video": "veo"},
    ),
    "vertex": ProviderRow(
        # v1beta1 is what Google's SDK asks: v1 lacks what is new.
        "https://{region}-aiplatform.googleapis.com/v1beta1"
        "/projects/{project}/locations/{region}/publishers/google",
        None,
        protocol="gemini",
        auth="google",
        # on_cancel: not known; `stop` as everywhere.
        # Of AI Studio only (the SDK's `_GenerateContentConfig_to_vertex`, `_ToolConfig_to_vertex`).
        refuses=("store", "toolConfig.includeServerSideToolInvocations"),
        hosting="vertex",
        environment={
            "project": ("GOOGLE_CLOUD_PROJECT",),
            "region": ("GOOGLE_CLOUD_LOCATION",),
            "credentials_file": ("GOOGLE_APPLICATION_CREDENTIALS",),
        },
        hosts=_VERTEX_HOSTS,
    ),
    "vertex-anthropic": ProviderRow(
        "https://{region}-aiplatform.googleapis.com/v1"
        "/projects/{project}/locations/{region}/publishers/anthropic",
        None,
        protocol="anthropic",
        auth="google",
        # on_cancel: not known; `stop` as everywhere.
        # "base64 image sources only", here and on Bedrock (the platforms' notes on Anthropic's
        # page of vision).
        inlines=("image", "document"),
        hosting="vertex",
        environment={
            "project": ("ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT"),
            "region": ("CLOUD_ML_REGION", "GOOGLE_CLOUD_LOCATION"),
            "credentials_file": ("GOOGLE_APPLICATION_CREDENTIALS",),
        },
        hosts=_VERTEX_HOSTS,
    ),
    "bedrock": ProviderRow(
        "https://bedrock-runtime.{region}.amazonaws.com",
        "AWS_BEARER_TOKEN_BEDROCK",
        protocol="anthropic",
        auth="aws",
        # on_cancel: goes on, by OpenRouter's list ("AWS Bedrock").
        # Not among the parameters of the model's page in Bedrock's user guide, which refuses what
        # it does not know: "Extra inputs are not permitted".
        refuses=("service_tier",),
        inlines=("image", "document"),
        hosting="bedrock",
        environment={"region": ("AWS_REGION", "AWS_DEFAULT_REGION")},
    ),
    "azure": ProviderRow(
        None,  # https://RESOURCE.openai.azure.com/openai/v1
        "AZURE_OPENAI_API_KEY",
        # The v1 form (from August 2025): OpenAI's paths, no version; the deployment is the model.
        auth="api-key",
        # on_cancel: stops, by OpenRouter's list.
        responses=True,
        reasoning_apart=False,
    ),
    "azure-deployments": ProviderRow(
        None,  # https://RESOURCE.openai.azure.com
        "AZURE_OPENAI_API_KEY",
        auth="api-key",
        model_path="/openai/deployments/{model}",
        api_version="2024-10-21",  # the last one of this form that is no preview
        # on_cancel: stops, by OpenRouter's list.
        reasoning_apart=False,
    ),
    "groq": ProviderRow(
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        # on_cancel: goes on, by OpenRouter's list.
        # Usage thrice: on the last choice, behind it, and in `x_groq`; the last one counts.
        # An error in a stream is `event: error` with no [DONE]; with `failed_generation` beside
        # the message where the model wrote no valid call.
        output_limit_field="max_completion_tokens",  # `max_tokens` is deprecated
    ),
    "mistral": ProviderRow(
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        # on_cancel: goes on, by OpenRouter's list.
        # What it does not know is a 422, "Extra inputs are not permitted"
        # (openai/openai-agents-python issue 442 for `stream_options`). Usage comes unasked.
        include_usage=False,
        output_limit_field="max_tokens",
        refuses=("seed", "service_tier", "store", "user", "verbosity"),
        # Errors: `{"detail": …}`, `{"object": "error", "message": text, list or object}`.
    ),
    "deepseek": ProviderRow(
        "https://api.deepseek.com/v1",
        "DEEPSEEK_API_KEY",
        # on_cancel: stops, by OpenRouter's list.
        responses=True,
        output_limit_field="max_tokens",
        reasoning_apart=False,
    ),
    "xai": ProviderRow(
        "https://api.x.ai/v1",
        "XAI_API_KEY",
        # on_cancel: stops, by OpenRouter's list.
        responses=True,
        # "The reasoning token count is outputted in the reasoning_tokens field, separated from the
        # completion_tokens" (Google's page of Grok's reasoning), as recorded. The `output_tokens`
        # of its responses hold it, as their totals prove.
        reasoning_apart=True,
        # Errors: `{"code": words, "error": words}`, of a bad key with 400 and percent-encoded.
        jobs={"video": "xai"},
    ),
    "openrouter": ProviderRow(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        # on_cancel: as the provider behind it, by its own list; it passes the reset on.
        responses=True,
        completions=True,
        # Errors: `code` is a number, also inside a 200; no `type`.
    ),
    "together": ProviderRow(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        # on_cancel: stops, by OpenRouter's list.
        completions=True,
        output_limit_field="max_tokens",
    ),
    "cerebras": ProviderRow(
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        # on_cancel: not known; `stop` as everywhere.
        completions=True,
        output_limit_field="max_completion_tokens",
    ),
    "perplexity": ProviderRow(
        "https://api.perplexity.ai",
        "PERPLEXITY_API_KEY",
        # on_cancel: goes on, by OpenRouter's list.
        terminal="eof",  # [DONE] is there or not
        # Usage, cumulative, is on every chunk; `stream_options` is not in its reference.
        include_usage=False,
        output_limit_field="max_tokens",
    ),
    "fireworks": ProviderRow(
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        # on_cancel: stops, by OpenRouter's list.
        completions=True,
        output_limit_field="max_tokens",
    ),
    "huggingface": ProviderRow(
        "https://router.huggingface.co/v1",
        "HF_TOKEN",
        # on_cancel: goes on, by OpenRouter's list.
    ),
    "alibaba": ProviderRow(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        # on_cancel: goes on, by OpenRouter's list.
    ),
    "zai": ProviderRow(
        "https://api.z.ai/api/paas/v4",
        "ZAI_API_KEY",
        # on_cancel: not known; `stop` as everywhere.
    ),
    # One's own servers, at the ports that they listen on unless told otherwise. They stop
    # generating when their client is gone, and bill nothing.
    "ollama": ProviderRow(
        "http://127.0.0.1:11434/v1",
        None,
        completions=True,
        output_limit_field="max_tokens",  # by docs.ollama.com/api/openai-compatibility
    ),
    "vllm": ProviderRow("http://127.0.0.1:8000/v1", None, completions=True),
    "llama.cpp": ProviderRow(
        "http://127.0.0.1:8080/v1", None, completions=True, output_limit_field="max_tokens"
    ),
    "lmstudio": ProviderRow(
        "http://127.0.0.1:1234/v1", None, completions=True, output_limit_field="max_tokens"
    ),
}
"""By `kind`. A row without `api_key_env` takes a key and sends it, where the table has one."""
