"""Vertex in a configuration: where its requests go, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import ProviderConfig, parse_config
from engine.errors import ConfigError

ENVIRON = {"GOOGLE_CLOUD_PROJECT": "of-the-environment", "GOOGLE_CLOUD_LOCATION": "us-west1"}


def read(*lines: str, kind: str = "vertex", **environ: str) -> ProviderConfig:
    """A provider as an operator would write it."""
    text = "\n".join(["[providers.google]", f'kind = "{kind}"', *lines])
    return parse_config(text, "parshall.toml", environ).providers["google"]


def complaint(*lines: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*lines, **environ)
    return str(caught.value)


def path_of(project: str, region: str) -> str:
    return f"/v1beta1/projects/{project}/locations/{region}/publishers/google"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_the_host_of_a_region(region: str, host: str) -> None:
    provider = read(f'region = "{region}"', 'project = "mine"')
    assert provider.base_url == f"https://{host}{path_of('mine', region)}"
    assert (provider.protocol, provider.auth, provider.api_key) == ("gemini", "google", None)


def test_the_environment_says_what_the_file_does_not() -> None:
    host = "https://us-west1-aiplatform.googleapis.com"
    assert read(**ENVIRON).base_url == host + path_of("of-the-environment", "us-west1")
    assert read('project = "mine"', **ENVIRON).base_url == host + path_of("mine", "us-west1")


def test_the_variables_of_anthropics_sdk_go_first_for_its_models() -> None:
    own = {"ANTHROPIC_VERTEX_PROJECT_ID": "of-claude", "CLOUD_ML_REGION": "us-east5"}
    provider = read(kind="vertex-anthropic", **own, **ENVIRON)
    host = "https://us-east5-aiplatform.googleapis.com"
    assert provider.base_url == (
        f"{host}/v1/projects/of-claude/locations/us-east5/publishers/anthropic"
    )
    assert (provider.protocol, provider.hosting) == ("anthropic", "vertex")
    assert read(kind="vertex-anthropic", **ENVIRON).project == "of-the-environment"


def test_a_service_account_names_its_project(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text('{"type": "service_account", "project_id": "of-the-account"}')
    named = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    provider = read('region = "global"', **named)
    assert provider.base_url.endswith(path_of("of-the-account", "global"))
    assert provider.credentials_file == file
    assert read(**named, **ENVIRON).project == "of-the-environment"


def test_a_base_url_of_ones_own() -> None:
    url = "https://private.example/v1/projects/{project}/locations/{region}/publishers/google"
    provider = read(f'base_url = "{url}"', 'region = "global"', 'project = "mine"')
    assert provider.base_url == url.format(project="mine", region="global")
    plain = read('base_url = "https://private.example/gemini"')
    assert plain.base_url == "https://private.example/gemini"


def test_a_key_in_place_of_an_account() -> None:
    lines = ['auth = "x-goog-api-key"', 'api_key = "env:KEY"']
    assert read(*lines, KEY="a-key", **ENVIRON).api_key == "a-key"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "parshall.toml:1: providers.google needs 'project', or the environment variable GOO"),
        (
            ['project = "mine"'],
            "providers.google needs 'region', or the environment variable GOOGLE_CLOUD_LOCATION",
        ),
        (
            ['region = "eu/../x"', 'project = "mine"'],
            "parshall.toml:3: providers.google.region names no region",
        ),
        (['region = "eu"', "project = 12"], "parshall.toml:4: providers.google.project names no"),
        (
            ['region = "eu"', 'project = "mine"', 'api_key = "env:HOME"'],
            'parshall.toml:5: providers.google.api_key is not sent where auth is "google"',
        ),
        (
            ['region = "eu"', 'project = "mine"', 'credentials_file = "/nowhere.json"'],
            "parshall.toml:5: providers.google.credentials_file cannot be read: No such file",
        ),
        (
            ['region = "eu"', 'project = "mine"', 'credentials_file = "/dev/null"'],
            "providers.google.credentials_file is not JSON",
        ),
        (
            ['region = "eu"', 'project = "mine"', 'auth = "bearer"', 'credentials_file = "x"'],
            'providers.google.credentials_file is only for auth = "google"',
        ),
        (["base_url = 7"], "parshall.toml:3: providers.google.base_url must be text"),
    ],
)
def test_a_mistake_is_named_with_its_line(lines: list[str], expected: str) -> None:
    assert expected in complaint(*lines, HOME="/root")


def test_a_file_that_holds_no_credentials(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"private_key": "very-secret"}')
    said = complaint(f'credentials_file = "{file}"', **ENVIRON)
    assert "holds no credentials of Google's" in said
    assert "very-secret" not in said
