"""Uploads: a form is read as the document that its fields are, and written again.

A field is text in a form; what is a number or a flag by the endpoint's documentation is read as one
where it looks so, and refused later by whoever expects it where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from engine.errors import InvalidRequestError
from engine.events import Call, Operation
from engine.media.forms import Field, File, Form, boundary_of, form_type, parse_form, write_form
from engine.protocols.codec import ClientRequest, HeldIdError

_WITH_FILES: Final[frozenset[Operation]] = frozenset(
    {"image_edit", "image_variation", "transcribe", "translate", "video"}
)
_FLAGS: Final = {"true": True, "false": False}
_is_whole = re.compile(r"-?[0-9]{1,18}").fullmatch


def is_form(content_type: str) -> bool:
    """Whether a body of this Content-Type is a form.

    >>> is_form("multipart/form-data; boundary=a"), is_form("application/json")
    (True, False)
    """
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def has_form(call: Call) -> bool:
    """Whether the body of a call is read as a form, and not as JSON."""
    return call.operation in _WITH_FILES and is_form(call.content_type)


def read_upload(
    call: Call, *, files: Collection[str], wholes: Collection[str] = (), flags: Collection[str] = ()
) -> tuple[Form, str, dict[str, Any]]:
    """The form of a call, the Content-Type that it has when `write_upload` has written it, and its
    fields. Those called `name[]` are lists; `files` are the names of the files that it may have.

    Raises:
        InvalidRequestError: it is no form, has a field twice, a file of another name, or something
            else in the place of a file.
        HeldIdError: a file that lives at the provider.
    """
    form = parse_form(call.content_type, call.body)
    document: dict[str, Any] = {}
    for part in form.parts:
        name = bare_name(part.name)
        if isinstance(part, File):
            if name not in files:
                raise InvalidRequestError(
                    f"There is no file '{part.name}' here, but {' and '.join(sorted(files))}.",
                    param=part.name,
                )
            continue
        if "file_id" in part.name.lower():
            raise HeldIdError(part.name)
        if first_word(part.name) in {*files, *(f"{file}s" for file in files)}:
            raise InvalidRequestError(f"'{part.name}' must be a file.", param=part.name)
        value = _value(part, name in wholes, name in flags)
        if part.name != name:
            document.setdefault(name, [])
        if isinstance(document.get(name), list):
            document[name].append(value)
        elif name in document:
            raise InvalidRequestError(f"The form has the field '{name}' twice.", param=name)
        else:
            document[name] = value
    return form, form_type(boundary_of(call.content_type)), document


def write_upload(request: ClientRequest, upstream_model: str) -> bytes:
    """The form of a request with the provider's name of the model, and without the fields that its
    document has no more; its Content-Type is the request's."""
    assert request.form is not None, "it was read from one"
    kept = _kept(request.form, request.document)
    model = Field("model", upstream_model)
    _, pieces = write_form([model, *kept], boundary_of(request.content_type))
    return b"".join(pieces)


def bare_name(name: str) -> str:
    """The name of a part without the brackets of a list.

    >>> bare_name("image[]"), bare_name("image")
    ('image', 'image')
    """
    return name.removesuffix("[]")


def first_word(name: str) -> str:
    """The name of a part without all brackets, in lower case: some readers make objects of them.

    >>> first_word("images[0][file_id]"), first_word("url")
    ('images', 'url')
    """
    return name.partition("[")[0].strip().lower()


def _kept(form: Form, document: dict[str, Any]) -> Iterator[Field | File]:
    for part in form.parts:
        name = bare_name(part.name)
        if isinstance(part, File) or (name in document and name != "model"):
            yield part


def _value(part: Field, whole: bool, flag: bool) -> Any:
    value = part.value
    if whole and _is_whole(value):
        return int(value)
    if flag and value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    return value
