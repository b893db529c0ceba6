"""Getting samples: bytes from serial lines, files, sockets and brokers become batches.

The map: `batch` and `source` are the two types everybody needs, `units` reads durations, `codecs/` turns bytes
into rows without I/O, and every other module is one driver. Nothing here imports the agent.
"""
