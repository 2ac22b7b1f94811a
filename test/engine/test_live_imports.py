# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a process loads in order to answer: the runtime and no compiler, no training library."""
import json
import subprocess
import sys

import pytest

SCRIPT = '''
import json, sys
sys.modules.update(dict.fromkeys(['rclpy', 'sensor_msgs', 'transformers']))  # importing raises
from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.loader import load
light = sorted(sys.modules)
import threading
import numpy as np
from nanovlm_ros.types import Frame, GenerationConfig, Query

executor = MlcExecutor(load)
executor.start()
ended, answers = threading.Event(), []
query = Query('1', 'Describe the scene.', (Frame.from_rgb(np.zeros((48, 64, 3), np.uint8)),),
              json_schema='{"type": "object", "properties": {"boxes": {"type": "integer", '
              '"minimum": 0, "maximum": 9}}, "required": ["boxes"], '
              '"additionalProperties": false}',
              config=GenerationConfig(max_new_tokens=100))
executor.submit(query, lambda chunk: None, lambda answer: (answers.append(answer), ended.set()))
assert ended.wait(60)
executor.shutdown()
answer, = answers
print(json.dumps({'light': light, 'all': sorted(sys.modules), 'json': answer.json,
                  'error': answer.error_message}))
'''


@pytest.fixture(scope='module')
def process():
    """Return what a process said that loaded the demo model and answered one question."""
    done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_engine_answers_without_ros_and_without_transformers(process):
    assert process['error'] == ''
    assert 0 <= json.loads(process['json'])['boxes'] <= 9


@pytest.mark.parametrize('name', ['torch', 'tvm', 'cv2', 'tokenizers', 'safetensors'])
def test_heavy_libraries_are_loaded_with_the_model_not_with_the_engine(process, name):
    assert name not in process['light']


@pytest.mark.parametrize('name', ['tvm.relax', 'torch._dynamo', 'scipy',
                                  'nanovlm_ros.mlc.decoder', 'nanovlm_ros.mlc.compile'])
def test_the_compiler_is_never_loaded(process, name):
    assert name not in process['all']
