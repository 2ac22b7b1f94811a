# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory that this process has taken, of the host and of the GPU."""
from pathlib import Path
from typing import Dict

import torch

MIB = 1 << 20


class UsedMemory:
    """Begins before anything is loaded; every `look` may find a new peak of the GPU's.

    torch tells its own peak. What TVM and the driver take is what the GPU lacks beside torch's;
    it is right where nobody else uses the GPU meanwhile.
    """

    def __init__(self, device: str):
        self._cuda = device == 'cuda'
        self._others = 0
        if self._cuda:
            torch.cuda.init()
            torch.cuda.reset_peak_memory_stats()

    def look(self) -> None:
        """Note what is in use now."""
        if self._cuda:
            free, total = torch.cuda.mem_get_info()
            self._others = max(self._others, total - free - torch.cuda.memory_reserved())

    def read(self) -> Dict[str, float]:
        """Return peaks [MiB]: `resident` of the process, with the GPU's where there is one.

        `in_all` is what a robot lacks whose GPU shares its memory.
        """
        self.look()
        status = _status()
        found = {'resident_mib': _mib(status['VmHWM'])}
        if self._cuda:
            torchs = torch.cuda.max_memory_allocated()
            found.update(torch_mib=_mib(torchs), tvm_and_driver_mib=_mib(self._others),
                         gpu_mib=_mib(torchs + self._others),
                         resident_now_mib=_mib(status['VmRSS']),
                         in_all_mib=_mib(torchs + self._others + status['VmRSS']))
        else:
            found['in_all_mib'] = found['resident_mib']
        return found


def _status() -> Dict[str, int]:
    """Return the fields of /proc/self/status that are sizes [bytes]."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return {name: int(rest.split()[0]) << 10 for name, _, rest in (
        line.partition(':') for line in lines) if rest.endswith('kB')}


def _mib(count: int) -> float:
    return round(count / MIB, 1)
