"""`parshall route`, and under /admin: of a running server, and of a configuration alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from frontends.cli import main
from frontends.control import open_control
from tests.fleet import model, open_fleet, open_front

MODELS = (
    model("pair", "sim0", {"provider": "sim1-anthropic", "priority": 1})
    + model("weak", "sim0/weak")
    + model("strong", "sim1/strong", price={"input": 10, "output": 20})
    + """
[auto]
name = "kr-auto"
reference = "strong"
models = [{ name = "weak", strength = 1 }, { name = "strong", strength = 3 }]
"""
)
EASY = "Hello there."
OPERATOR = "of-an-operator-of-these-tests-and-of-nobody"
HARD = (
    "Prove the theorem rigorously and analyse, step by step, the worst case of the algorithm. " * 20
)

GEMINIS = {"content": {"parts": [{"text": EASY}]}}


def body(model_name: str, text: str = EASY, **more: Any) -> dict[str, Any]:
    return {"model": model_name, "messages": [{"role": "user", "content": text}]} | more


def written(folder: Path, document: object) -> Path:
    path = folder / "request.json"
    path.write_text(json.dumps(document))
    return path


def parshall(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


async def asked(folder: Path, *arguments: str | Path) -> Result:
    """A command to the server, in another thread."""
    options = (*arguments, "--db", folder / "ledger.db")
    return await trio.to_thread.run_sync(lambda: parshall(*options))


async def told(folder: Path, *arguments: str | Path) -> Any:
    """What the server answers to a command."""
    result = await asked(folder, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def explained(folder: Path, document: Mapping[str, Any], *options: str) -> Any:
    return await told(folder, "route", "explain", written(folder, document), *options)


def deployments(found: Any) -> list[str]:
    return [candidate["deployment"] for candidate in found["candidates"]]


async def test_a_running_server_explains_by_what_it_knows(tmp_path: Path) -> None:
    async with (
        open_fleet(tmp_path, 2, models=MODELS) as fleet,
        open_control(fleet.setup.gateway, tmp_path / "ledger.db"),
    ):
        found = await explained(tmp_path, body("pair", stream=True))
        assert deployments(found) == ["sim0/sim-openai", "sim1-anthropic/sim-anthropic"]
        assert [each["first"] for each in found["candidates"]] == [True, False]
        assert found["asked"]["stream"] is True
        assert (found["auto"], found["refused"], found["dropped"]) == (None, None, [])

        await told(tmp_path, "switches", "off", "provider", "sim0")
        found = await explained(tmp_path, body("pair"))
        assert deployments(found) == ["sim1-anthropic/sim-anthropic"]
        [passed] = found["passed"]
        assert passed["deployment"] == "sim0/sim-openai"
        assert "off" in passed["why"]
        assert fleet.opened() == [0, 0], "nothing is sent"


async def test_what_a_protocol_cannot_say_is_passed_over(tmp_path: Path) -> None:
    models = model("m", "sim0-anthropic", {"provider": "sim0", "priority": 1})
    async with (
        open_fleet(tmp_path, 1, models=models) as fleet,
        open_control(fleet.setup.gateway, tmp_path / "ledger.db"),
    ):
        found = await explained(tmp_path, body("m", logit_bias={"1": 5}))
        assert [each["first"] for each in found["candidates"]] == [False, True]
        assert "logit_bias" in found["candidates"][0]["cannot_say"]


async def test_auto_tells_its_reasons(tmp_path: Path) -> None:
    async with (
        open_fleet(tmp_path, 2, models=MODELS) as fleet,
        open_control(fleet.setup.gateway, tmp_path / "ledger.db"),
    ):
        easy = await explained(tmp_path, body("kr-auto"))
        hard = await explained(tmp_path, body("kr-auto", HARD, reasoning_effort="high"))
    assert (easy["auto"]["level"], deployments(easy)[0]) == ("easy", "sim0/weak")
    assert (hard["auto"]["level"], deployments(hard)[0]) == ("hard", "sim1/strong")
    assert any(reason.startswith("mathematics") for reason in hard["auto"]["reasons"])
    assert hard["auto"]["reference"] == "strong"
    assert HARD[:20] not in json.dumps(hard), "the prompt is not repeated"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (body("nothing"), "The model 'nothing' does not exist"),
        ({"model": "pair"}, "messages"),
    ],
)
async def test_what_is_no_request_is_refused(
    tmp_path: Path, document: dict[str, Any], says: str
) -> None:
    async with (
        open_fleet(tmp_path, 2, models=MODELS) as fleet,
        open_control(fleet.setup.gateway, tmp_path / "ledger.db"),
    ):
        result = await asked(tmp_path, "route", "explain", written(tmp_path, document))
    assert result.exit_code == 1
    assert says in result.stderr


async def test_an_account_sees_the_models_of_its_plan_only(tmp_path: Path) -> None:
    plans = '\n[plans.small]\nmodels = ["weak"]\n'
    async with (
        open_fleet(tmp_path, 2, models=MODELS + plans) as fleet,
        open_control(fleet.setup.gateway, tmp_path / "ledger.db"),
    ):
        await told(tmp_path, "accounts", "create", "small", "--plan", "small")
        found = await explained(tmp_path, body("weak"), "--account", "small")
        assert deployments(found) == ["sim0/weak"]
        path = written(tmp_path, body("pair"))
        result = await asked(tmp_path, "route", "explain", path, "--account", "small")
    assert "does not exist or you do not have access" in result.stderr


CONFIG = f"""
[providers.one]
protocol = "openai"
base_url = "http://127.0.0.1:9/v1"
[providers.two]
protocol = "gemini"
base_url = "http://127.0.0.1:9/v1beta"
{model("pair", "one/a", {"provider": "two", "model": "b", "priority": 1})}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "parshall.toml"
    path.write_text(f'[storage]\nurl = "sqlite:{tmp_path}/none.db"\n{CONFIG}')
    return path


