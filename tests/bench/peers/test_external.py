"""What `--peer` takes."""

from __future__ import annotations

import math
import os

import pytest

from bench.peers import ROWS, PeerError, parse_peer
from bench.peers.row import Source


def test_a_name_is_a_row() -> None:
    assert parse_peer("litellm") is ROWS["litellm"]


def test_parshall_at_a_revision_is_a_peer_of_its_own() -> None:
    row = parse_peer("parshall@HEAD~5")
    assert (row.name, row.install) == ("parshall@HEAD~5", Source("HEAD~5"))
    assert row.program == ROWS["parshall"].program


def test_an_address_is_something_that_runs() -> None:
    row = parse_peer("mine=http://127.0.0.1:9000/v1")
    assert (row.name, row.base_url, row.program) == ("mine", "http://127.0.0.1:9000", None)
    assert (row.pid, row.headers, row.tokens_per_s_max) == (0, (), math.inf)
    assert row.models == {"openai_chat": "sim-openai"}


def test_an_address_with_all_options() -> None:
    text = f"mine=http://[::1]:9000,pid={os.getpid()},model=gpt,key=env:MINE,rate=700"
    row = parse_peer(text, environ={"MINE": "sk-1$2"})
    assert row.base_url == "http://[::1]:9000"
    assert (row.pid, row.models["openai_chat"]) == (os.getpid(), "gpt")
    assert row.headers == (("authorization", "Bearer sk-1$$2"),)  # a template
    assert row.tokens_per_s_max == 700
    assert "sk-1" not in repr(row)


def test_other_machines_are_loaded_only_when_that_is_meant() -> None:
    with pytest.raises(PeerError, match=r"10\.0\.0\.7 is not this machine; --allow-remote"):
        parse_peer("far=http://10.0.0.7:80")
    assert parse_peer("far=http://10.0.0.7", allow_remote=True).base_url == "http://10.0.0.7:80"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("bifrost", "there is no peer 'bifrost'; there are direct, nginx"),
        ("nginx@HEAD", "nginx has one version"),
        ("parshall@", "a revision of git"),
        ("parshall@--output", "a revision of git"),
        ("nginx=http://127.0.0.1:1", "a peer of its own"),
        ("=http://127.0.0.1:1", "no name for a peer"),
        ("mine=https://127.0.0.1:1", "no TLS"),
        ("mine=127.0.0.1:1", "http://HOST:PORT"),
        ("mine=http://127.0.0.1:no", "no URL"),
        ("mine=http://user@127.0.0.1:1", "a key goes into"),
        ("mine=http://127.0.0.1:1,weight=3", "'weight' is not understood"),
        ("mine=http://127.0.0.1:1,model", "'model' is not understood"),
        ("mine=http://127.0.0.1:1,model=a,model=b", "twice"),
        ("mine=http://127.0.0.1:1,pid=0", "no process 0"),
        ("mine=http://127.0.0.1:1,pid=../1", "no process"),
        ("mine=http://127.0.0.1:1,rate=-1", "not a number of tokens"),
        ("mine=http://127.0.0.1:1,rate=nan", "not a number of tokens"),
        ("mine=http://127.0.0.1:1,key=env:ABSENT", "ABSENT holds no key"),
    ],
)
def test_what_is_not_understood_is_said(text: str, complaint: str) -> None:
    with pytest.raises(PeerError, match=complaint):
        parse_peer(text, environ={})


def test_a_key_on_the_command_line_is_refused_and_not_repeated() -> None:
    with pytest.raises(PeerError, match="from the environment") as refused:
        parse_peer("mine=http://127.0.0.1:1,key=sk-secret")
    assert "sk-secret" not in str(refused.value)
