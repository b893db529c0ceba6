"""Every window that a reading changes, as it is right after that reading."""

from __future__ import annotations

import numpy as np

from agent.windows.assigners import HoppingAssigner, WindowAssigner
from agent.windows.closed_windows import ClosedWindows, PaneTable, PaneVersions, RunningPartials
from agent.windows.partials import Partials
from agent.windows.search import spread
from agent.windows.sorted_block import Segments
from sensors.batch import Floats, Ints


def current_rows_in_order(
    table: PaneTable, assigner: HoppingAssigner, layout: Partials, segments: Segments, readings: RunningPartials
) -> ClosedWindows:
    """Windows changed by readings none of which is late and none behind another of its series.

    The newest pane of each window is then the reading's own, in its state after the reading; the older ones are
    complete. One fold per pane gives all windows of all readings: the next window is the last one and a pane more.

    Args:
        table: panes of the series from the oldest concerned on.
        assigner: which windows there are.
        layout: of the partials.
        segments: of the readings.
        readings: what each made of its pane; `after` is changed.
    """
    running, position = readings.after, readings.position
    n, width, hop = len(position), assigner.width, assigner.hop
    times = -(-width // hop)  # windows that a pane belongs to, at most
    source = np.concatenate((table.partial(), layout.neutral), axis=1)
    own = table.before(segments.key, segments.panes)
    older = own - 1
    out = np.empty((len(running), n, times))
    within = segments.pane % hop if hop > 1 else None
    # A step back in time each pass: `running` is then the window of one pane more, whose place in `out` is known.
    for back in range(width):
        if back:
            there = (older >= 0) & (table.pane[older] == segments.panes - back) & (table.key[older] == segments.key)
            if there.any():
                index = np.where(there, older, len(table))
                older = older - there
                layout.fold(running, source.take(index[segments.number], axis=1))
        if within is None:
            out[:, :, times - 1 - back] = running
        else:
            # Only windows that begin at a step: readings of which pane of a step have one of this length.
            rows = np.flatnonzero((back - within) % hop == 0)
            rows = rows[within[rows] <= back]
            out[:, rows, times - 1 - (back - within[rows]) // hop] = running[:, rows]
    arrival = None
    if n > 1 and bool((position[1:] < position[:-1]).any()):
        arrival = np.argsort(position.astype(np.uint16) if n <= 1 << 16 else position, kind="stable")
        out = out.take(arrival, axis=1)
    pane, key = segments.pane, segments.key.take(segments.number)
    if arrival is not None:
        pane, key, position = pane.take(arrival), key.take(arrival), position.take(arrival)
    window = (assigner.newest(pane)[:, None] - np.arange(times - 1, -1, -1)).ravel()
    emitted = ClosedWindows(np.repeat(key, times), window, np.repeat(position, times), out.reshape(len(out), -1))
    if hop == 1 and int(pane.min()) >= width:
        return emitted
    some = (window >= 0) & (assigner.end(window) > np.repeat(pane, times))
    return emitted if some.all() else emitted.take(np.flatnonzero(some))


def current_rows(
    table: PaneTable,
    versions: PaneVersions,
    assigner: WindowAssigner,
    layout: Partials,
    segments: Segments,
    position: Ints,
    closed: Ints | None,
) -> ClosedWindows:
    """Windows changed by readings in any order; panes are looked up as of each reading.

    Args:
        table: panes of the series from the oldest concerned on.
        versions: what each of them was, and when.
        assigner: which windows there are.
        layout: of the partials.
        segments: of the readings.
        position: `(n,)` of each reading in the block.
        closed: `(n,)` newest window that was closed when each came; None if none can be.
    """
    width, n = assigner.width, len(position)
    least = 0 if closed is None else np.maximum(closed + 1, 0)
    low = np.maximum(assigner.oldest(segments.pane), least)
    number = assigner.newest(segments.pane) - low + 1
    reading, window = spread(low, number)
    # States of all panes that may share a window with the reading, `width` - 1 to each side, are looked up once; its
    # windows only choose among them.
    empty = versions.states.shape[1] - 1
    state = np.full((2 * width - 1, n), empty)
    for away in range(-(width - 1), width):
        at = np.minimum(table.before(segments.key, segments.panes + away), len(table) - 1)
        there = (table.pane[at] == segments.panes + away) & (table.key[at] == segments.key)
        if there.any():
            rows = np.flatnonzero(there[segments.number])
            state[away + width - 1, rows] = versions.at(at[segments.number[rows]], position[rows])
    # Newest pane first, as every window, for the same bits; panes outside of a shorter window count as empty.
    first, end = assigner.first(window), assigner.end(window)
    own = segments.pane[reading]
    partial: Floats = np.repeat(layout.neutral, len(reading), axis=1)
    for back in range(1, width + 1):
        pane = end - back
        index = state[np.clip(pane - own + width - 1, 0, 2 * width - 2), reading]
        index[pane < first] = empty
        if back == 1:
            partial = versions.states.take(index, axis=1)
        elif (index != empty).any():
            layout.fold(partial, versions.states.take(index, axis=1))
    order = np.argsort(position[reading], kind="stable")
    return ClosedWindows(segments.key[segments.number[reading]], window, position[reading], partial).take(order)