def test_without_a_server_the_configuration_explains(tmp_path: Path, config: Path) -> None:
    path = written(tmp_path, body("pair"))
    found = json.loads(parshall("route", "explain", path, "--config", config, "--json").stdout)
    assert deployments(found) == ["one/a", "two/b"]
    assert not (tmp_path / "none.db").exists()
    shown = parshall("route", "explain", path, "--config", config).stdout
    assert shown.startswith("pair: openai_chat, in one piece, about ")
    assert "one/a" in shown


def test_a_request_of_gemini_names_its_model_beside_the_body(tmp_path: Path, config: Path) -> None:
    document = {"contents": [{"role": "user", "parts": [{"text": EASY}]}]}
    path = written(tmp_path, document)
    asked = ("route", "explain", path, "--config", config, "--protocol", "gemini", "--json")
    missing = parshall(*asked)
    assert (missing.exit_code, "name it here" in missing.stderr) == (1, True)
    found = json.loads(parshall(*asked, "--model", "pair", "--stream").stdout)
    assert (found["model"], found["asked"]["stream"]) == ("pair", True)


@pytest.mark.parametrize(
    ("options", "document", "tokens"),
    [
        ("--protocol openai", {"input": EASY}, 3),
        ("--protocol openai --operation rerank", {"query": "q", "documents": [EASY]}, 15),
        ("--protocol openai --operation image", {"prompt": EASY}, 3),
        ("--protocol openai --operation speech", {"input": EASY, "voice": "alloy"}, 3),
        ("--protocol gemini --operation embed --model pair", GEMINIS, 3),
    ],
)
def test_what_is_no_chat(
    tmp_path: Path, config: Path, options: str, document: dict[str, Any], tokens: int
) -> None:
    document = document if "gemini" in options else document | {"model": "pair"}
    asked = ("route", "explain", written(tmp_path, document), "--config", config, "--json")
    found = json.loads(parshall(*asked, *options.split()).stdout)
    assert (deployments(found), found["refused"]) == (["one/a", "two/b"], None)
    assert found["asked"]["expected_input_tokens"] == tokens
    wrong = parshall(*asked, *options.split(), "--operation", "transcribe")
    assert (wrong.exit_code, "is one of" in wrong.stderr) == (1, True)


