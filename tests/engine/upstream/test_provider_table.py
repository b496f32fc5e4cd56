"""The table of providers: complete, and what the rest of the engine takes."""

from __future__ import annotations

from dataclasses import fields

import pytest

from engine.config import Config, ProviderConfig, parse_config
from engine.errors import ConfigError
from engine.upstream.provider_table import PROVIDERS, ProviderRow
from engine.upstream.providers import Provider

KINDS = sorted(PROVIDERS)
PLACES = {"project": "a-project", "region": "a-region"}
KEYS = {row.api_key_env: "a-key" for row in PROVIDERS.values() if row.api_key_env} | {
    variables[0]: PLACES[key]
    for row in PROVIDERS.values()
    for key, variables in row.environment.items()
    if key in PLACES
}
URL = "https://res.example/openai/v1"
NOT_OF_A_TABLE = {"api_key_env", "environment", "hosts"}


def read(kind: str, *lines: str) -> Config:
    text = "\n".join([f'[providers.p]\nkind = "{kind}"', *lines])
    return parse_config(text, "p.toml", KEYS)


def config_of(kind: str, *lines: str) -> ProviderConfig:
    where = [f'base_url = "{URL}"'] if PROVIDERS[kind].base_url is None else []
    return read(kind, *where, *lines).providers["p"]


def test_every_field_of_a_row_is_one_of_the_configuration() -> None:
    known = {field.name for field in fields(ProviderConfig)}
    assert {field.name for field in fields(ProviderRow)} - known == NOT_OF_A_TABLE


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_its_row(kind: str) -> None:
    row, config = PROVIDERS[kind], config_of(kind)
    for field in fields(row):
        value = getattr(row, field.name)
        match field.name:
            case "api_key_env":
                assert config.api_key == (None if value is None else "a-key")
            case "environment":
                for key in value.keys() & PLACES:
                    assert getattr(config, key) == PLACES[key]
            case "hosts":
                assert not value.keys() & PLACES.values()
            case "base_url":
                assert config.base_url == (value or URL).format_map(PLACES)
            case ("refuses" | "inlines") as name:
                assert getattr(config, name) == frozenset(value)
            case "jobs":
                assert {of: spec.like for of, spec in config.jobs.items()} == value
            case name:
                assert getattr(config, name) == value


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_a_provider(kind: str) -> None:
    row = PROVIDERS[kind]
    url = (row.base_url or URL).format_map(PLACES)
    provider = Provider(kind, row.protocol, url, model_path=row.model_path, auth=row.auth)
    assert provider.origin.secure != (row.api_key_env is None and row.auth is None)
    assert provider.base_path in provider.path("/x", "m")


def test_a_table_wins_over_its_row() -> None:
    config = config_of(
        "mistral",
        'base_url = "http://127.0.0.1:9/v9"',
        'protocol = "anthropic"',
        'auth = "none"',
        'on_cancel = "waive"',
        'terminal = "eof"',
        "include_usage = true",
        'output_limit_field = "max_completion_tokens"',
        "refuses = []",
        "reasoning_apart = true",
        "responses = true",
        "completions = true",
        'model_path = "/m/{model}"',
        'api_version = "1"',
    )
    assert config == ProviderConfig(
        protocol="anthropic",
        base_url="http://127.0.0.1:9/v9",
        kind="mistral",
        auth="none",
        on_cancel="waive",
        terminal="eof",
        output_limit_field="max_completion_tokens",
        reasoning_apart=True,
        responses=True,
        completions=True,
        model_path="/m/{model}",
        api_version="1",
    )


@pytest.mark.parametrize(
    ("kind", "lines", "expected"),
    [
        ("qroq", (), "p.toml:2: providers.p.kind 'qroq' is unknown; did you mean 'groq'?"),
        (
            "bogus",
            (),
            "p.toml:2: providers.p.kind 'bogus' is unknown; known are: alibaba, anthropic",
        ),
        ("azure", (), "p.toml:1: providers.p needs 'base_url': 'azure' has no common one"),
        (
            "groq",
            ('auht = "bearer"',),
            "p.toml:3: providers.p.auht is unknown; did you mean 'auth'",
        ),
        ("groq", ('auth = "basic"',), "p.toml:3: providers.p.auth must be 'bearer' or"),
        ("groq", ('refuses = "user"',), "p.toml:3: providers.p.refuses must be a list"),
        ("groq", ('api_key = "env:NO_SUCH"',), "p.toml:3: providers.p.api_key needs the environ"),
    ],
)
def test_a_mistake_is_named_with_its_line(kind: str, lines: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(kind, *lines)
    assert expected in str(caught.value)


def test_a_key_is_asked_for_by_its_variable() -> None:
    for kind, row in PROVIDERS.items():
        if row.api_key_env is None or row.auth == "aws":  # which signs where there is none
            continue
        where = f'base_url = "{URL}"'
        text = f'[providers.p]\nkind = "{kind}"\n{where}\n'
        expected = f"needs 'api_key', or the environment variable {row.api_key_env}"
        with pytest.raises(ConfigError, match=expected):
            parse_config(text, "p.toml", {row.api_key_env: " "})
        without = parse_config(text + 'auth = "none"\n', "p.toml", {})
        assert without.providers["p"].api_key is None


def test_a_kind_that_is_no_text_and_providers_that_are_no_tables() -> None:
    for text, problem in (
        ("[providers.p]\nkind = 1", "providers.p.kind must be text"),
        ("[providers]\np = 1", "providers.p must be a table"),
        ("providers = 1", "providers must be a table"),
    ):
        with pytest.raises(ConfigError, match=problem):
            parse_config(text, "p.toml", {})
