# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory that this process has taken, of the host and of the GPU.

Of the host's, pages that are as in the file they come from (code of libraries, and weights that
were mapped) give way to others: the system counts them as available, and so do we.
"""
import threading
from pathlib import Path
from typing import Dict

import torch

MIB = 1 << 20
PERIOD = 0.05  # s between two looks


class UsedMemory:
    """Looks at what is in use, again and again, from when it is made until it is read.

    The GPU's is what it has less of, the driver's context and what torch keeps for later
    included; it is right where nobody else uses the GPU meanwhile.
    """

    def __init__(self, device: str):
        self._cuda, self._most, self._gpu = device == 'cuda', 0, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def read(self) -> Dict[str, float]:
        """Return peaks [MiB], and how much of the resident memory is pages of files.

        `in_all` is what a robot lacks whose GPU shares its memory, when it lacks most: the GPU's,
        and of the host's what is resident, but for pages of files.
        """
        self._ended.set()
        self._thread.join()
        self._look()
        files = files_resident()
        return {'resident_mib': _mib(_status()['VmHWM']), 'files_of_that_mib': _mib(files),
                **({'gpu_mib': _mib(self._gpu)} if self._cuda else {}),
                'in_all_mib': _mib(self._most - files)}

    def _watch(self) -> None:
        while not self._ended.wait(PERIOD):
            self._look()

    def _look(self) -> None:
        gpu = 0
        if self._cuda:
            free, total = torch.cuda.mem_get_info()
            gpu = total - free
        self._gpu = max(self._gpu, gpu)
        self._most = max(self._most, _status()['VmRSS'] + gpu)


def _status() -> Dict[str, int]:
    """Return the fields of /proc/self/status that are sizes [bytes]."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return {name: int(rest.split()[0]) << 10 for name, _, rest in (
        line.partition(':') for line in lines) if rest.endswith('kB')}


def files_resident() -> int:
    """Return the bytes of resident pages that are as in their files."""
    found, counts = 0, False
    for line in Path('/proc/self/smaps').read_text().splitlines():
        name, *rest = line.split(maxsplit=5)
        if not name.endswith(':'):  # a mapping begins: addresses, ..., path
            counts = len(rest) == 5 and rest[4].startswith('/') and not rest[4].startswith('/dev/')
        elif counts and name in ('Private_Clean:', 'Shared_Clean:'):
            found += int(rest[0]) << 10
    return found


def _mib(count: int) -> float:
    return round(count / MIB, 1)
