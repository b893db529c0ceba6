"""The public face: all that a part of your own needs, and the only module it imports. See docs/extending.md.

A part is a dataclass that inherits the base of its kind. Its fields are its configuration, `__post_init__` checks them
and makes what it remembers. The base has every hook with a default; only what is abstract must be written:

    kind       base                              must be written
    source     Source, Positioned                __aenter__, __aexit__, __anext__; position, seek
    codec      Codec; LineCodec for text lines   feed, decode; records
    window     Operator, with kind = "window"    process
    detector   StreamingDetector, Operator       state_fields, score; process
    rule       Rule                              raise_limit, process
    sink       Sink                              __aenter__, __aexit__, send

What an operator or rule remembers lives in `SeriesState`, arrays whose first axis is the series, and is named in
`remembers`; snapshot, restore, extract, merge and evict follow from that. `agent.testing` has the contract of each kind
as tests.

Errors have one class for each way of going on; any other exception is a bug, and ends the process:

    Exception
     ├── SourceError       device, file or broker failed: closed, opened again after a pause
     ├── SinkError         receiver away, or not all confirmed: opened anew, the same messages again
     ├── RejectedError     receiver will never take these messages: put aside, the others go on
     ├── ConfigError       the configuration is wrong: exit code 78, one line a problem
     └── ValueError        from __init__ or __post_init__: the same, with the key path before it
          └── ExpressionError    a condition is wrong: the same, with the character
"""

from __future__ import annotations

from agent.alerts.alert import Change, Identity, Kind, Message, Severity
from agent.core.changes import Changes
from agent.core.explanations import Explanation
from agent.core.files import ColumnsFile, TextFile
from agent.core.operator import Operator
from agent.core.rows import Rows, no_rows
from agent.core.series import Arrays, Field, SeriesState, State, Stateful
from agent.core.series_records import SeriesRecords
from agent.detectors.base.streaming import StreamingDetector
from agent.expressions import Expression, ExpressionError
from agent.rules import Rule, Transition, Verdict
from agent.rules.lifecycle import Lifecycle
from agent.settings.registry import ConfigError
from agent.sinks import RejectedError, Sink, SinkError
from sensors.batch import Batch, Codes, Floats, Ints, Text, tick
from sensors.codecs import Codec
from sensors.codecs.line_codec import LineCodec
from sensors.source import Counters, Positioned, Source, SourceError
from sensors.units import Duration

__all__ = [
    "Arrays",
    "Batch",
    "Change",
    "Changes",
    "Codec",
    "Codes",
    "ColumnsFile",
    "ConfigError",
    "Counters",
    "Duration",
    "Explanation",
    "Expression",
    "ExpressionError",
    "Field",
    "Floats",
    "Identity",
    "Ints",
    "Kind",
    "Lifecycle",
    "LineCodec",
    "Message",
    "Operator",
    "Positioned",
    "RejectedError",
    "Rows",
    "Rule",
    "SeriesRecords",
    "SeriesState",
    "Severity",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "State",
    "Stateful",
    "StreamingDetector",
    "Text",
    "TextFile",
    "Transition",
    "Verdict",
    "no_rows",
    "tick",
]
