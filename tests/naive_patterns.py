"""Patterns as Flink's NFA runs them: every partial match of every start on every row, finished ones in a queue.

Conditions are plain functions `(rows_of, candidate) -> bool`, where `rows_of` maps a step to its rows so far, the
candidate included for the step that is judged.
"""

from dataclasses import dataclass, field


@dataclass
class NaivePattern:
    """`steps` are (name, least, most, greedy, condition); `skip` is "past", "next" or ("first" | "last", step)."""

    steps: list
    skip: object = "past"
    within: int = 0
    partial: list = field(default_factory=list)  # (start, step, mapping: tuple of lists of rows)
    done: list = field(default_factory=list)
    count: int = 0
    rows: list = field(default_factory=list)

    def row(self, row):
        """Matches emitted at this row, each a list of row numbers per step."""
        me = self.count
        self.count += 1
        self.rows.append(row)
        emitted = []
        if self.within:
            self.partial = [p for p in self.partial if row["time"] - self.rows[p[0]]["time"] < self.within]
            emitted += self.emit()
        following = []
        for start, step, mapping in [*self.partial, (me, -1, tuple([] for _ in self.steps))]:
            for next_step, new in self.moves(step, mapping, me):
                if self.final(next_step, new):
                    self.done.append((start, new))
                following.append((start, next_step, new))
        self.partial = sorted(following, key=lambda p: p[0])
        self.done.sort(key=lambda d: d[0])
        return emitted + self.emit()

    def moves(self, step, mapping, me):
        fits = [self.fits(k, mapping, me) for k in range(len(self.steps))]
        if step >= 0:
            _, least, most, greedy, _ = self.steps[step]
            if fits[step] and (most is None or len(mapping[step]) < most):
                yield step, self.with_row(mapping, step, me)
            if len(mapping[step]) < least or (greedy and fits[step]):
                return
        for k in range(step + 1, len(self.steps)):
            if fits[k]:
                yield k, self.with_row(mapping, k, me)
                if self.steps[k][3]:
                    return
            if self.steps[k][1] > 0:
                return

    def fits(self, k, mapping, me):
        mapped = self.with_row(mapping, k, me)
        rows_of = {step[0]: [self.rows[i] for i in mapped[j]] for j, step in enumerate(self.steps)}
        return self.steps[k][4](rows_of, self.rows[me])

    @staticmethod
    def with_row(mapping, k, me):
        return tuple([*rows, me] if j == k else rows for j, rows in enumerate(mapping))

    def final(self, step, mapping):
        return len(mapping[step]) >= self.steps[step][1] and all(s[1] == 0 for s in self.steps[step + 1 :])

    def emit(self):
        found = []
        while self.done and (not self.partial or self.done[0][0] <= self.partial[0][0]):
            start, mapping = self.done.pop(0)
            found.append(mapping)
            rows = [row for part in mapping for row in part]
            if self.skip == "past":
                bound = rows[-1] + 1
            elif self.skip == "next":
                bound = start + 1
            else:
                part = mapping[[s[0] for s in self.steps].index(self.skip[1])]
                bound = part[0] if self.skip[0] == "first" else part[-1]
            same = self.skip == "next"
            self.partial = [p for p in self.partial if (p[0] != start if same else p[0] >= bound)]
            self.done = [d for d in self.done if (d[0] != start if same else d[0] >= bound)]
        return found
