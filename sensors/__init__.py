"""Getting samples: bytes from serial lines, files, sockets and brokers become batches.

The map: `batch` and `source` are the two types everybody needs, `units` and `times` read durations and times,
`codecs/` turns bytes into rows without I/O. `byte_queue` carries bytes from a descriptor to a codec, `pace` hands rows
over when their time has come, `waveform` makes voltages and their faults. Every other module is one driver, and
`simulated/` those that need no device. Nothing here imports the agent.
"""
