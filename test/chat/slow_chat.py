# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm` with a model that counts slowly, for tests in a process of its own."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes

from fakes import FakeModel  # noqa: E402

from nanovlm_ros.cli import main, model_arguments  # noqa: E402


def reply(turns):
    """Count to 200 when asked to, else tell the question and the number of turns."""
    user = turns[-1].user
    return ' ' + ' '.join(map(str, range(200))) if 'count' in user else f' <{user}|{len(turns)}>'


if __name__ == '__main__':
    model_arguments.load_model = lambda arguments, **options: FakeModel(reply, token_seconds=0.02)
    sys.exit(main.main(sys.argv[1:]))
