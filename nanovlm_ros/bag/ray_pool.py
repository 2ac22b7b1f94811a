# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Workers as actors of a Ray cluster; Ray is the optional extra `ray`.

Every machine of the cluster needs this package, the model and the bags at the same paths.
"""
import logging
import os
from typing import Dict, List, Optional, Sequence, Tuple

from nanovlm_ros.bag.engine import EngineSpec
from nanovlm_ros.bag.part import Part
from nanovlm_ros.bag.reader import bad
from nanovlm_ros.bag.workers import Desk, Done, thread_settings

LOG = logging.getLogger(__name__)
LOCAL = 'local'


class RayPool:
    """As LocalPool, of actors; the address 'local' starts a Ray of its own here."""

    def __init__(self, spec: EngineSpec, config: str, size: int, address: str):
        self._spec, self._config, self.size = spec, config, size
        self._address = address
        self._idle: list = []
        self._busy: Dict[object, tuple] = {}  # reference of a result -> (actor, number)

    def __enter__(self) -> 'RayPool':
        try:
            import ray
        except ImportError as error:
            raise bad('--ray needs Ray, which is not installed; '
                      '`pip install "nanovlm_ros[ray]"`, or use --workers.') from error
        self._ray = ray
        options = {'num_cpus': max(self.size, os.cpu_count() or 1), 'include_dashboard': False} \
            if self._address == LOCAL else {'address': self._address}
        try:
            ray.init(log_to_driver=False, logging_level='warning', **options)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            raise bad(f'There is no Ray at {self._address!r}: {error}. Start it by `ray start '
                      "--head`, or give 'local'.") from error
        nodes = [int(node['Resources'].get('CPU', 0)) for node in ray.nodes() if node['Alive']]
        self._cores = cores_each(nodes, self.size)
        if not self._cores:
            self.__exit__()
            raise bad(f'The Ray at {self._address!r} has {sum(nodes)} CPUs, and each of '
                      f'{self.size} workers needs one; give --workers {max(1, sum(nodes))} or '
                      'fewer, or start Ray on more machines.')
        self._actor = ray.remote(num_cpus=self._cores, max_restarts=0)(Desk)
        self._idle = [self._start() for _ in range(self.size)]
        return self

    def __exit__(self, *_) -> None:
        self._ray.shutdown()

    def free(self) -> bool:
        """Tell whether a worker waits for work."""
        return bool(self._idle)

    def give(self, number: int, part: Part) -> None:
        """Give a part to a worker that waits."""
        actor = self._idle.pop()
        self._busy[actor.do.remote(part)] = actor, number

    def wait(self) -> List[Tuple[int, Optional[Done]]]:
        """Wait for news: (number, what was done), None where the worker died."""
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        news = []
        for reference in ready:
            actor, number = self._busy.pop(reference)
            try:
                done = self._ray.get(reference)
                self._idle.append(actor)
            except self._ray.exceptions.RayError as error:
                LOG.warning('A worker died: %s', error)
                done = None
                self._ray.kill(actor)  # it may live on; its cores are for the next
                self._idle.append(self._start())
            news.append((number, done))
        return news

    def _start(self):
        settings = {'env_vars': thread_settings(self._cores)}
        return self._actor.options(runtime_env=settings).remote(self._spec, self._config)


def cores_each(nodes: Sequence[int], size: int) -> int:
    """Return the most cores that each of `size` workers can have on its machine; 0: too few.

    `nodes` are the cores of each machine; a worker is on one of them.
    """
    return next((each for each in range(max(nodes, default=0), 0, -1)
                 if sum(cores // each for cores in nodes) >= size), 0)
