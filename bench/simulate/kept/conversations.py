"""OpenAI's conversations and their items, as the types of its SDK have them."""

from __future__ import annotations

from typing import Any, Final

from bench.simulate import openai_fields as fields
from bench.simulate.dialect import Dialect
from bench.simulate.errands import Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.kept.desk import At, KeptDesk, Way, check_metadata, not_found, page_told
from bench.simulate.kept.responses import ResponseStore
from bench.simulate.kept.shelf import Kept
from bench.simulate.openai_fields import refusal_of
from bench.simulate.operation import check_fields, read_json
from bench.simulate.responses_items import INPUT
from bench.simulate.shapes import Violation

ITEMS_MAX: Final = 20


class ConversationDesk(KeptDesk):
    """The desk of conversations."""

    def __init__(self, store: ResponseStore, dialect: Dialect) -> None:
        one = "/v1/conversations/{conversation_id}"
        item = f"{one}/items/{{item_id}}"
        ways = (
            Way("POST", "/v1/conversations", "conversations.create", self._create),
            Way("GET", one, "conversations.get", self._get),
            Way("POST", one, "conversations.update", self._update),
            Way("DELETE", one, "conversations.delete", self._delete),
            Way("POST", f"{one}/items", "conversations.items.create", self._create_items),
            Way("GET", f"{one}/items", "conversations.items.list", self._list_items),
            Way("GET", item, "conversations.items.get", self._get_item),
            Way("DELETE", item, "conversations.items.delete", self._delete_item),
        )
        super().__init__(store.shelf, dialect, ways)
        self._store = store

    def _create(self, visit: Visit, _at: At) -> Told:
        values = read_json(visit.request.body or b"{}")
        check_fields(values, {"items": fields.OBJECTS, "metadata": check_metadata}, ())
        items = _checked(values.get("items") or [])
        conversation = self._shelf.new_id("conv_") + "0" * 24
        value: dict[str, Any] = {
            "id": conversation,
            "object": "conversation",
            "created_at": 0,
            "metadata": values.get("metadata") or {},
        }
        kept = self._shelf.add("conversation", visit.key, value)
        value["created_at"] = kept.created_at
        self._add(visit, kept, items)
        return json_told(value)

    def _get(self, visit: Visit, at: At) -> Told:
        return json_told(self._found(visit, at).value)

    def _update(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        values = read_json(visit.request.body)
        check_fields(values, {"metadata": check_metadata}, ("metadata",))
        kept.value["metadata"] = values["metadata"]
        return json_told(kept.value)

    def _delete(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        for item in self._shelf.of("item", visit.key, kept.object_id):
            self._shelf.drop(item)
        self._shelf.drop(kept)
        deleted = {"id": kept.object_id, "object": "conversation.deleted", "deleted": True}
        return json_told(deleted)

    def _create_items(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        values = read_json(visit.request.body)
        check_fields(values, {"items": fields.OBJECTS}, ("items",))
        made = self._add(visit, kept, _checked(values["items"]))
        return json_told(
            {
                "object": "list",
                "data": [item.value for item in made],
                "first_id": made[0].object_id if made else None,
                "last_id": made[-1].object_id if made else None,
                "has_more": False,
            }
        )

    def _list_items(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        self._store.settle_all()
        return page_told(self._shelf.of("item", visit.key, kept.object_id), visit)

    def _get_item(self, visit: Visit, at: At) -> Told:
        return json_told(self._item(visit, at).value)

    def _delete_item(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        self._shelf.drop(self._item(visit, at))
        return json_told(kept.value)

    def _add(self, visit: Visit, kept: Kept, items: list[dict[str, Any]]) -> list[Kept]:
        owner = self._shelf.new_id("")
        return [
            self._shelf.add("item", visit.key, item, parent=kept.object_id)
            for item in self._store.named(owner, items)
        ]

    def _found(self, visit: Visit, at: At) -> Kept:
        kept = self._shelf.find("conversation", visit.key, at["conversation_id"])
        if kept is None:
            raise not_found("Conversation", at["conversation_id"])
        return kept

    def _item(self, visit: Visit, at: At) -> Kept:
        kept = self._shelf.find("item", visit.key, at["item_id"], self._found(visit, at).object_id)
        if kept is None:
            raise not_found("Item", at["item_id"])
        return kept


def _checked(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items, as those of a response are checked.

    Raises:
        ApiError: in the words of the API.
    """
    if len(items) > ITEMS_MAX:
        raise ApiError(
            f"Invalid 'items': array too long. Expected an array with maximum length {ITEMS_MAX}, "
            f"but got an array with length {len(items)} instead.",
            param="items",
            code="array_above_max_length",
        )
    try:
        INPUT(("items",), items)
    except Violation as violation:
        raise refusal_of(violation) from None
    return [{"type": "message", **item} for item in items]
