# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What waits for the executor: a bounded queue of queries and one live tick."""
import threading
from collections import deque
from typing import Callable, Deque, List, Optional

from nanovlm_ros.engine.request import Request
from nanovlm_ros.types import ErrorCode, NanoVlmError


class RequestQueue:
    """Queries in order of arrival, before at most one live tick."""

    def __init__(self, size: int):
        self._size = size
        self._queries: Deque[Request] = deque()
        self._live: Optional[Request] = None
        self._lock = threading.Lock()
        self.live_missed = 0

    def __len__(self) -> int:
        return len(self._queries) + (self._live is not None)

    def put(self, request: Request) -> Optional[Request]:
        """Add a request; return the live tick that it replaced. Raises QUEUE_FULL."""
        with self._lock:
            if request.live:
                replaced, self._live = self._live, request
                self.live_missed += replaced is not None
                return replaced
            if len(self._queries) >= self._size:
                raise NanoVlmError(
                    ErrorCode.QUEUE_FULL,
                    f'{self._size} requests are waiting already; ask later, or raise queue_size.')
            self._queries.append(request)
            return None

    def get(self, skip_history: bool) -> Optional[Request]:
        """Take the next request; with `skip_history` one that is not part of the conversation."""
        with self._lock:
            for request in self._queries:
                if not (skip_history and request.query.keep_history):
                    self._queries.remove(request)
                    return request
            live = self._live
            if live is None or (skip_history and live.query.keep_history):
                return None
            self._live = None
            return live

    def remove(self, condition: Callable[[Request], bool]) -> List[Request]:
        """Take out every request that meets a condition."""
        with self._lock:
            removed = [r for r in [*self._queries, self._live] if r is not None and condition(r)]
            for request in removed:
                if request is self._live:
                    self._live = None
                else:
                    self._queries.remove(request)
            return removed

    def drain(self) -> List[Request]:
        """Take out everything."""
        return self.remove(lambda request: True)
