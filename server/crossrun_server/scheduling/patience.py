"""Requests of one stream, which wait for each other where others would be refused.

A queue that has a size of its own refuses them all the same, as Triton's does.
"""

import asyncio
from collections.abc import Awaitable, Callable

from crossrun_server.errors import WaitTooLong
from crossrun_server.scheduling.batching import Reply


class Patience:
    """Lets requests in one by one, if together they are too many for a queue."""

    def __init__(self) -> None:
        self._let_in = 0
        self._ended = asyncio.Condition()

    async def call(self, submit: Callable[[], Awaitable[Reply]]) -> Reply:
        """Submit a request; after WaitTooLong again, once another of the stream has ended.

        Raises:
            WaitTooLong: no other is let in, so the queue is full of what others have sent.
        """
        try:
            while True:
                self._let_in += 1
                try:
                    return await submit()
                except WaitTooLong:
                    if self._let_in == 1:
                        raise
                finally:
                    self._let_in -= 1
                async with self._ended:
                    await self._ended.wait()
        finally:
            async with self._ended:
                self._ended.notify()
