"""`python -m agent ...` as a process of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).parents[2]


class AgentProcess:
    """A running agent; `async with AgentProcess("run", "-c", file) as agent`. Its log is in `lines`."""

    def __init__(self, *arguments, env=None):
        self.arguments = [str(argument) for argument in arguments]
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.lines = []
        self._seen = asyncio.Condition()

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent", *self.arguments, cwd=ROOT, env=self.environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._readers = [
            asyncio.create_task(self._read(stream)) for stream in (self.process.stdout, self.process.stderr)
        ]
        return self

    async def _read(self, stream):
        async for line in stream:
            async with self._seen:
                self.lines.append(line.decode().rstrip("\n"))
                self._seen.notify_all()

    async def says(self, text, seconds=20, times=1):
        """Wait until a line (or that many) contains the text; returns the last of them."""

        def found():
            return next(islice((line for line in self.lines if text in line), times - 1, None), None)

        try:
            async with asyncio.timeout(seconds), self._seen:
                return await self._seen.wait_for(found)
        except TimeoutError:
            raise AssertionError(f"no {text!r} in {seconds} s; it said:\n" + "\n".join(self.lines[-40:])) from None

    async def stop(self, number=signal.SIGTERM, seconds=15):
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return await self.wait(seconds)

    async def wait(self, seconds=30):
        """Wait for the end; returns the exit code."""
        code = await asyncio.wait_for(self.process.wait(), seconds)
        await asyncio.wait(self._readers, timeout=5)
        return code

    async def __aexit__(self, *exc):
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        for reader in self._readers:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
