"""What a provider's table needs of Bedrock, and what its row and the environment say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.catalogue import build_catalogue
from engine.config import Config, ProviderConfig, parse_config
from engine.errors import ConfigError
from engine.rules import build_provider
from engine.upstream.aws_credentials import AwsCredentials
from tests.engine.metering.test_price_library import NOW

EAST = {"AWS_REGION": "us-east-1"}
MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"


def config(*lines: str, environ: Mapping[str, str] = EAST, models: str = "") -> Config:
    text = "\n".join(["[providers.aws]", 'kind = "bedrock"', *lines, models])
    return parse_config(text, "parshall.toml", environ)


def read(*lines: str, environ: Mapping[str, str] = EAST) -> ProviderConfig:
    return config(*lines, environ=environ).providers["aws"]


@pytest.mark.parametrize(
    ("lines", "environ", "region"),
    [
        ([], EAST, "us-east-1"),
        ([], {"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ([], EAST | {"AWS_DEFAULT_REGION": "eu-west-1"}, "us-east-1"),
        (['region = "ap-south-1"'], EAST, "ap-south-1"),
    ],
)
def test_the_region_makes_the_host(lines: list[str], environ: dict[str, str], region: str) -> None:
    provider = read(*lines, environ=environ)
    assert provider.base_url == f"https://bedrock-runtime.{region}.amazonaws.com"
    assert (provider.protocol, provider.auth, provider.api_key) == ("anthropic", "aws", None)
    assert (provider.hosting, provider.region) == ("bedrock", region)


def test_an_api_key_or_signatures() -> None:
    signed = build_provider("aws", read('profile = "work"'))
    assert isinstance(signed.credentials, AwsCredentials)
    keyed = build_provider("aws", read(environ=EAST | {"AWS_BEARER_TOKEN_BEDROCK": "the-key"}))
    headers = [(b"authorization", b"Bearer the-key")]
    assert keyed.credentials.sign("POST", "/", b"") == headers
    named = read('api_key = "env:KEY"', environ=EAST | {"KEY": "other"})
    assert named.api_key == "other"


@pytest.mark.parametrize(
    ("lines", "environ", "problem"),
    [
        (
            [],
            {},
            "parshall.toml:1: providers.aws needs 'region', or the environment variable AWS_RE",
        ),
        (['region = "a/b"'], {}, "parshall.toml:3: providers.aws.region names no region"),
        (
            ['base_url = "https://vpce.example"'],
            {},
            "parshall.toml:1: providers.aws needs 'region': signatures are for one",
        ),
        (
            ['profile = "p"', 'api_key = "env:K"'],
            EAST | {"K": "k"},
            "parshall.toml:3: providers.aws.profile signs nothing where there is an 'api_key'",
        ),
        (
            ['profile = "p"', 'auth = "none"'],
            EAST,
            'parshall.toml:3: providers.aws.profile is only for auth = "aws"',
        ),
    ],
)
def test_what_is_refused(lines: list[str], environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(*lines, environ=environ)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("model", "input_usd", "context"),
    [
        (MODEL, 3, 200_000),
        ("anthropic.claude-3-haiku-20240307-v1:0", 0.25, 200_000),
        ("eu.anthropic.claude-opus-4-6-v1", 5.5, 1_000_000),
        (f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{MODEL}", 3, 200_000),
    ],
)
def test_models_by_bedrocks_names(model: str, input_usd: float, context: int) -> None:
    models = f'[models.m]\ndeployments = [{{ provider = "aws", model = "{model}" }}]'
    [deployment] = build_catalogue(config(models=models), NOW)["m"].deployments
    assert deployment.cost.input == input_usd * 1_000_000
    assert deployment.capabilities.context_window_tokens == context
    assert deployment.capabilities.tools


def test_others_do_not_pay_for_botocore() -> None:
    root = Path(__file__).parents[2]
    code = "import engine, frontends.cli, sys; print([m for m in sys.modules if 'botocore' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=os.environ, capture_output=True, check=True
    )
    assert done.stdout == b"[]\n"
