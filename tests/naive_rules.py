"""The rules as plain code, one row at a time: what the vectorised ones must agree with."""

from dataclasses import dataclass, field

NEVER = -(2**62)


@dataclass
class NaiveSeries:
    up: bool = False
    since: int = 0
    firing: bool = False
    started: int = 0
    incident: int = 0
    level: int = 0
    pending_level: int = 0
    resolved: int = NEVER
    silent: bool = False
    flapping: bool = False
    repeat: int = 0
    sent: int = 0
    seen: int = 0
    end: int = 0
    raises: list = field(default_factory=list)


@dataclass
class NaiveLifecycle:
    """One dictionary entry a series, one `if` a case; gives tuples (key, at, change, level, time, started, incident)."""

    for_: int = 0
    hold: int = 0
    cooldown: int = 0
    every: int = 0
    no_data: int = 0
    flap_changes: int = 0
    flap_within: int = 0
    series: dict = field(default_factory=dict)
    now: int = NEVER

    def row(self, key, at, time, direction, level):
        one = self.series.setdefault(key, NaiveSeries())
        up = one.up if direction == 0 else direction > 0
        if up != one.up:
            one.up, one.since = up, time
        if direction <= 0:
            level = 0
        if one.silent:
            one.silent = False
            one.repeat += 1
            yield self.event(one, key, at, "updated", time)
        if one.up and not one.firing:
            one.level = one.pending_level = level
            if time >= self.rise(one):
                yield self.begin(one, key, at, time)
        elif one.up and level > one.level:
            one.level = level
            yield self.event(one, key, at, "escalated", time)
        elif not one.up and one.firing and time >= one.since + self.hold_of(one):
            yield self.finish(one, key, at, time)
        one.seen, one.end = self.now, time

    def tick(self, now):
        if now <= self.now:
            return
        self.now = now
        due = []
        for key, one in self.series.items():
            silence = now - one.seen
            if one.silent:
                continue
            if one.up and not one.firing:
                if one.end + silence >= self.rise(one) and silence >= self.for_:
                    due.append((self.rise(one), key, "raised"))
                continue
            if not one.firing:
                continue
            fall = one.since + self.hold_of(one)
            falls = not one.up and one.end + silence >= fall and silence >= self.hold
            quiet = self.no_data and silence >= self.no_data
            if falls and not (quiet and one.end + self.no_data < fall):
                due.append((fall, key, "resolved"))
            elif quiet:
                due.append((one.end + self.no_data, key, "no_data"))
            elif self.every and now - one.sent >= self.every:
                due.append((one.end, key, "updated"))
        for time, key, change in sorted(due):
            one = self.series[key]
            if change == "raised":
                yield self.begin(one, key, -1, time)
            elif change == "resolved":
                yield self.finish(one, key, -1, time)
            else:
                one.silent = change == "no_data"
                one.repeat += change == "updated"
                yield self.event(one, key, -1, change, time)

    def rise(self, one):
        return max(one.since + self.for_, one.resolved + self.cooldown) if self.cooldown else one.since + self.for_

    def hold_of(self, one):
        return max(self.hold, self.flap_within) if one.flapping else self.hold

    def begin(self, one, key, at, time):
        one.firing, one.started, one.repeat = True, one.since, 0
        one.incident += 1
        if self.flap_changes:
            if len(one.raises) == self.flap_changes and time - one.raises[0] < self.flap_within:
                one.flapping = True
            one.raises = [*one.raises, time][-self.flap_changes :]
        return self.event(one, key, at, "raised", time)

    def finish(self, one, key, at, time):
        event = self.event(one, key, at, "resolved", time)
        one.firing = one.flapping = one.silent = False
        one.resolved = time
        return event

    def event(self, one, key, at, change, time):
        one.sent = self.now
        return (key, at, change, one.level, time, one.started, one.incident, one.repeat, one.flapping)
