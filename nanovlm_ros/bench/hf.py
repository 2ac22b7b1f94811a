# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The peer `hf`: transformers with the same dimensions and random weights, SDPA attention."""
import gc
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List

import torch

from nanovlm_ros.bench.contender import STEPS, Contender, steps_of
from nanovlm_ros.bench.random_weights import SPREAD
from nanovlm_ros.bench.samples import Clock, Run
from nanovlm_ros.engine.memory import available, size
from nanovlm_ros.mlc.shape import LAYER_NORM
from nanovlm_ros.models.checkpoint import NORMS
from nanovlm_ros.types import ErrorCode, NanoVlmError

WARM_UPS = 4   # of a compiled step: it is compiled, then recorded
LINES = 64     # to a multiple of which a static cache is as long as it must be
COPIED = ('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
          'num_key_value_heads', 'vocab_size', 'max_position_embeddings', 'rope_theta')


def empty_reference(llm: Dict[str, Any], device: str, dtype: torch.dtype):
    """Return transformers' module of a language model's config, its weights not set.

    Raises OUT_OF_MEMORY where the device does not have the memory for them.
    """
    import transformers

    stable = NORMS[llm['model_type']] == LAYER_NORM
    common = {key: llm[key] for key in COPIED if key in llm}
    common.update(tie_word_embeddings=False, attn_implementation='sdpa')
    if stable:
        config = transformers.StableLmConfig(
            layer_norm_eps=llm.get('layer_norm_eps') or llm['norm_eps'], use_qkv_bias=False,
            partial_rotary_factor=llm.get('rope_pct', 0.25), **common)
    else:
        config = transformers.LlamaConfig(rms_norm_eps=llm['rms_norm_eps'], **common)
    kind = transformers.StableLmForCausalLM if stable else transformers.LlamaForCausalLM
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device('meta'):  # no time for random numbers that are overwritten
            model = kind(config)
        _check_memory(model, device)
        model = model.to_empty(device=device)
    finally:
        torch.set_default_dtype(before)
    compute_rotations(model)
    return model.eval().requires_grad_(False)


def compute_rotations(model) -> None:
    """Set what no checkpoint holds: frequencies, which stay float32 whatever the weights are."""
    kind = type(model.model.rotary_emb)
    model.model.rotary_emb = kind(config=model.config).to(model.device)


def _check_memory(model, device: str) -> None:
    wanted = sum(p.nbytes for p in model.parameters())
    free = available() if device == 'cpu' else torch.cuda.mem_get_info()[0]
    if free is not None and wanted > free:
        raise NanoVlmError(
            ErrorCode.OUT_OF_MEMORY,
            f'needs {size(wanted)} for weights alone, and {size(free)} are free.')


def random_reference(llm: Dict[str, Any], device: str, dtype: torch.dtype):
    """Return transformers' module with random weights."""
    model = empty_reference(llm, device, dtype)
    pool = (SPREAD * torch.randn(1 << 22)).to(device, dtype)
    for parameter in model.parameters():
        flat = parameter.view(-1)
        if parameter.ndim == 1:  # of a norm
            flat.fill_(1)
            continue
        for start in range(0, len(flat), len(pool)):
            part = flat[start:start + len(pool)]
            part.copy_(pool[:len(part)])
    return model


def contenders(llm: Dict[str, Any], device: str, progress) -> List[Contender]:
    """Return transformers as users run it: eager in the types of the device, and compiled."""
    dtypes = (torch.bfloat16,) if device == 'cuda' else (torch.float32, torch.bfloat16)
    made: List[Contender] = []
    for dtype in dtypes:
        name = f'hf {str(dtype)[6:]}'
        try:
            made.append(Eager(name, random_reference(llm, device, dtype)))
        except NanoVlmError as error:
            progress(f'{name} is left out: it {error.message}')
    if device == 'cuda' and made:
        made.append(Compiled(made[0].model))
    return made


class Eager:
    """transformers as it is, with the cache that grows."""

    def __init__(self, name: str, model):
        self.name, self.model = name, model
        self._clock = Clock(model.device)

    def close(self) -> None:
        self.model = None
        gc.collect()

    @contextmanager
    def prefill(self, rows: int) -> Iterator[Run]:
        x = _rows(self.model, rows)
        yield torch.no_grad()(lambda: self._clock(lambda: self.model(
            inputs_embeds=x, use_cache=True, logits_to_keep=1)))

    @contextmanager
    def decode(self, context: int) -> Iterator[Run]:
        with torch.no_grad():
            cache = self.model(inputs_embeds=_rows(self.model, context), use_cache=True,
                               logits_to_keep=1).past_key_values
        x = _rows(self.model, 1)

        def steps() -> None:
            for _ in range(count):
                self.model(inputs_embeds=x, past_key_values=cache, use_cache=True)

        @torch.no_grad()
        def run() -> float:
            seconds = self._clock(steps) / count
            cache.crop(-count)
            return seconds
        count = 1
        run()
        count = steps_of(run())
        yield run


class Compiled:
    """The decode step of transformers with a static cache, as torch.compile's CUDA graph."""

    name = 'hf compiled'

    def __init__(self, model):
        self.model, self._clock = model, Clock(model.device)

    def close(self) -> None:
        self.model = None
        gc.collect()

    @contextmanager
    def decode(self, context: int) -> Iterator[Run]:
        model, length = self.model, -(-(context + STEPS + 1) // LINES) * LINES
        cache = _static_cache(model, length)
        places = torch.arange(length, device=model.device)
        with torch.no_grad():
            model(inputs_embeds=_rows(model, context), past_key_values=cache, use_cache=True,
                  cache_position=places[:context], position_ids=places[None, :context],
                  logits_to_keep=1)
        step = torch.compile(
            lambda x, place: model(
                inputs_embeds=x, past_key_values=cache, use_cache=True, cache_position=place,
                position_ids=place[None]).logits, mode='reduce-overhead')
        x = _rows(model, 1)

        def steps() -> None:
            place = places[context:context + 1].clone()
            for _ in range(count):
                step(x, place)
                place += 1

        @torch.no_grad()
        def run() -> float:
            seconds = self._clock(steps) / count
            _rewind(cache, context)
            return seconds
        count = 1
        for _ in range(WARM_UPS):
            run()
        count = STEPS
        yield run
        torch._dynamo.reset()


def _rows(model, count: int) -> torch.Tensor:
    return torch.randn(1, count, model.config.hidden_size, device=model.device,
                       dtype=model.dtype)


def _static_cache(model, length: int):
    from transformers import StaticCache

    try:
        return StaticCache(config=model.config, max_cache_len=length)
    except TypeError:  # transformers 4
        return StaticCache(config=model.config, max_batch_size=1, max_cache_len=length,
                           device=model.device, dtype=model.dtype)


def _rewind(cache, rows: int) -> None:
    """Newer releases count the rows in the cache, older ones are told where to write."""
    for layer in getattr(cache, 'layers', ()):
        if hasattr(layer, 'cumulative_length'):
            layer.cumulative_length.fill_(rows)
