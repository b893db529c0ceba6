"""The durable log between deciding and sending: append, next, confirm, with one cursor a sink.

`outbox` is what others use, `log` the rows on disk with the newest of them in memory, `table` the SQL, `cursor` how
far a sink has come and what it gets next.
"""

from agent.outbox.outbox import Outbox

__all__ = ["Outbox"]
