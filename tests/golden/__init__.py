"""What the agent said of some recordings, kept byte for byte, so that a rebuilt agent can be held against it.

Of each recording NAME (`machines`, `waves`, `metrics`):

- `NAME.toml`: the configuration; `NAME.rec.gz`: the recording, made by `inputs` at random, once.
- `NAME.alerts.jsonl.gz`: what `agent replay` prints, compared byte for byte.
- `NAME.results.json`: hashes of the rows of every window and detector, column by column, so that scores which raise
  nothing are compared too, to nine digits.

Processors differ in the last bit of `exp`, a Fourier transform or a matrix product, and some alerts of `waves`, `metrics`
and `old` tell such numbers whole. So the results name the processor (a hash) they were made on; on any other one these
alerts are compared to nine digits as well, and all that is no number exactly. `machines` is exact everywhere.

`old.*` is the same for an agent that goes on from `old.checkpoint.gz`, a checkpoint with one of every window, detector
and rule of the registry, written by the agent as it was at 595afb7, with evicted series, open incidents, a silence and
an acknowledgement. `old.rec.gz` is what came after.

    python -m tests.golden.make             alerts and results anew, from the inputs that are there
    python -m tests.golden.make --inputs    recordings and checkpoint anew, too

Both are for a change that means to change what is sent, and whose message says so; never to make a test pass. With
`--inputs` the checkpoint is no longer an old one: do that only where old ones are refused by name.
"""
