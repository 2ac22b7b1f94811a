# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A language model that somebody converted to MLC's format, as the one to run."""
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict

from nanovlm_ros.mlc.chat_config import folder_quantization, hugging_face_config
from nanovlm_ros.mlc.mlc_folder import MlcFolder
from nanovlm_ros.mlc.packing import Quantization
from nanovlm_ros.mlc.repack import PackedWeights
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError, Progress

LOG = logging.getLogger(__name__)
LIBRARIES = ('.so', '.dylib', '.dll', '.tar', '.wasm', '.o')
FOREIGN = 'is a model library that belongs to another build of TVM; it cannot run here.'


@dataclass(frozen=True)
class MlcWeights:
    """The weights, and what their folder says of the model."""

    folder: MlcFolder
    llm: Dict[str, Any]         # in the words of a Hugging Face config.json
    quantization: Quantization

    def packed(self, shape: DecoderShape) -> PackedWeights:
        """Return the parameters as our library takes them.

        Raises MODEL_ERROR if one is missing or does not fit `shape`.
        """
        return PackedWeights(self.folder, shape, self.llm['tie_word_embeddings'])


def load_mlc_folder(path: Path, progress: Progress = lambda stage, done, total: None
                    ) -> MlcWeights:
    """Open a folder of MLC weights; every shard is compared with its MD5.

    A library that MLC compiled is refused where it is given as `path`. One that lies in the
    folder is not used, and a warning says so. Raises MODEL_ERROR.
    """
    if path.suffix in LIBRARIES:
        raise _refused(f'{path} {FOREIGN} Give the folder of the weights alone: nanovlm_ros '
                       'compiles a library of its own for them.')
    if not path.is_dir():
        raise _refused(f'The folder of MLC weights {path} does not exist.')
    folder = MlcFolder(path)
    found = MlcWeights(folder, hugging_face_config(folder), folder_quantization(folder))
    for file in sorted(path.iterdir()):
        if file.suffix in LIBRARIES:
            LOG.warning('%s %s It is left alone, and nanovlm_ros compiles its own.',
                        file, FOREIGN)
    folder.verify(lambda done, total: progress('verify', done, total))
    return found


def _refused(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.MODEL_ERROR, message)
