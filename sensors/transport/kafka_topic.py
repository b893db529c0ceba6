"""Which topic it is: a topic that was deleted and made anew has the old name, and another id.

aiokafka asks for metadata in a version that does not know ids (Kafka 2.8 and later have them), so the request is
written out here. Of a cluster that does not understand it the ids are not known, and everything else is as with it.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_UNKNOWN = bytes(16)


class Topic(NamedTuple):
    """What the cluster knows of a topic.

    Attributes:
        partitions: empty = there is no such topic.
        id: hexadecimal digits; empty = not known.
    """

    partitions: frozenset[int]
    id: str


async def topic_of(consumer: AIOKafkaConsumer, name: str) -> Topic:
    """The topic of this name; asking does not create it.

    Raises:
        KafkaError: the cluster does not answer.
    """
    client = consumer._client
    node = client.get_random_node()
    try:
        answer = await client.send(node, _TopicRequest(name))
    except (IncompatibleBrokerVersion, NotImplementedError, ValueError):
        cluster = await client.fetch_all_metadata()  # asking for the topic alone might create it
        return Topic(frozenset(cluster.partitions_for_topic(name) or ()), "")
    for _, found, topic_id, _, partitions, *_ in answer.topics:
        if found == name:
            return Topic(frozenset(part[1] for part in partitions), "" if topic_id == _UNKNOWN else topic_id.hex())
    return Topic(frozenset(), "")


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]  # aiokafka has no types
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class _TopicResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(
            ("node_id", Int32), ("host", CompactString("utf-8")), ("port", Int32), ("rack", CompactString("utf-8")),
            ("tags", TaggedFields),
        )),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topics", CompactArray(
            ("error_code", Int16), ("name", CompactString("utf-8")), ("topic_id", _Uuid), ("is_internal", Boolean),
            ("partitions", CompactArray(
                ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                ("replicas", CompactArray(Int32)), ("isr", CompactArray(Int32)), ("offline", CompactArray(Int32)),
                ("tags", TaggedFields),
            )),
            ("authorized_operations", Int32), ("tags", TaggedFields),
        )),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )  # fmt: skip


class _TopicRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _TopicResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicRequest(Request[_TopicRequestStruct]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3

    def __init__(self, name: str) -> None:
        self._name = name

    def build(self, request_struct_class: type[_TopicRequestStruct]) -> _TopicRequestStruct:
        return request_struct_class([(_UNKNOWN, self._name, {})], False, False, False, {})
