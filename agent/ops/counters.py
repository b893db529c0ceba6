"""Every counter of every part: what it counts, whether it means loss, and what to do about it then.

`health.stats` gathers them as `{"window.mean": {"late": 3}, "source.line": {"rows": 90}, ...}`; the report, the live
view, the log and the page docs/counters.md take the words from here. A counter of ours that is not in this table fails
a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

Stats = Mapping[str, Mapping[str, int]]
"""Part, as `kind.name`, -> name of a counter -> how often."""


class Counter(NamedTuple):
    """What there is to know of a counter.

    Attributes:
        counts: what is counted.
        advice: what to do when it is not zero, if it means that something was lost; empty = nothing.
    """

    counts: str
    advice: str = ""


GRACE = (
    "raise `grace` (or `delay`) above how late readings come, or set the machines' clocks right; "
    "`emit_late` hands them out"
)
_ROOM = "it is a bound on memory: shorten the window or `within`, or narrow it with `where`"

COUNTERS: Mapping[str, Counter] = {
    "engine.readings": Counter("readings decided on"),
    "engine.alerts": Counter("alerts: raised, escalated, resolved, ..."),
    "engine.refused_future": Counter(
        "readings refused, their time being more than `agent.max_future` ahead of the host's clock",
        "set the clocks right (NTP) or raise `agent.max_future`",
    ),
    "engine.refused_negative": Counter(
        "readings refused, their time being before 1970", "check the field and unit of the time in the codec"
    ),
    "keys.series": Counter("series known now"),
    "keys.evicted": Counter("series forgotten, not seen for `agent.idle`"),
    "keys.refused": Counter(
        "readings of series beyond the most that are kept",
        "raise `agent.series`, set `agent.idle`, or look for a key column whose values never come again",
    ),
    "late": Counter("readings that came after all of their windows had closed", GRACE),
    "partially_late": Counter("readings that came after some of their windows had closed", GRACE),
    "refused": Counter("readings refused for coming too late", GRACE),
    "dropped": Counter("readings dropped, there being no room for more", _ROOM),
    "overflowed": Counter("what was given up, there being no room for more", _ROOM),
    "overflows": Counter(
        "results whose sum was beyond all numbers; they are missing", "filter such values out with `where`"
    ),
    "source.rows": Counter("readings"),
    "source.frames_ok": Counter("frames whose rows were handed over"),
    "source.frames_bad": Counter(
        "frames thrown away: broken, wrong checksum, no believable time",
        "compare what the device sends with the codec; the log has the last reason",
    ),
    "source.values_bad": Counter(
        "values that are no finite number; they are missing in their row",
        "compare what the device sends with the codec; the log has the first of them",
    ),
    "source.values_invalid": Counter("values that the codec's `invalid` names; they are missing in their row"),
    "source.bytes_replaced": Counter(
        "places where bytes are no text in the codec's encoding; each reads U+FFFD, the line is kept",
        "set `encoding` to that of the sender: latin-1, cp1252, utf-16",
    ),
    "source.times_nonexistent": Counter(
        "local times of the hour that a change of the clocks leaves out, read as an hour later",
        "set `time_zone` to that of the sender, or let it send UTC",
    ),
    "source.samples_lost": Counter(
        "samples missing by the sender's own count, dropped because more came than could be decided on, or that the "
        "broker had no longer",
        "look at the line to the device, at the load of this host, and at how long a topic keeps its messages",
    ),
    "source.bytes_read": Counter("bytes received"),
    "source.bytes_discarded": Counter("bytes that belonged to no frame, as at the start in the middle of one"),
    "source.retained": Counter("retained messages passed over: the last known values, no readings of now"),
    "source.repeated": Counter("messages passed over that were handed over before and came again"),
    "source.reopened": Counter("times it was opened again after an error"),
    "outbox.appended": Counter("messages made safe"),
    "outbox.repeated": Counter("messages that were in it already, after a restart"),
    "outbox.unwanted": Counter("messages that no sink takes"),
    "outbox.superseded": Counter("states passed over, a newer one having come"),
    "outbox.commits": Counter("writes to the disk"),
    "outbox.failed_commits": Counter(
        "writes to the disk that failed; messages are kept in memory meanwhile", "make room on the disk, or replace it"
    ),
    "outbox.dead": Counter(
        "messages that a receiver refused for good", "the log says why; they stay in the table `dead` of the outbox"
    ),
    "outbox.dropped": Counter(
        "messages dropped unsent: too old, too many, or damaged on the disk; the report says which",
        "bring the receiver back, or raise the bounds in [outbox]",
    ),
    "outbox.quarantined": Counter("files that could not be read and were put aside", "look at the disk"),
    "sink.sent": Counter("messages that the receiver has confirmed"),
    "sink.waiting": Counter("messages that wait for the receiver now"),
    "sink.reconnects": Counter("times it was connected again after an error"),
    "checkpoint.saved": Counter("times the state was saved"),
    "checkpoint.failed": Counter(
        "times it could not be; a crash then repeats more", "make room on the disk, or replace it; the log says why"
    ),
    "checkpoint.bytes": Counter("bytes written for it; `agent.checkpoint_bytes_per_day` bounds them"),
    "observer.seen": Counter("batches seen by one who looks on"),
    "observer.dropped": Counter("batches that it did not see, being too slow", "what it shows has gaps, nothing else"),
    "observer.errors": Counter("errors of its own", "the log has the first of them, and where it was"),
}  # fmt: skip


def about(part: str, name: str) -> Counter:
    """What there is to know of the counter `name` of a part; of one that an outside part has, nothing."""
    return COUNTERS.get(f"{part.partition('.')[0]}.{name}") or COUNTERS.get(name, Counter(""))


def losses(stats: Stats) -> Iterator[tuple[str, str, int]]:
    """Part, name and number of each counter that says that something was lost."""
    for part, counters in stats.items():
        for name, count in counters.items():
            if count and about(part, name).advice:
                yield part, name, count


def page() -> str:
    """docs/counters.md."""
    lines = [_HEAD]
    for name, counter in COUNTERS.items():
        lines.append(f"| `{name}` | {counter.counts} | {counter.advice} |\n")
    return "".join(lines)


_HEAD = """# Counters

<!-- written by `python docs/build_reference.py` from agent/ops/counters.py -->

Each part counts what it sees, and above all what it could not use. The topic `health` carries all of it under
`counters`, by part: `{"window.mean_5s": {"late": 3}, "source.line": {"rows": 9000, ...}, ...}`; the live view shows
those that mean loss. When one of these is no longer zero, the log says so once, with what to do.

Where a part knows which series it was, `worst_series` in the report names the ten it happened to most often.

A name without a kind is a counter of windows, detectors and rules.

| counter | counts | if it is not zero |
|---|---|---|
"""
