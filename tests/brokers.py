"""Real brokers for tests, each on a free port of its own: mosquitto, and Kafka in KRaft mode.

Where Java or Maven is missing, the broker built into librdkafka serves the Kafka tests. A test whose broker is
missing is skipped with the reason, or fails if REQUIRE_BROKERS=1 (as in CI).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JARS = ROOT / ".cache" / "kafka" / "jars"


def missing(what: str) -> None:
    """Skip the test, or fail where brokers are required."""
    if os.environ.get("REQUIRE_BROKERS") == "1":
        pytest.fail(f"REQUIRE_BROKERS=1, but {what}")
    pytest.skip(what)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the broker ended: {log.read_text(errors='replace')[-2000:]}")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"the broker does not listen: {log.read_text(errors='replace')[-2000:]}")


def stand_still(process: subprocess.Popen[bytes]) -> None:
    """Stop the process; a thread that runs on another core does not stop at once, and could still answer."""
    process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 5
    threads = Path(f"/proc/{process.pid}/task")
    while time.monotonic() < end:
        states = [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads.iterdir()]
        if set(states) <= {"T", "t"}:
            return
        time.sleep(0.001)
    raise RuntimeError("the broker does not stand still")


@dataclass
class Mosquitto:
    """A mosquitto process. `kill` and `start` again keep port, configuration and stored messages."""

    directory: Path
    extra: str = ""
    tls: bool = False
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def start(self) -> Mosquitto:
        self.directory.mkdir(parents=True, exist_ok=True)
        anonymous = "" if "allow_anonymous" in self.extra else "allow_anonymous true\n"
        (self.directory / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\n{anonymous}persistence true\npersistence_location {self.directory}/\n"
            f"max_queued_messages 0\nmax_inflight_messages 100\nset_tcp_nodelay true\nuser root\n{self.extra}\n"
        )
        self.log = self.directory / "mosquitto.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [mosquitto_program(), "-c", str(self.directory / "mosquitto.conf")], stdout=log, stderr=log
            )
        wait_for_port(self.port, self.process, 10, self.log)
        return self

    def pause(self) -> None:
        """It accepts connections (the kernel does) and answers nothing."""
        assert self.process
        stand_still(self.process)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a crash: nothing is said, nothing stored."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def reload(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGHUP)


def mosquitto_program() -> str:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin") or ""


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker of its own for each test."""
    if not mosquitto_program():
        missing("mosquitto is not installed")
    broker = Mosquitto(tmp_path / "mosquitto").start()
    yield broker
    broker.stop()


@dataclass(frozen=True)
class Certificates:
    """An authority and what it signed, as PEM files."""

    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name

    def make(self) -> Certificates:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                      "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
        self.sign("server", "127.0.0.1", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self.sign("client", "gateway-1")
        return self

    def sign(self, name: str, common_name: str, extension: str = "basicConstraints=CA:FALSE") -> None:
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                      f"/CN={common_name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        (self.directory / "extension").write_text(extension)
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "2", "-extfile", "extension", "-out", f"{name}.new")  # fmt: skip
        os.replace(self.directory / f"{name}.new", self.directory / f"{name}.pem")
        os.chmod(self.directory / f"{name}.key", 0o644)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        missing("openssl is not installed")
    return Certificates(tmp_path_factory.mktemp("certificates")).make()


@pytest.fixture
def secure_mosquitto(tmp_path: Path, certificates: Certificates) -> Iterator[Mosquitto]:
    """TLS, a client certificate and a password are asked for: user `agent`, password in `password`."""
    if not mosquitto_program() or shutil.which("mosquitto_passwd") is None:
        missing("mosquitto is not installed")
    (tmp_path / "password").write_text("correct horse\n")
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(tmp_path / "users"), "agent", "correct horse"],
        check=True,
        capture_output=True,
    )
    (tmp_path / "acl").write_text("user agent\ntopic readwrite edge/#\ntopic read in/#\n")
    where = certificates.directory
    extra = (
        f"cafile {where}/ca.pem\ncertfile {where}/server.pem\nkeyfile {where}/server.key\nrequire_certificate true\n"
        f"allow_anonymous false\npassword_file {tmp_path}/users\nacl_file {tmp_path}/acl\n"
    )
    broker = Mosquitto(tmp_path / "mosquitto", extra, tls=True).start()
    yield broker
    broker.stop()


