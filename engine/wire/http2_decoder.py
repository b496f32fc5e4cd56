"""HPACK for the receiving side (RFC 7541): hpack's decoder without its per-field objects and logs.

Integers, Huffman codes, the table and its bounds stay hpack's; tests compare the two on anything.
"""

from __future__ import annotations

from typing import Final

from hpack import Decoder, HPACKDecodingError, NeverIndexedHeaderTuple, OversizedHeaderListError
from hpack.hpack import decode_integer
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

_STATIC: Final = (None, *HeaderTable.STATIC_TABLE)
_STATIC_MAX: Final = HeaderTable.STATIC_TABLE_LENGTH
_INTEGER_MAX_BYTES: Final = 16
"""More than hpack takes for one integer."""


class FieldDecoder(Decoder):
    """A drop-in for hpack's `Decoder`; fields are plain tuples of bytes.

    A field that must never be indexed stays a NeverIndexedHeaderTuple (section 6.2.3).
    """

    def decode(  # type: ignore[override]  # always raw
        self, data: bytes, raw: bool = True
    ) -> list[tuple[bytes, bytes]]:
        """Decode a whole header block.

        Raises:
            HPACKDecodingError: it is malformed; the connection's compression state is lost.
            OversizedHeaderListError: it is more than `max_header_list_size`, counted as section
                4.1 does.
        """
        del raw
        fields: list[tuple[bytes, bytes]] = []
        at, end, left_bytes = 0, len(data), self.max_header_list_size
        while at < end:
            octet = data[at]
            if octet & 0x80:
                index = octet & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(data, at - 1, 7)
                field = _STATIC[index] if index <= _STATIC_MAX else None
                if field is None:
                    field = self.header_table.get_by_index(index)
            elif octet & 0xE0 == 0x20:
                if fields:
                    raise HPACKDecodingError("Table size update not at the start of the block")
                at += self._update_encoding_context(data[at : at + _INTEGER_MAX_BYTES])
                continue
            else:
                field, at = self._literal(data, at)
            fields.append(field)
            left_bytes -= 32 + len(field[0]) + len(field[1])
            if left_bytes < 0:
                raise OversizedHeaderListError("the header list is too large")
        self._assert_valid_table_size()
        return fields

    def _literal(self, data: bytes, at: int) -> tuple[tuple[bytes, bytes], int]:
        kind = data[at]
        added = bool(kind & 0x40)
        bits = 6 if added else 4
        index, at = _integer(data, at, bits)
        if index:
            name = self.header_table.get_by_index(index)[0]
        else:
            name, at = _string(data, at)
        value, at = _string(data, at)
        if added:
            self.header_table.add(name, value)
        elif kind & 0x10:
            return NeverIndexedHeaderTuple(name, value), at
        return (name, value), at


def _integer(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """An integer behind flag bits, and where it ends (section 5.1)."""
    most = (1 << bits) - 1
    if at < len(data) and (number := data[at] & most) < most:
        return number, at + 1
    number, size = decode_integer(data[at : at + _INTEGER_MAX_BYTES], bits)
    return number, at + size


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """Octets, Huffman-coded or not, and where they end (section 5.2)."""
    coded = at < len(data) and data[at] & 0x80
    size, at = _integer(data, at, 7)
    end = at + size
    if end > len(data):
        raise HPACKDecodingError("Truncated header block")
    octets = data[at:end]
    return decode_huffman(octets) if coded else octets, end