async def test_a_running_server_explains_what_is_no_chat(tmp_path: Path) -> None:
    async with (
        open_fleet(tmp_path, 2, models=MODELS) as fleet,
        open_control(fleet.setup.gateway, tmp_path / "ledger.db"),
    ):
        document = {"model": "pair", "prompt": EASY}
        options = ("--protocol", "openai", "--operation", "image")
        found = await explained(tmp_path, document, *options)
        assert (found["asked"]["protocol"], found["refused"]) == ("openai_images", None)
        assert [each["first"] for each in found["candidates"]] == [True, False]


def test_without_either_nothing_is_explained(tmp_path: Path) -> None:
    path = written(tmp_path, body("pair"))
    result = parshall("route", "explain", path, "--db", tmp_path / "none.db")
    assert (result.exit_code, "--config FILE" in result.stderr) == (1, True)


@pytest.mark.parametrize(("text", "says"), [("{", "is not JSON"), ("[]", "is a JSON object")])
def test_a_file_that_holds_no_body_is_refused(
    tmp_path: Path, config: Path, text: str, says: str
) -> None:
    path = tmp_path / "request.json"
    path.write_text(text)
    result = parshall("route", "explain", path, "--config", config)
    assert (result.exit_code, says in result.stderr) == (1, True)


async def test_how_deployments_do(tmp_path: Path) -> None:
    async with (
        open_fleet(tmp_path, 2, models=MODELS, admin_key=OPERATOR) as fleet,
        open_control(fleet.setup.gateway, tmp_path / "ledger.db"),
        open_front(fleet) as served,
        served.http() as client,
    ):
        headers = {"authorization": f"Bearer {OPERATOR}"}
        answer = await client.get(f"{served.origin}/admin/routes", headers=headers)
        shown = await asked(tmp_path, "route", "health")
    figures = answer.json()
    rows = {row["deployment"]: row for row in figures["deployments"]}
    assert rows.keys() == {
        "sim0/sim-openai",
        "sim1-anthropic/sim-anthropic",
        "sim0/weak",
        "sim1/strong",
    }
    assert rows["sim0/weak"] == {
        "deployment": "sim0/weak",
        "models": ["weak"],
        "state": "closed",
        "off": False,
        "busy": 0,
        "opened": 0,
        "first_token_ms": 0.0,
        "limited_s": 0.0,
        "keys": 1,
        "keys_out": 0,
    }
    assert [row["model"] for row in figures["models"]] == ["pair", "weak", "strong"]
    assert "sim1/strong" in shown.stdout
    assert "weighted" in shown.stdout


async def test_operators_explain_over_http(tmp_path: Path) -> None:
    async with (
        open_fleet(tmp_path, 2, models=MODELS, admin_key=OPERATOR) as fleet,
        open_front(fleet) as served,
        served.http() as client,
    ):
        url, headers = (
            f"{served.origin}/admin/routes/explain",
            {"authorization": f"Bearer {OPERATOR}"},
        )
        answer = await client.post(url, json={"body": body("pair")}, headers=headers)
        wrong = await client.post(
            url, json={"body": body("pair"), "protocol": "soap"}, headers=headers
        )
        stranger = await client.post(url, json={"body": body("pair")})
    assert (answer.status_code, deployments(answer.json())[0]) == (200, "sim0/sim-openai")
    assert (wrong.status_code, stranger.status_code) == (400, 401)


def test_a_request_that_no_server_takes_is_explained_by_the_configuration_alone(
    tmp_path: Path, config: Path
) -> None:
    path = written(tmp_path, body("pair", "word " * 250_000))
    alone = parshall("route", "explain", path, "--config", config, "--json")
    assert json.loads(alone.stdout)["candidates"], alone.output
    (tmp_path / "none.db.sock").touch()
    beside = parshall("route", "explain", path, "--config", config)
    assert (beside.exit_code, "larger than a running server" in beside.stderr) == (1, True)
