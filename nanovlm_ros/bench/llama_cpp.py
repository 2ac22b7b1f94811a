# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The peer `llama.cpp`: llama-cpp-python with a random Q4_0 file of the same dimensions."""
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, Iterator, List

import numpy as np

from nanovlm_ros.bench.contender import STEPS, steps_of
from nanovlm_ros.bench.samples import Clock, Run
from nanovlm_ros.mlc.shape import RMS_NORM
from nanovlm_ros.models.checkpoint import NORMS
from nanovlm_ros.types import ErrorCode, NanoVlmError

BATCH = 512        # rows that llama.cpp fills at once; its own default
BLOCK = 32         # numbers that share a scale in Q4_0
BLOCK_BYTES = 18   # a float16 scale, then two numbers a byte
SCALE = 0.005
BYTES = 256        # tokens of the vocabulary that stand for bytes


def check_installed() -> None:
    """Raise INVALID_REQUEST with what to install where something is missing."""
    try:
        import gguf  # noqa: F401
        import llama_cpp  # noqa: F401
    except ImportError as error:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'`--against llama.cpp` needs llama-cpp-python and gguf ({error}): '
            '`pip install llama-cpp-python gguf`, which compiles llama.cpp for this '
            'processor.') from error


def check_shape(llm: Dict[str, Any]) -> None:
    """Raise INVALID_REQUEST for a language model that is no Llama."""
    if NORMS[llm['model_type']] != RMS_NORM:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            '`--against llama.cpp` compares models of the Llama family; this one has '
            f'model_type {llm["model_type"]!r}.')


class LlamaCpp:
    """A language model that llama.cpp runs on the CPU."""

    name = 'llama.cpp'

    def __init__(self, llm: Dict[str, Any], context: int, threads: int, device):
        """`device` is where the others run: the clock waits for it."""
        check_installed()
        check_shape(llm)
        import llama_cpp

        self._random, self._vocab = np.random.default_rng(0), llm['vocab_size']
        self._clock = Clock(device)
        with TemporaryDirectory(prefix='nanovlm_') as folder:
            path = Path(folder) / 'random.gguf'
            write_gguf(path, llm)
            # The file is mapped: it stays as long as the model does, without its name.
            self._llama = llama_cpp.Llama(
                str(path), n_ctx=context + STEPS, n_threads=threads, n_threads_batch=threads,
                n_batch=BATCH, n_ubatch=BATCH, verbose=False)

    def close(self) -> None:
        self._llama.close()

    @contextmanager
    def prefill(self, rows: int) -> Iterator[Run]:
        tokens = self._tokens(rows)

        def run() -> float:
            self._llama.reset()
            return self._clock(lambda: self._llama.eval(tokens))
        yield run

    @contextmanager
    def decode(self, context: int) -> Iterator[Run]:
        token = self._tokens(1)
        self._llama.reset()
        self._llama.eval(self._tokens(context))

        def steps() -> None:
            for _ in range(count):
                self._llama.eval(token)

        def run() -> float:
            seconds = self._clock(steps) / count
            self._llama.n_tokens = context  # what follows is overwritten
            return seconds
        count = 1
        run()
        count = steps_of(run())
        yield run

    def _tokens(self, count: int) -> List[int]:
        return self._random.integers(BYTES + 3, self._vocab, count).tolist()


def write_gguf(path: Path, llm: Dict[str, Any]) -> None:
    """Write a Llama with random Q4_0 weights (format: ggml's docs/gguf.md)."""
    import gguf

    hidden, heads = llm['hidden_size'], llm['num_attention_heads']
    keys, wide = llm['num_key_value_heads'], llm['intermediate_size']
    head_dim = llm.get('head_dim') or hidden // heads
    writer = gguf.GGUFWriter(str(path), 'llama')
    for set_value, value in (
            (writer.add_context_length, llm['max_position_embeddings']),
            (writer.add_embedding_length, hidden), (writer.add_vocab_size, llm['vocab_size']),
            (writer.add_block_count, llm['num_hidden_layers']),
            (writer.add_feed_forward_length, wide), (writer.add_head_count, heads),
            (writer.add_head_count_kv, keys), (writer.add_key_length, head_dim),
            (writer.add_value_length, head_dim), (writer.add_rope_dimension_count, head_dim),
            (writer.add_layer_norm_rms_eps, llm['rms_norm_eps']),
            (writer.add_rope_freq_base, llm.get('rope_theta', 10000.0)),
            (writer.add_file_type, int(gguf.LlamaFileType.MOSTLY_Q4_0))):
        set_value(value)
    _add_vocabulary(writer, llm['vocab_size'])
    matrices = {'token_embd': (llm['vocab_size'], hidden), 'output': (llm['vocab_size'], hidden)}
    norms = ['output_norm']
    for i in range(llm['num_hidden_layers']):
        norms += [f'blk.{i}.attn_norm', f'blk.{i}.ffn_norm']
        matrices.update({f'blk.{i}.{name}': size for name, size in {
            'attn_q': (heads * head_dim, hidden), 'attn_k': (keys * head_dim, hidden),
            'attn_v': (keys * head_dim, hidden), 'attn_output': (hidden, heads * head_dim),
            'ffn_gate': (wide, hidden), 'ffn_up': (wide, hidden),
            'ffn_down': (hidden, wide)}.items()})
    for name in norms:
        writer.add_tensor(f'{name}.weight', np.ones(hidden, np.float32))
    random = np.random.default_rng(0)
    for name, (rows, columns) in matrices.items():
        writer.add_tensor(f'{name}.weight', _q4_0(random, rows, columns),
                          raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer, size: int) -> None:
    """Add a SentencePiece vocabulary of bytes and words without a meaning."""
    normal, control, unknown, byte = 1, 3, 2, 6  # llama.cpp's kinds of token
    words = ['<unk>', '<s>', '</s>', *(f'<0x{i:02X}>' for i in range(BYTES))]
    kinds = [unknown, control, control] + [byte] * BYTES
    words += [f'word{i}' for i in range(len(words), size)]
    writer.add_tokenizer_model('llama')
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * size)
    writer.add_token_types(kinds + [normal] * (size - len(kinds)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def _q4_0(random, rows: int, columns: int) -> np.ndarray:
    """Return a matrix as its bytes, uint8 (rows, columns / 32 * 18)."""
    blocks = rows * columns // BLOCK
    out = np.empty((blocks, BLOCK_BYTES), np.uint8)
    out[:, :2] = np.frombuffer(np.float16(SCALE).tobytes(), np.uint8)
    out[:, 2:] = random.integers(0, 256, (blocks, BLOCK_BYTES - 2), np.uint8)
    return out.reshape(rows, columns // BLOCK * BLOCK_BYTES)
