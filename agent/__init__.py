"""An anomaly-detection agent for gateways: sensors in, alerts out, nothing lost between.

The map, in the direction of the data:

    sensors.*            bytes -> Batch
    core/                what parts stand on: state by series, the sort by series, the base of an operator
    rows, keys           the columnar table every operator reads and writes; names of series -> rows of state
    windows/             panes, histograms and windows: readings -> window results
    detectors/           readings or window results -> scores
    rules/               conditions over them -> alert transitions, with their life cycle
    incidents, control   their books: names, ids, flags, sequence; what people say about them
    engine, engine_state puts these together: `Engine.process(batch) -> Decisions`, plain NumPy, no I/O, no clock
    expressions/         the language of conditions: parsed once, evaluated over whole columns
    alerts, cloudevents  what an alert is, its id for ever; how it is written for subscribers
    outbox/, database    the durable log: an alert is safe once `append` returns
    cursor, delivery     where each sink stands in it, and the loop that keeps a sink supplied
    sinks/               MQTT, Kafka, lines: `send` returns when the receiver has confirmed
    storage/             the engine's state on disk: what changed, in segments, whole or moved aside
    components, settings, compose   configuration -> objects; `files` reads those that it names
    api                  all that a part of your own imports; plugins, checks, trials: where it is found, and its faults
    testing/             the contract of each kind of part, shipped
    runtime/             the life of the agent: source loops, decisions -> messages, saving and resuming
    cli, commands/       the command line
    offline/             generate, calibrate, detect, evaluate, replay: the same `process`
    ops/                 systemd, log, health, live view: they only look on
"""
