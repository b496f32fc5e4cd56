"""Tools that the gateway runs itself: read, shown, and made into the request that a call asks for.

A URL's scheme, host and port are the account's own words: an argument of the model stands in its
path or query only, quoted, so that it leads nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, get_args
from urllib.parse import quote, urlencode

import orjson

from engine.agent import AgentTool, HttpTool, Method
from engine.agents.fields import Fields, check_known, mapping, wrong
from engine.config_agents import AgentsConfig
from engine.egress import EgressPolicy, EgressRefusedError, parse_target
from engine.wire.http import Headers

_FIELDS: Final = frozenset(
    {
        "type", "name", "description", "parameters", "method", "url", "headers", "timeout_s",
        "max_bytes",
    }
)  # fmt: skip
_URL_MAX_CHARS: Final = 2_048
_ORIGIN: Final = re.compile(r"(https?://[^/?#{}\\@\s]+)(?=[/?]|$)")
_IN_URL: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_DOTS: Final = frozenset({".", ".."})
"""What paths are shortened by (RFC 3986 section 5.2.4), which no quoting stops."""
_IS_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}").fullmatch
_IS_VALUE: Final = re.compile(r"[\x20-\x7e]{0,4096}").fullmatch
_HEADERS_MAX: Final = 16
_OURS: Final = frozenset(
    {
        "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade",
        "keep-alive", "proxy-connection", "proxy-authorization", "accept-encoding", "expect",
    }
)  # fmt: skip
"""Headers of HTTP itself."""
_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})


class ArgumentsError(Exception):
    """The model has written arguments that there is no request for; told to it in these words."""


def read_http_tool(said: Fields, config: AgentsConfig, before: HttpTool | None) -> HttpTool:
    """What an account says of it. `before` has the headers that it does not say again: as long as
    they go to the same place.

    Raises:
        InvalidRequestError: it says what none can be.
    """
    check_known(said.document, _FIELDS, said.path("")[:-1])
    usual = HttpTool("", "", {}, "GET", "")
    method = (said.text("method", 16) or "GET").upper()
    if method not in get_args(Method):
        raise wrong(said.path("method"), f"is one of {', '.join(get_args(Method))}")
    parameters = mapping(said.get("parameters") or {"type": "object"}, said.path("parameters"))
    if parameters.get("type") != "object" or not isinstance(parameters.get("properties", {}), dict):
        raise wrong(said.path("parameters"), "is the JSON schema of an object")
    url = _read_url(said, parameters)
    timeout_s = said.number("timeout_s", 0.001, config.tool_timeout_max_s)
    max_bytes = said.integer("max_bytes", 1, config.tool_answer_max_bytes)
    return HttpTool(
        name=said.text("name", 64) or "",
        description=said.text("description", 1_024) or "",
        parameters=parameters,
        method=cast(Method, method),
        url=url,
        headers=_read_headers(said, before if _is_there_too(before, url) else None),
        timeout_s=timeout_s or min(usual.timeout_s, config.tool_timeout_max_s),
        max_bytes=max_bytes or min(usual.max_bytes, config.tool_answer_max_bytes),
    )


def check_reach(tools: Sequence[AgentTool], policy: EgressPolicy) -> None:
    """Whether tools may be reached, as far as their URLs tell: what a name resolves to is looked at
    with each call, and no more than told to the model then.

    Raises:
        InvalidRequestError: one may not.
    """
    for place, tool in enumerate(tools):
        if not isinstance(tool, HttpTool) or (origin := _ORIGIN.match(tool.url)) is None:
            continue
        try:
            target = parse_target(origin[1])
        except EgressRefusedError as error:
            raise wrong(
                f"tools[{place}].url", f"cannot be called. {str(error).removesuffix('.')}"
            ) from None
        if not policy.allows(target.scheme, target.host, target.port):
            raise wrong(
                f"tools[{place}].url",
                "has a scheme, a host or a port that is not allowed here; https:// with its own "
                "port is, and what the operator has added to [egress]",
            )
        if not policy.may_lead_to(target.host):
            raise wrong(
                f"tools[{place}].url",
                "leads into the gateway's own network; a tool has a public address, or its host is "
                "one that the operator has in 'private' of [egress]",
            )


def write_http_tool(tool: HttpTool, *, secrets: bool) -> dict[str, Any]:
    """Its JSON; the values of headers only where they are to be stored."""
    return {
        "type": "http",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "method": tool.method,
        "url": tool.url,
        "headers": {name: value if secrets else None for name, value in tool.headers.items()},
        "timeout_s": tool.timeout_s,
        "max_bytes": tool.max_bytes,
    }


def request_of(tool: HttpTool, arguments: str) -> tuple[str, Headers, bytes]:
    """URL, headers and body of the request that a call asks for; `arguments` is what the model has
    written.

    Raises:
        ArgumentsError: it is not what the tool takes.
    """
    values = _read_arguments(tool, arguments)

    def put(found: re.Match[str]) -> str:
        value = values.pop(found[1], None)
        if value is None or isinstance(value, dict | list):
            raise ArgumentsError(f"The argument '{found[1]}' must be a text or a number.")
        return quote(_as_text(value), safe="")

    origin, rest = _split(tool.url)
    named = set(_IN_URL.findall(rest))
    url = origin + _IN_URL.sub(put, rest) if named else tool.url
    if named and not _DOTS.isdisjoint(url[len(origin) :].partition("?")[0].split("/")):
        raise ArgumentsError("An argument cannot lead to another path.")
    headers = [(name.encode(), value.encode()) for name, value in tool.headers.items()]
    if not any(name == b"accept" for name, _ in headers):
        headers.append((b"accept", b"application/json, text/*;q=0.9, */*;q=0.1"))
    if tool.method in _WITHOUT_BODY:
        more = urlencode({name: _as_text(value) for name, value in values.items()})
        return _with_query(url, more), headers, b""
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"application/json"))
    return url, headers, orjson.dumps(values)


def _read_url(said: Fields, parameters: Mapping[str, Any]) -> str:
    path, url = said.path("url"), said.text("url", _URL_MAX_CHARS) or ""
    found = _ORIGIN.match(url)
    if found is None or "#" in url or any(not "!" <= char <= "~" for char in url):
        raise wrong(path, "is an http(s) URL, with {arguments} in its path and query only")
    rest = url[found.end() :]
    if "{" in (left := _IN_URL.sub("", rest)) or "}" in left:
        raise wrong(path, "names arguments as {name}")
    properties = parameters.get("properties", {})
    for name in _IN_URL.findall(rest):
        if name not in properties:
            raise wrong(path, f"names '{name}', which 'parameters' does not have")
    return url


def _read_headers(said: Fields, before: HttpTool | None) -> dict[str, str]:
    path, value = said.path("headers"), said.get("headers")
    known = {} if before is None else before.headers
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _HEADERS_MAX:
        raise wrong(path, f"is an object of {_HEADERS_MAX} headers at most")
    headers = {}
    for spelled, each in value.items():
        name = spelled.lower()
        if _IS_HEADER(name) is None or name in _OURS:
            raise wrong(path, "has names of headers, but for those of HTTP itself")
        if each is None:
            each = known.get(name)
            if each is None:
                raise wrong(path, f"says no value of '{name}', and there is none that could stay")
        if not isinstance(each, str) or _IS_VALUE(each) is None:
            raise wrong(path, "has values of visible ASCII")
        headers[name] = each
    return headers


def _is_there_too(before: HttpTool | None, url: str) -> bool:
    """Whether a secret that was said of the one goes where it went before."""
    return before is not None and _split(before.url)[0] == _split(url)[0]


def _split(url: str) -> tuple[str, str]:
    """Scheme, host and port; and what follows them."""
    found = _ORIGIN.match(url)
    assert found is not None, "it was checked as it was read"
    return found[1], url[found.end() :]


def _read_arguments(tool: HttpTool, arguments: str) -> dict[str, Any]:
    try:
        values = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        raise ArgumentsError("The arguments are not JSON.") from None
    if not isinstance(values, dict):
        raise ArgumentsError("The arguments are not a JSON object.")
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", ())
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str) and name not in values:
            raise ArgumentsError(f"The argument '{name}' is missing.")
    if tool.parameters.get("additionalProperties") is False:
        for name in values:
            if name not in properties:
                raise ArgumentsError(f"There is no argument '{name[:64]}'.")
    return values


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _with_query(url: str, more: str) -> str:
    if not more:
        return url
    return url + ("&" if "?" in url else "?") + more
