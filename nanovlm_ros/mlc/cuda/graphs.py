# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which recordings a model keeps."""
from collections import OrderedDict
from typing import Callable, Dict, Optional, Tuple
from weakref import WeakSet

import torch

from nanovlm_ros.mlc.cuda.decode_graph import DecodeGraph
from nanovlm_ros.mlc.cuda.fill_graph import FillGraph, Make
from nanovlm_ros.mlc.cuda.recording import Recorder

FILLS = 8        # recordings of batches of rows that are kept
PATIENCE = 64    # fills for which a recording that is not used keeps its place, and a make that
                 # was seen once is remembered

_alive: 'WeakSet[Graphs]' = WeakSet()


def give_back() -> None:
    """Free what TVM and torch keep for later, and all recordings, which write to it."""
    import tvm_ffi

    for graphs in list(_alive):
        graphs.forget()
    torch.cuda.synchronize()
    tvm_ffi.get_global_func('vm.builtin.memory_manager.clear')()
    torch.cuda.empty_cache()


class Graphs:
    """Recordings of decode steps, all of them, and of the makes of batches that come often.

    To record takes longer than to launch kernel by kernel: a make is recorded when it comes for
    the second time, and takes the place of another only if that has not come for long.
    """

    def __init__(self, make_recorder: Callable[[], Recorder] = Recorder):
        self._make_recorder = make_recorder
        self.forget()
        _alive.add(self)

    def forget(self) -> None:
        """Drop all; what is recorded next has memory of its own."""
        self.recorder = self._make_recorder()
        self.decodes: Dict[Tuple[int, int], DecodeGraph] = {}
        self._fills: 'OrderedDict[Make, FillGraph]' = OrderedDict()
        self._last: 'OrderedDict[Make, int]' = OrderedDict()  # fill at which a make came last
        self._count = 0  # fills

    def fill(self, make: Make) -> Optional[FillGraph]:
        """Count a batch of this make; return its recording, if there is one."""
        self._count += 1
        if make not in self._fills:
            return None
        self._fills.move_to_end(make)
        self._came(make)
        return self._fills[make]

    def worth_recording(self, make: Make) -> bool:
        """Tell whether a make that has no recording should get one now."""
        again = make in self._last
        self._came(make)
        if len(self._fills) < FILLS:
            return again
        oldest = next(iter(self._fills))
        return again and self._count - self._last.get(oldest, 0) > PATIENCE

    def keep(self, make: Make, graph: FillGraph) -> None:
        """Take a recording in; the one that was not used for longest gives way."""
        self._fills[make] = graph
        while len(self._fills) > FILLS:
            self._fills.popitem(last=False)

    def _came(self, make: Make) -> None:
        self._last[make] = self._count
        self._last.move_to_end(make)
        while self._count - next(iter(self._last.values())) > PATIENCE + FILLS:
            self._last.popitem(last=False)
