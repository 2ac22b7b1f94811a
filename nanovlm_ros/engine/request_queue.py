# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What waits for the executor: a bounded queue of queries and one live tick."""
import threading
from collections import deque
from typing import Callable, Deque, List, Optional, Sequence

from nanovlm_ros.engine.request import Request
from nanovlm_ros.types import ErrorCode, NanoVlmError


class RequestQueue:
    """Queries in order of arrival, before the prompts of at most one live tick."""

    def __init__(self, size: int):
        self._size = size
        self._queries: Deque[Request] = deque()
        self._tick: Deque[Request] = deque()
        self._lock = threading.Lock()
        self.live_missed = 0

    def __len__(self) -> int:
        return len(self._queries) + len(self._tick)

    def put(self, request: Request) -> None:
        """Add a query. Raises QUEUE_FULL."""
        with self._lock:
            if len(self._queries) >= self._size:
                raise NanoVlmError(
                    ErrorCode.QUEUE_FULL,
                    f'{self._size} requests are waiting already; ask later, or raise queue_size.')
            self._queries.append(request)

    def put_tick(self, requests: Sequence[Request]) -> List[Request]:
        """Put the prompts of a live tick; return what still waited of the one before."""
        with self._lock:
            replaced, self._tick = list(self._tick), deque(requests)
            self.live_missed += bool(replaced)
            return replaced

    def get(self, skip_history: bool, queries_only: bool = False) -> Optional[Request]:
        """Take the next request.

        With `skip_history` it is not part of the conversation, with `queries_only` not live.
        """
        with self._lock:
            for waiting in [self._queries] + [self._tick] * (not queries_only):
                for request in waiting:
                    if not (skip_history and request.query.keep_history):
                        waiting.remove(request)
                        return request
            return None

    def remove(self, condition: Callable[[Request], bool]) -> List[Request]:
        """Take out every request that meets a condition."""
        with self._lock:
            removed = [r for r in [*self._queries, *self._tick] if condition(r)]
            self._queries = deque(r for r in self._queries if r not in removed)
            self._tick = deque(r for r in self._tick if r not in removed)
            return removed

    def drain(self) -> List[Request]:
        """Take out everything."""
        return self.remove(lambda request: True)
