"""What a simulated provider is started with."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.simulate.aws_signature import AwsKey
from bench.simulate.directives import Directives
from engine.wire.http2 import Http2Limits

OPERATION_MODELS = (
    "omni-moderation-latest",
    "text-moderation-latest",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
    "rerank-v3.5",
    "jina-reranker-v2-base-multilingual",
    "tts-1",
    "tts-1-hd",
    "gpt-4o-mini-tts",
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-image-1",
    "dall-e-2",
    "dall-e-3",
)
JOB_MODELS = (
    "sora-2",
    "sora-2-pro",
    "veo-3.1-generate-preview",
    "grok-imagine-video",
    "sim-video",
    "sim-music",
)


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Plain settings; the defaults serve tests and the demo.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        tls: a server context; ALPN `h2` and `http/1.1` are added to it. None: cleartext, HTTP/1.1
            or HTTP/2 by prior knowledge, told apart by the client's first bytes.
        models, anthropic_models, gemini_models, bedrock_models: the names that each API knows;
            with `any_model` every name is.
        operation_models: what OpenAI's endpoints beside chat know beside `models`.
        job_models: what every API of videos and music knows.
        gemini_embedding_models: what Gemini's embeddings know beside `gemini_models`.
        api_keys: the keys that are let in, access keys of AWS's too; None lets everyone in.
        aws_keys: what checks the signatures that are made with access keys.
        service_accounts: of Google's cloud, with their public keys (PEM): Vertex lets in who has a
            token of `/token` or of the metadata server; None lets everyone in.
        defaults: what `#sim` directives start from.
        by_model: the same for some models, in place of the defaults.
        recordings: the folder replays come from; None refuses them.
        lax_parents: whether kept objects are found below another parent too, as no provider
            should find them.
        seed: mixed into every text and every signature, and into what `chance` picks.
        tick_s: the timer wheel's grain.
        ahead_max_tokens: tokens of one choice that may wait for a client that takes nothing;
            generation pauses there. What HTTP/2 windows or the connection's buffer (at most
            twice `high_water_bytes`) have taken no longer waits.
        truth_max_records: requests the truth log remembers.
        high_water_bytes: output a connection buffers before its streams hold on.
        connections_max: connections served at once; further ones wait in the backlog.
        body_max_bytes: of one request; past it 413.
        head_timeout_s, idle_timeout_s: for a started request, and between requests.
        write_stall_s: a client that takes nothing for so long is dropped.
        http2: what HTTP/2 clients may cost; `streams_max` is MAX_CONCURRENT_STREAMS.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    models: tuple[str, ...] = ("sim-openai",)
    anthropic_models: tuple[str, ...] = ("sim-anthropic",)
    gemini_models: tuple[str, ...] = ("sim-gemini",)
    bedrock_models: tuple[str, ...] = ("anthropic.sim-anthropic-v1:0",)
    operation_models: tuple[str, ...] = OPERATION_MODELS
    job_models: tuple[str, ...] = JOB_MODELS
    gemini_embedding_models: tuple[str, ...] = ("gemini-embedding-001",)
    any_model: bool = False
    api_keys: frozenset[str] | None = field(default=None, repr=False)
    aws_keys: Mapping[str, AwsKey] = field(default_factory=dict, repr=False)
    service_accounts: Mapping[str, str] | None = None
    defaults: Directives = field(default_factory=Directives)
    by_model: Mapping[str, Directives] = field(default_factory=dict)
    recordings: Path | None = None
    lax_parents: bool = False
    seed: str = ""
    tick_s: float = 0.005
    ahead_max_tokens: int = 1_024
    truth_max_records: int = 10_000
    high_water_bytes: int = 65_536
    connections_max: int = 4_096
    body_max_bytes: int = 64 * 1024 * 1024
    head_timeout_s: float = 30.0
    idle_timeout_s: float = 300.0
    write_stall_s: float = 60.0
    http2: Http2Limits = field(default_factory=Http2Limits)
