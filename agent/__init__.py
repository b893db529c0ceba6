"""An anomaly-detection agent for gateways: sensors in, alerts out, nothing lost between.

The map, in the direction of the data; what stands further down imports nothing above it, but for the core:

    sensors        (beside this package) bytes -> Batch

    core           what every part stands on: rows, key tables, state by series, the base of an operator
    alerts         what an alert is, its id for ever, how it is written as a CloudEvent; commands
    expressions    the language of conditions: parsed once, evaluated over whole columns
    windows        readings -> aggregates over stretches of time or numbers of readings
    detectors      readings or window results -> scores
    rules          conditions over them -> transitions of incidents, with their life cycle
    engine         puts these together: `Engine.process(batch) -> Decisions`; plain NumPy, no I/O, no clock

    storage        state on disk: the SQLite thread, checkpoints of what changed, quarantine of what is damaged
    sinks          MQTT, Kafka, lines: `send` returns when the receiver has confirmed
    outbox         the durable log: an alert is safe once `append` returns; one cursor and one delivery loop a sink

    settings       TOML, environment and command line -> objects: the registry of parts, their checks, the pipeline
    api            all that a part of your own imports
    testing        the contract of each kind of part, shipped
    subscriber     the library that receives alerts
    client         its name in earlier releases

    ops            service manager, log, health, counters, observers, live view: they only look on
    runtime        the life of the agent: source loops, publishing, checkpoints, the clock
    offline        generate, calibrate, detect, evaluate, Flink SQL: the same `process`
    cli            the command line, one file a command
    __main__       `python -m agent`
"""
