"""HPACK for the sending side (RFC 7541): a field that is sent again costs a byte and a look-up.

hpack's own encoder walks its table for each field, Huffman-codes, and puts every field into the
table, ids that never come again included, which pushes out those that do. Here a field is a plain
literal the first time, enters the table the second time, and is an index from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hpack import Encoder, HeaderTuple
from hpack.hpack import encode_integer
from hpack.table import HeaderTable

_TABLE_MAX_BYTES: Final = 4_096
"""Ours, whatever the peer offers: it is memory of ours as well."""
_SEEN_MAX: Final = 256
"""Fields remembered as sent once."""


def _prefixed(number: int, bits: int, flags: int) -> bytes:
    """An integer behind flag bits (section 5.1)."""
    octets = encode_integer(number, bits)
    octets[0] |= flags
    return bytes(octets)


_FIRST_DYNAMIC: Final = HeaderTable.STATIC_TABLE_LENGTH + 1
_INDEXED: Final = [_prefixed(n, 7, 0x80) for n in range(_FIRST_DYNAMIC + _TABLE_MAX_BYTES // 32)]
_STATIC_FIELDS: Final = {
    field: _INDEXED[index] for index, field in enumerate(HeaderTable.STATIC_TABLE, 1) if field[1]
}
_STATIC_NAMES: Final = {
    name: index for name, (index, _) in HeaderTable.STATIC_TABLE_MAPPING.items()
}


def _name_prefixes(bits: int, flags: int) -> dict[bytes, bytes]:
    return {name: _prefixed(index, bits, flags) for name, index in _STATIC_NAMES.items()}


_ADDED: Final = (b"\x40", _name_prefixes(6, 0x40))
_NOT_ADDED: Final = (b"\x00", _name_prefixes(4, 0x00))
_NEVER_ADDED: Final = (b"\x10", _name_prefixes(4, 0x10))
"""The kinds of literal (section 6.2): before a name of its own, before one of the static table."""


class FieldEncoder(Encoder):
    """hpack's encoder with look-ups in place of searches; settings reach it as they reach that."""

    def __init__(self) -> None:
        super().__init__()
        self._added = 0
        self._serials: dict[tuple[bytes, bytes], int] = {}
        """Which addition to the table a field was; the latest `len(table)` are in it."""
        self._seen: dict[tuple[bytes, bytes], None] = {}

    @property
    def header_table_size(self) -> int:
        """Bytes of the table, as section 4.1 counts."""
        return int(self.header_table.maxsize)

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, _TABLE_MAX_BYTES)
        if size != self.header_table.maxsize:
            self.header_table.maxsize = size
            self.table_size_changes.append(size)

    def encode(  # type: ignore[override]  # bytes are all we send
        self, headers: Iterable[tuple[bytes, bytes]], huffman: bool = True
    ) -> bytes:
        """A header block. Literals are never Huffman-coded: that costs more than the bytes do."""
        del huffman
        out = bytearray()
        if self.table_size_changes:
            out += self._encode_table_size_change()
            self.header_table.resized = False
        size = len(self.header_table.dynamic_entries)
        for field in headers:
            if type(field) is not tuple and isinstance(field, HeaderTuple) and not field.indexable:
                out += _literal(field, _NEVER_ADDED)
            elif (static := _STATIC_FIELDS.get(field)) is not None:
                out += static
            elif (serial := self._serials.get(field)) is not None and self._added - serial < size:
                out += _INDEXED[_FIRST_DYNAMIC + self._added - serial]
            else:
                out += self._encode_unknown(field)
                size = len(self.header_table.dynamic_entries)
        return bytes(out)

    def _encode_unknown(self, field: tuple[bytes, bytes]) -> bytes:
        table = self.header_table
        name, value = field
        if field not in self._seen or 32 + len(name) + len(value) > table.maxsize // 4:
            if len(self._seen) >= _SEEN_MAX:
                del self._seen[next(iter(self._seen))]
            self._seen[field] = None
            return _literal(field, _NOT_ADDED)
        del self._seen[field]
        table.add(name, value)
        self._added += 1
        if len(self._serials) >= _SEEN_MAX:
            oldest = self._added - len(table.dynamic_entries)
            self._serials = {f: serial for f, serial in self._serials.items() if serial > oldest}
        self._serials[field] = self._added
        return _literal(field, _ADDED)


def _literal(field: tuple[bytes, bytes], kind: tuple[bytes, dict[bytes, bytes]]) -> bytes:
    name, value = field
    prefix, prefixes = kind
    named = prefixes.get(name) or prefix + _string(name)
    return named + _string(value)


def _string(octets: bytes) -> bytes:
    """Section 5.2, without Huffman coding."""
    size = len(octets)
    return (bytes((size,)) if size < 127 else _prefixed(size, 7, 0)) + octets
