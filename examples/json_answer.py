# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Get an answer as JSON that a schema accepts, ready for json.loads.

    python examples/json_answer.py [IMAGE]
"""
import json
import sys
from pathlib import Path

import nanovlm_ros
from nanovlm_ros.types import JsonStatus

PICTURES = Path(__file__).parent / 'pictures'
SCHEMA = {
    'type': 'object',
    'properties': {
        'sign': {'type': ['string', 'null']},
        'wet_floor': {'type': 'boolean'},
        'cones': {'type': 'integer', 'minimum': 0},
    },
    'required': ['sign', 'wet_floor', 'cones'],
    'additionalProperties': False,
}

image = sys.argv[1] if sys.argv[1:] else PICTURES / 'sign.jpg'
with nanovlm_ros.load() as model:
    answer = model.ask([image, 'Report the scene.'], json_schema=SCHEMA)
if answer.json_status != JsonStatus.VALID:  # only where it was cut short
    sys.exit(answer.error_message)
print(json.dumps(json.loads(answer.json), indent=2))
