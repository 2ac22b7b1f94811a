# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was measured on: processor, GPU, versions, and how fast its memory is."""
import os
import platform
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict

import torch

from nanovlm_ros.bench.samples import Clock, take_turns

PACKAGES = ('torch', 'apache-tvm', 'transformers', 'llama-cpp-python', 'numpy')
COPIED = 1 << 28  # bytes: far more than any cache holds


def describe(device: str) -> Dict[str, Any]:
    """Return machine, versions, date and command line."""
    return {
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        'command': command_line(),
        'machine': {**_processor(), **(_gpu() if device == 'cuda' else {})},
        'versions': {'python': platform.python_version(), **_versions()},
        'threads': {'tvm': tvm_threads(), 'torch': torch.get_num_threads()},
    }


def command_line() -> str:
    """Return what was typed."""
    return ' '.join(['nanovlm', *sys.argv[1:]])


def tvm_threads() -> int:
    """Return how many threads TVM's kernels use."""
    import tvm

    return int(tvm.get_global_func('runtime.NumThreads')())


def bandwidth(device: torch.device) -> float:
    """Return bytes/s of the memory: of a copy, read and written, or of a sum, whichever is more."""
    data = torch.ones(COPIED // 4, device=device)
    copy, clock = torch.empty_like(data), Clock(device)
    runs = take_turns({'copy': lambda: clock(lambda: copy.copy_(data)),
                       'sum': lambda: clock(data.sum)}, 10)
    return max(2 * COPIED / min(runs['copy']), COPIED / min(runs['sum']))


def _processor() -> Dict[str, Any]:
    names = {line.split(':', 1)[1].strip() for line in _lines('/proc/cpuinfo')
             if line.split(':')[0].strip() in ('model name', 'Model')}
    return {'cpu': ', '.join(sorted(names)) or platform.machine(),
            'cores': len(os.sched_getaffinity(0))}


def _gpu() -> Dict[str, Any]:
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {'gpu': properties.name, 'driver': _driver(), 'cuda': torch.version.cuda,
            'gpu_memory_mib': properties.total_memory >> 20}


def _driver() -> str:
    if not shutil.which('nvidia-smi'):
        return ''
    done = subprocess.run(['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader'],
                          capture_output=True, text=True, check=False)
    return done.stdout.split('\n')[0].strip()


def _versions() -> Dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _lines(path: str):
    return Path(path).read_text().splitlines() if Path(path).is_file() else []