@dataclass
class Kafka:
    """A Kafka broker; `mock` if it is librdkafka's. `kill`, `start`, `pause` and `resume` as with mosquitto."""

    servers: str = ""
    mock: bool = False
    directory: Path = Path()
    process: subprocess.Popen[bytes] | None = None
    sasl_servers: str = ""
    tls_servers: str = ""
    certificates: Certificates | None = None

    def topic(self, name: str = "t", partitions: int = 1) -> str:
        """A new topic with a name of its own."""
        topic = f"{name}-{uuid.uuid4().hex[:8]}"
        if self.mock:
            self._tell(f"topic {topic} {partitions}")
            return topic
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        for future in admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=15).values():
            future.result(15)
        return topic

    def pause(self) -> None:
        assert self.process
        stand_still(self.process)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def _tell(self, line: str) -> str:
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().strip()

    def start(self) -> Kafka:
        """Start a formatted broker (again)."""
        log = self.directory / "kafka.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                java("-Xmx512m", "-Xms256m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN",
                     f"-Djava.security.auth.login.config={self.directory}/jaas.conf",
                     "kafka.Kafka", str(self.directory / "server.properties")),
                stdout=output, stderr=output, cwd=self.directory,
            )  # fmt: skip
        wait_for_port(int(self.servers.rpartition(":")[2]), self.process, 60, log)
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()
            self.process = None

    def stop(self) -> None:
        self.kill()


def java(*arguments: str) -> list[str]:
    return [shutil.which("java") or "", "-cp", f"{JARS}/*", *arguments]


def start_kafka(directory: Path, certificates: Certificates | None = None) -> Kafka:
    """Format and start a broker in `directory`; with certificates it has a listener that asks for the client's.

    Raises RuntimeError saying what is missing.
    """
    if shutil.which("java") is None:
        raise RuntimeError("java is not installed")
    if not list(JARS.glob("kafka_2.13-4*.jar")):
        if shutil.which("mvn") is None:
            raise RuntimeError("maven is not installed")
        fetched = subprocess.run(
            ["mvn", "-q", "-B", "-f", str(ROOT / "tests/kafka/pom.xml"), "dependency:copy-dependencies",
             f"-DoutputDirectory={JARS}"], capture_output=True, timeout=300, check=False,
        )  # fmt: skip
        if fetched.returncode:
            raise RuntimeError(f"maven could not fetch Kafka: {fetched.stdout.decode()[-300:]}")
    directory.mkdir(parents=True, exist_ok=True)
    port, control, sasl, tls = free_port(), free_port(), free_port(), free_port()
    also, how = "", ""
    if certificates is not None:
        also = f",SSL://127.0.0.1:{tls}"
        key, pem, ca = (certificates.path(name).read_text() for name in ("server.key", "server.pem", "ca.pem"))
        (directory / "server-both.pem").write_text(key + pem)
        (directory / "trusted.pem").write_text(ca)
        how = (
            f"ssl.keystore.type=PEM\nssl.keystore.location={directory}/server-both.pem\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={directory}/trusted.pem\nssl.client.auth=required\n"
        )
    (directory / "server.properties").write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{control}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control},SASL_PLAINTEXT://127.0.0.1:{sasl}{also}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl}{also}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
required user_agent="correct horse";
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
required;
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
required;
log.retention.ms=-1
log.dirs={directory}/data
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=true
message.max.bytes=1000000
{how}"""
    )
    (directory / "jaas.conf").write_text("")
    formatted = subprocess.run(
        java("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c",
             str(directory / "server.properties"),
             "--add-scram", "SCRAM-SHA-256=[name=agent,password=correct horse]",
             "--add-scram", "SCRAM-SHA-512=[name=agent,password=correct horse]"),
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if formatted.returncode:
        raise RuntimeError(f"kafka format failed: {(formatted.stderr + formatted.stdout).decode()[-800:]}")
    return Kafka(
        f"127.0.0.1:{port}",
        directory=directory,
        sasl_servers=f"127.0.0.1:{sasl}",
        tls_servers=f"127.0.0.1:{tls}" if certificates is not None else "",
    ).start()


def start_mock_kafka(directory: Path) -> Kafka:
    """The broker inside librdkafka, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mock_kafka"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    words = process.stdout.readline().decode().split()
    if len(words) != 2:
        raise RuntimeError("librdkafka's broker did not start")
    return Kafka(words[1], mock=True, directory=directory, process=process)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for all tests; take topics of your own from `topic`."""
    directory = tmp_path_factory.mktemp("kafka")
    certificates = None
    if shutil.which("openssl") is not None:
        certificates = Certificates(tmp_path_factory.mktemp("kafka-certificates")).make()
    try:
        broker = start_kafka(directory, certificates)
        broker.certificates = certificates
    except RuntimeError as error:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(f"REQUIRE_BROKERS=1, but {error}")
        try:
            broker = start_mock_kafka(directory)
        except (RuntimeError, OSError) as no_mock:
            pytest.skip(f"no Kafka: {error}; {no_mock}")
    yield broker
    broker.stop()


@pytest.fixture
def real_kafka(kafka: Kafka) -> Kafka:
    """Not the mock."""
    if kafka.mock:
        missing("this test needs a real Kafka broker (java and maven)")
    return kafka
