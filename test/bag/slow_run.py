# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`python slow_run.py BAG QUESTIONS OUT [WORKERS]`: a run with a slow fake engine."""
import sys
from pathlib import Path

from recordings import FakeSpec

from nanovlm_ros.bag import run
from nanovlm_ros.types import NanoVlmError

if __name__ == '__main__':
    bag, questions, out, *workers = sys.argv[1:]
    run._finish = lambda folder: 0
    options = run.Options([Path(bag)], Path(questions), Path(out), FakeSpec(token_seconds=0.002),
                          workers=int(*workers or '1'))
    try:
        code = run.run(options)
    except NanoVlmError as error:
        print(f'nanovlm: {error.message}', file=sys.stderr)
        code = 1
    sys.exit(code)
