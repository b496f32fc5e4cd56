"""h2's connection with the RFC's rules where h2 has others, and its windows opened to us.

The only file that touches h2's private parts; `pyproject.toml` bounds the versions it was written
against, and tests/engine/wire/test_http2_equality.py compares it with plain h2.

What differs, and why:

- GOAWAY leaves the connection open until its streams are done (RFC 9113 section 6.8); h2 closes.
- A malformed message, or a request past MAX_CONCURRENT_STREAMS, resets its stream (sections 8.1.1
  and 5.1.2); h2 ends the connection.
- DATA before a head resets its stream too, and RST_STREAM on an idle stream or a header block that
  cannot be decompressed end the connection with the codes of sections 6.4 and 4.3.
- Frames in flight on a stream we reset are ignored, and credited (section 5.1); h2 answers each
  of them with another RST_STREAM, which peers count as an attack.
- Field validation is ours (http2_fields.py); Http2Connection checks content-length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionInputs, H2Connection, _decode_headers
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, StreamReset
from h2.exceptions import (
    DenialOfServiceError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
)
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamClosedBy, StreamInputs
from h2.windows import WindowManager
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from .http import Headers
from .http2_decoder import FieldDecoder
from .http2_encoder import FieldEncoder
from .http2_fields import Block, MalformedFieldsError, check_fields
from .http2_limits import CONTINUATION, DATA, GOAWAY, HEADERS, WINDOW_UPDATE, Http2Limits

FRAME_HEAD = struct.Struct(">HBBBL")
_WINDOW_UPDATE = struct.Struct(">HBBBLL")
_GOAWAY = struct.Struct(">HBBBLLL")
_FRAME_HEAD_BYTES = 9
_STREAM_ID_MASK = 2**31 - 1
_END_STREAM = 0x1
_END_HEADERS = 0x4


class CompressionError(ProtocolError):
    """A header block that cannot be decompressed (RFC 9113 section 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


@dataclass(frozen=True, slots=True)
class FieldsReceived(Event):
    """A field block, in place of h2's four kinds of header event."""

    stream_id: int
    block: Block
    fields: Headers
    content_length: int | None
    informational: bool


class Http2Machine(H2Connection):
    """Settings, streams, header compression, windows. One frame at a time."""

    MAX_CLOSED_STREAMS = 1_000
    """How many ends are remembered; h2's 65,536 would come to megabytes a connection."""

    def __init__(self, *, client_side: bool, limits: Http2Limits, stream_window_bytes: int) -> None:
        super().__init__(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self._limits = limits
        settings = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: stream_window_bytes,
            SettingCodes.MAX_FRAME_SIZE: limits.frame_max_bytes,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_list_max_bytes,
        }
        if not client_side:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = limits.streams_max
        self.local_settings = Settings(client=client_side, initial_values=settings)
        self.max_inbound_frame_size = limits.frame_max_bytes
        self.encoder = FieldEncoder()
        self.decoder = FieldDecoder(limits.header_list_max_bytes)
        self.refuse_above: int | None = None
        """Requests above this stream id are ignored: our GOAWAY has named it."""

    # -- receiving ------------------------------------------------------------------------------

    def receive_head(self, frame: bytes) -> list[Event]:
        """Read a HEADERS frame that is a whole block, without padding or priority.

        As `receive_data` does, but for its buffer; no header block may be open.
        """
        stream_id = int.from_bytes(frame[5:9], "big") & _STREAM_ID_MASK
        if not stream_id:
            return self.receive_data(frame)  # an error of the connection
        head = HeadersFrame(stream_id)
        head.data = frame[_FRAME_HEAD_BYTES:]
        if frame[4] & _END_STREAM:
            head.flags.add("END_STREAM")
        try:
            return self._receive_frame(head)
        except ProtocolError as error:
            self._terminate_connection(error.error_code)
            raise

    def _receive_frame(self, frame: Frame) -> list[Event]:
        """h2's own, but for a repr() of each frame that nobody logs."""
        events: list[Event]
        try:
            frames, events = self._frame_dispatch_table[frame.__class__](frame)
        except StreamClosedError as error:
            if not self._stream_is_closed_by_reset(error.stream_id):
                raise
            frames, _ = self._reset_frames(error.stream_id, error.error_code)
            events = error._events
        except StreamIDTooLowError as error:
            if self._stream_is_closed_by_reset(error.stream_id):
                frames, _ = self._reset_frames(error.stream_id, ErrorCodes.STREAM_CLOSED)
                events = []
            elif self._stream_is_closed_by_end(error.stream_id):
                raise StreamClosedError(error.stream_id) from error
            else:
                raise
        self._prepare_for_sending(frames)
        return events

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        return [], [event]

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        # Decoded whatever becomes of it: both ends share the compression state.
        fields = self._decode(frame.data)
        stream_id, ended = frame.stream_id, "END_STREAM" in frame.flags
        if stream_id not in self.streams:
            if self._stream_is_closed_by_reset(stream_id) or self._is_long_closed(stream_id):
                return [], []
            if self.config.client_side:
                if stream_id % 2 == 0:
                    raise ProtocolError("a server opened a stream")
            elif stream_id > self.highest_inbound_stream_id and stream_id % 2:
                if self.refuse_above is not None and stream_id > self.refuse_above:
                    self._close_unseen(stream_id)
                    return [], []
                if len(self.streams) >= self._limits.streams_max:
                    self._close_unseen(stream_id)
                    return self._reset_frames(stream_id, ErrorCodes.REFUSED_STREAM)
        self.state_machine.process_input(ConnectionInputs.RECV_HEADERS)
        stream = self._get_or_create_stream(
            stream_id, AllowedStreamIDs(not self.config.client_side)
        )
        return self._receive_fields(stream, fields, ended)

    def _decode(self, block: bytes) -> Headers:
        try:
            return list(_decode_headers(self.decoder, block))
        except DenialOfServiceError:
            raise
        except ProtocolError as error:
            raise CompressionError(str(error)) from error

    def _receive_data_frame(self, frame: DataFrame) -> tuple[list[Frame], list[Event]]:
        stream = self.streams.get(frame.stream_id)
        if stream is None or stream.state_machine.headers_received:
            return super()._receive_data_frame(frame)
        self._inbound_flow_control_window_manager.window_consumed(frame.flow_controlled_length)
        self.credit(frame.flow_controlled_length, None)
        self.forget(stream, StreamClosedBy.SEND_RST_STREAM)
        return self._reset_frames(frame.stream_id, ErrorCodes.PROTOCOL_ERROR)

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> tuple[list[Frame], list[Event]]:
        ours = (frame.stream_id % 2 == 1) == self.config.client_side
        highest = self.highest_outbound_stream_id if ours else self.highest_inbound_stream_id
        if frame.stream_id > highest:
            raise ProtocolError("RST_STREAM on an idle stream")
        return super()._receive_rst_stream_frame(frame)

    def _receive_fields(
        self, stream: H2Stream, fields: Headers, ended: bool
    ) -> tuple[list[Frame], list[Event]]:
        block = Block.RESPONSE if self.config.client_side else Block.REQUEST
        if stream.state_machine.headers_received:
            block = Block.TRAILERS
        code: ErrorCodes | None = None
        length: int | None = None
        try:
            length = check_fields(fields, block)
        except MalformedFieldsError:
            code = ErrorCodes.PROTOCOL_ERROR
        informational = block is Block.RESPONSE and dict(fields).get(b":status", b"")[:1] == b"1"
        if len(fields) > self._limits.header_fields_max:
            code = ErrorCodes.ENHANCE_YOUR_CALM
        elif (block is Block.TRAILERS and not ended) or (informational and ended):
            code = ErrorCodes.PROTOCOL_ERROR
        if code is not None:
            stream.receive_headers([], end_stream=True, header_encoding=None)
            self.forget(stream, StreamClosedBy.SEND_RST_STREAM)
            return self._reset_frames(stream.stream_id, code)
        # h2 needs to see no more than what kind of block it is.
        marker = [(b":status", b"100")] if informational else []
        frames, events = stream.receive_headers(marker, ended, None)
        stream._expected_content_length = None
        events[0] = FieldsReceived(stream.stream_id, block, fields, length, informational)
        return frames, events

    def _is_long_closed(self, stream_id: int) -> bool:
        """Whether it is a stream of ours whose end is no longer remembered."""
        return (
            self.config.client_side
            and stream_id % 2 == 1
            and stream_id <= self.highest_outbound_stream_id
            and stream_id not in self._closed_streams
        )

    def _acknowledge_settings(self) -> list[Frame]:
        frames: list[Frame] = super()._acknowledge_settings()
        # hpack forgets a size it has yet to announce when the same is set again.
        self.encoder.header_table.resized = bool(self.encoder.table_size_changes)
        return frames

    def _close_unseen(self, stream_id: int) -> None:
        """Count a stream as opened and reset without a trace of it."""
        self.state_machine.process_input(ConnectionInputs.RECV_HEADERS)
        self.highest_inbound_stream_id = stream_id
        self._closed_streams[stream_id] = StreamClosedBy.SEND_RST_STREAM

    def _reset_frames(self, stream_id: int, code: ErrorCodes) -> tuple[list[Frame], list[Event]]:
        frame = RstStreamFrame(stream_id)
        frame.error_code = code
        event = StreamReset(stream_id=stream_id, error_code=code, remote_reset=False)
        return [frame], [event]

    def _handle_data_on_closed_stream(
        self, events: list[Event], exc: StreamClosedError, frame: DataFrame
    ) -> tuple[list[Frame], list[Event]]:
        frames, events = super()._handle_data_on_closed_stream(events, exc, frame)
        if not exc._events:  # in flight when the stream closed: credited, but not answered
            frames.pop()
        return frames, events

    def _open_streams(self, remainder: int) -> int:
        # Every stream in the table is open (`forget`), and was opened by the client.
        return len(self.streams) if remainder else 0

    # -- heads, without h2's look at each field ---------------------------------------------------

    def send_request(self, fields: Headers, *, ended: bool) -> H2Stream:
        """Open a stream of ours with its head, whose fields have been checked."""
        stream_id = self.get_next_available_stream_id()
        self.state_machine.process_input(ConnectionInputs.SEND_HEADERS)
        stream = self._begin_new_stream(stream_id, AllowedStreamIDs.ODD)
        stream.state_machine.process_input(StreamInputs.SEND_HEADERS)
        if ended:
            stream.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        self._head_frames(stream_id, fields, ended=ended)
        return stream

    def send_answer(self, stream: H2Stream, fields: Headers, *, ended: bool) -> None:
        """Send an answer's head, of 1xx too, whose fields have been checked."""
        informational = fields[0][1][:1] == b"1"
        assert not (informational and ended)
        self.state_machine.process_input(ConnectionInputs.SEND_HEADERS)
        stream.state_machine.process_input(
            StreamInputs.SEND_INFORMATIONAL_HEADERS if informational else StreamInputs.SEND_HEADERS
        )
        if ended:
            stream.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        self._head_frames(stream.stream_id, fields, ended=ended)

    def _head_frames(self, stream_id: int, fields: Headers, *, ended: bool) -> None:
        block, step = self.encoder.encode(fields), self.max_outbound_frame_size
        kind, flags, at = HEADERS, _END_STREAM if ended else 0, 0
        while True:
            part = block[at : at + step]
            at += step
            if at >= len(block):
                flags |= _END_HEADERS
            size = len(part)
            self._data_to_send += FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id)
            self._data_to_send += part
            if flags & _END_HEADERS:
                return
            kind, flags = CONTINUATION, 0

    # -- windows and frames, without h2's per-frame objects ---------------------------------------

    @property
    def has_outgoing(self) -> bool:
        return bool(self._data_to_send)

    def consume(self, stream: H2Stream, size: int) -> bool:
        """Take a DATA frame off both windows; false, and nothing taken, if one is short."""
        ours = self._inbound_flow_control_window_manager
        theirs = stream._inbound_window_manager
        if size > ours.current_window_size or size > theirs.current_window_size:
            return False
        ours.current_window_size -= size
        theirs.current_window_size -= size
        return True

    def end_received(self, stream: H2Stream) -> None:
        """The DATA frame that was consumed was the last."""
        stream.state_machine.process_input(StreamInputs.RECV_END_STREAM)

    def credit(self, size: int, stream: H2Stream | None) -> bool:
        """Hand bytes back to the connection's window, and to the stream's while it can use them.

        h2 says when: at half a window, or sooner when it is empty. True when it is now.
        """
        queued = self._credit(self._inbound_flow_control_window_manager, size, 0)
        if stream is not None:
            manager = stream._inbound_window_manager
            queued = self._credit(manager, size, stream.stream_id) or queued
        return queued

    def _credit(self, manager: WindowManager, size: int, stream_id: int) -> bool:
        processed = manager._bytes_processed + size
        if manager.current_window_size and processed < manager.max_window_size // 2:
            manager._bytes_processed = processed
            return False
        increment = manager.process_bytes(size)
        if not increment:
            return False
        self._data_to_send += _WINDOW_UPDATE.pack(0, 4, WINDOW_UPDATE, 0, stream_id, increment)
        return True

    def open_connection_window(self, size: int) -> None:
        """Raise the connection's window from the RFC's 65,535 bytes."""
        if size > self.inbound_flow_control_window:
            self.increment_flow_control_window(size - self.inbound_flow_control_window)

    def data_frames(
        self, stream: H2Stream, data: bytes | bytearray | memoryview, size: int, *, ended: bool
    ) -> int:
        """Queue the first `size` bytes, which fit both windows, in frames the peer takes.

        Returns how many frames.
        """
        out, step = self._data_to_send, self.max_outbound_frame_size
        at = frames = 0
        while True:
            frames += 1
            part = min(step, size - at)
            last = at + part == size
            out += FRAME_HEAD.pack(
                part >> 8, part & 0xFF, DATA, 1 if ended and last else 0, stream.stream_id
            )
            out += data if part == len(data) else data[at : at + part]
            at += part
            if last:
                break
        self.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        if ended:
            stream.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        return frames

    def announce_goaway(self, code: int, last_stream_id: int) -> None:
        """GOAWAY that lets streams finish; h2's `close_connection` would forbid them."""
        self._data_to_send += _GOAWAY.pack(0, 8, GOAWAY, 0, 0, last_stream_id, code)

    def terminate(self, code: ErrorCodes) -> None:
        """GOAWAY for an error that h2 did not find itself."""
        self._terminate_connection(code)

    def forget(self, stream: H2Stream, closed_by: StreamClosedBy | None = None) -> None:
        """Drop a closed stream at once: h2 walks its table at each new stream."""
        if self.streams.pop(stream.stream_id, None) is not None:
            self._closed_streams[stream.stream_id] = closed_by or stream.closed_by
