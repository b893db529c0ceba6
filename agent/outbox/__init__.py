"""The durable log between deciding and sending: append, next, confirm, with one cursor a sink.

`outbox` is what others use, `log` the rows on disk with the newest of them in memory, `table` and `recovery` the
SQL, `bundle` how a burst goes into one row, `seen_ids` which ids were seen, `cursor` how far a sink has come and what it
gets next.
"""

from agent.outbox.outbox import Outbox

__all__ = ["Outbox"]
