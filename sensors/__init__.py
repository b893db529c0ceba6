"""Getting samples: bytes from serial lines, files, sockets and brokers become batches. Nothing here imports the agent.

The map:

    batch          Batch, the columnar table that everybody hands on
    source         the base of a driver, its counters, its error
    units          durations as people write them
    times          times as devices write them
    time_formats   times as exports write them: by a format, or recognised
    codecs         bytes <-> rows, without I/O: frames found and checked, what is thrown away counted
    transport      how bytes travel: MQTT, Kafka, TLS, back-off, bounded queues
    drivers        one file or folder each: serial line, TCP, file, MQTT, Kafka, recording, simulated machines
"""
