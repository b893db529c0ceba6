"""The test broker inside librdkafka, as a process: prints `SERVERS host:port`, then obeys lines on its input.

    topic NAME PARTITIONS | errors APIKEY CODE... | down | up | rtt MILLISECONDS

Its limits: groups of one member, no admin requests but these, 5 MiB a partition, all in memory.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import confluent_kafka


def main() -> None:
    [library] = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka-*.so*")
    kafka = ctypes.CDLL(str(library))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    kafka.rd_kafka_conf_new.restype = pointer
    kafka.rd_kafka_conf_set.argtypes = [pointer, text, text, text, ctypes.c_size_t]
    kafka.rd_kafka_new.restype = pointer
    kafka.rd_kafka_new.argtypes = [ctypes.c_int, pointer, text, ctypes.c_size_t]
    kafka.rd_kafka_handle_mock_cluster.restype = pointer
    kafka.rd_kafka_handle_mock_cluster.argtypes = [pointer]
    kafka.rd_kafka_mock_cluster_bootstraps.restype = text
    kafka.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    kafka.rd_kafka_mock_topic_create.argtypes = [pointer, text, ctypes.c_int, ctypes.c_int]
    kafka.rd_kafka_mock_push_request_errors_array.argtypes = [
        pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int),
    ]  # fmt: skip
    for name in ("set_down", "set_up"):
        getattr(kafka, f"rd_kafka_mock_broker_{name}").argtypes = [pointer, ctypes.c_int32]
    kafka.rd_kafka_mock_broker_set_rtt.argtypes = [pointer, ctypes.c_int32, ctypes.c_int]
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [pointer, ctypes.c_int32]

    problem = ctypes.create_string_buffer(512)
    options = kafka.rd_kafka_conf_new()
    for name, value in (
        (b"test.mock.num.brokers", b"1"),
        (b"bootstrap.servers", b"ignored:1"),
        (b"log_level", b"3"),
    ):
        kafka.rd_kafka_conf_set(options, name, value, problem, 512)
    cluster = kafka.rd_kafka_handle_mock_cluster(kafka.rd_kafka_new(0, options, problem, 512))
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    print("SERVERS", kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["topic", name, partitions]:
                kafka.rd_kafka_mock_topic_create(cluster, name.encode(), int(partitions), 1)
            case ["errors", key, *codes]:
                array = (ctypes.c_int * len(codes))(*map(int, codes))
                kafka.rd_kafka_mock_push_request_errors_array(cluster, int(key), len(codes), array)
            case ["down"]:
                kafka.rd_kafka_mock_broker_set_down(cluster, 1)
            case ["up"]:
                kafka.rd_kafka_mock_broker_set_up(cluster, 1)
            case ["rtt", milliseconds]:
                kafka.rd_kafka_mock_broker_set_rtt(cluster, 1, int(milliseconds))
        print("OK", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
