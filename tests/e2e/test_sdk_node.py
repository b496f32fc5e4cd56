"""The official SDKs for Node, unmodified, over a real socket, to a provider of each protocol."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import trio

from tests.served import open_served

SCRIPTS = Path(__file__).parent.parent / "node"
SDKS = Path(sys.prefix) / "node-sdks"
"""Made by scripts/node_sdks.py."""
TIMEOUT_S = 60
PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}

FINISH_AND_ERROR = {
    "openai": ("tool_calls", [True, 404, "model_not_found"]),
    "anthropic": ("tool_use", [True, 404, "not_found_error"]),
    "gemini": ("STOP", [True, 404, "NOT_FOUND"]),
}


@pytest.mark.parametrize("sdk", FINISH_AND_ERROR)
async def test_a_conversation(tmp_path: Path, model: str, sdk: str) -> None:
    if not (SDKS / "stamp").exists():
        pytest.skip("the SDKs for Node are not installed: scripts/node_sdks.py says why")
    scripts = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("*.json"))
    (scripts / "node_modules").symlink_to(SDKS / "node_modules")
    async with open_served(tmp_path) as served:
        environ = {
            **{name: value for name, value in os.environ.items() if name.lower() not in PROXIES},
            "ORIGIN": served.origin,
            "KEY": served.setup.key,
            "MODEL": model,
        }
        with trio.fail_after(TIMEOUT_S):
            done = await trio.run_process(
                [str(SDKS / "node"), str(scripts / f"{sdk}.mjs")],
                env=environ,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr.decode()
        said = json.loads(done.stdout)
        unary, streamed, calling, after = served.setup.sim.truth.records()

    finish, error = FINISH_AND_ERROR[sdk]
    request_id = said.pop("errorRequestId")
    assert said == {
        "unary": unary.text,
        "unaryOutputTokens": 12,
        "streamed": streamed.text,
        "streamedOutputTokens": 30,
        "calls": [[call.name, json.loads(call.arguments)] for call in calling.calls],
        "finish": finish,
        "afterCalls": after.text,
        "error": error,
    }
    assert len(calling.calls) == 2
    assert sdk == "gemini" or request_id.startswith("req_")
