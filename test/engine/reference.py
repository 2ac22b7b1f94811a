# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What each family should compute, by transformers, sentencepiece and tokenizers alone.

Prompts are put together as LLaVA and VILA do it: one string, cut at `<image>`, each chunk
tokenised on its own.
"""
import numpy as np
import sentencepiece
import torch
from families import PINPOINTS, SIGLIP_SIZE, SIZE, Family, Parts
from tokenizer_files import llama_3_json, neox_json, sentencepiece_model
from tokenizers import Tokenizer
from transformers import (
    LlavaConfig, LlavaForConditionalGeneration, LlavaNextConfig,
    LlavaNextForConditionalGeneration)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

IMAGE = -1         # stands for the rows of an image among token ids
PLACEHOLDER = 0    # transformers' token for it: one that no prompt has
SQUARE = {'size': {'shortest_edge': SIZE}, 'crop_size': {'height': SIZE, 'width': SIZE}}
VICUNA = ('A chat between a curious user and an artificial intelligence assistant. The assistant '
          "gives helpful, detailed, and polite answers to the user's questions.")
LLAMA_3 = ('You are a helpful language and vision assistant. You are able to understand the visual '
           'content that the user provides, and assist the user with a variety of tasks using '
           'natural language.')
OBSIDIAN = ('A conversation between a user and an LLM-based AI assistant name StableCapybara. The '
            'assistant gives helpful and honest answers.')


def prompt_text(kind, turns):
    """The prompt of (question, images, answer or None), as a string."""
    said = [('<image>\n' * images + question, answer) for question, images, answer in turns]
    if kind == 'llama':
        return f'{VICUNA} ' + ''.join(
            f'USER: {question} ASSISTANT:' + (f' {answer}</s>' if answer else '')
            for question, answer in said)
    if kind == 'llama_3':
        def part(role, text):
            return f'<|start_header_id|>{role}<|end_header_id|>\n\n{text}'
        return '<|begin_of_text|>' + part('system', f'{LLAMA_3}<|eot_id|>') + ''.join(
            part('user', f'{question}<|eot_id|>')
            + part('assistant', f'{answer}<|eot_id|>' if answer else '')
            for question, answer in said)
    return f'<|im_start|>system\n{OBSIDIAN}###' + ''.join(
        f'<|im_start|>user\n: {question}###<|im_start|>assistant\n:'
        + (f' {answer}###' if answer else '') for question, answer in said)


class Reference:
    """A family's modules, put together by transformers."""

    def __init__(self, family: Family, parts: Parts):
        self.family, self.parts = family, parts
        self.whole = None
        if family.clip and family.kind == 'llama':
            self.whole = (_llava_next if self._tiled else _llava)(parts)

    @property
    def _tiled(self) -> bool:
        return 'image_grid_pinpoints' in self.family.config

    def ids(self, turns):
        """Token ids of a prompt, IMAGE for each image."""
        chunks = prompt_text(self.family.kind, turns).split('<image>')
        if self.family.kind == 'llama':
            legacy = self.family.name == 'VILA-2.7b'
            model = sentencepiece.SentencePieceProcessor(
                model_proto=sentencepiece_model())
            made = [_sentencepiece(model, chunk, legacy) for chunk in chunks]
            made[0].insert(0, model.bos_id())
        else:
            made = [Tokenizer.from_str(
                llama_3_json() if self.family.kind == 'llama_3' else neox_json()
            ).encode(chunk, add_special_tokens=False).ids for chunk in chunks]
        return sum(([IMAGE, *chunk] for chunk in made[1:]), made[0])

    def pixels(self, rgb):
        """What transformers' processors make of a picture."""
        if not self.family.clip:
            process = SiglipImageProcessorPil(size={'height': SIGLIP_SIZE, 'width': SIGLIP_SIZE})
        elif self._tiled:
            process = LlavaNextImageProcessorPil(
                **SQUARE, image_grid_pinpoints=self.whole.config.image_grid_pinpoints)
        elif self.family.config['image_aspect_ratio'] == 'pad':
            process = LlavaImageProcessorPil(**SQUARE, do_pad=True)
        else:
            process = CLIPImageProcessorPil(
                size={'height': SIZE, 'width': SIZE}, do_center_crop=False)
        return dict(process(rgb, return_tensors='pt'))

    @torch.no_grad()
    def rows(self, rgb):
        """Rows (n, hidden) of a picture."""
        if self.whole is not None:
            return self.whole.get_image_features(**self.pixels(rgb)).pooler_output[0]
        hidden = self.parts.tower(self.pixels(rgb)['pixel_values'],
                                  output_hidden_states=True).hidden_states[-2][0]
        features = hidden[1:] if self.family.clip else _merged(hidden)
        return self.parts.projector(features)

    @torch.no_grad()
    def logits(self, ids, pictures, tokens):
        """Logits after a prompt and after each of `tokens`, without a cache."""
        pictures = list(pictures)
        if self.whole is not None:
            counts = iter([len(self.rows(picture)) for picture in pictures])
            wanted = sum(([PLACEHOLDER] * next(counts) if i == IMAGE else [i] for i in ids), [])
            made = [self.pixels(picture) for picture in pictures]
            images = {name: torch.cat([one[name] for one in made])
                      for name in ('pixel_values', 'image_sizes') if made and name in made[0]}
            out = self.whole(torch.tensor([[*wanted, *tokens]]), use_cache=False, **images).logits
        else:
            embed = self.parts.llm.get_input_embeddings()
            rows = [self.rows(pictures.pop(0)) if i == IMAGE else embed(torch.tensor([i]))
                    for i in [*ids, *tokens]]
            out = self.parts.llm(inputs_embeds=torch.cat(rows)[None], use_cache=False).logits
        return out[0, out.shape[1] - len(tokens) - 1:].numpy()


def _sentencepiece(model, chunk, legacy):
    """As transformers' LlamaTokenizer: behind </s> a text has no space of its own but in legacy."""
    first, *more = chunk.split('</s>')
    ids = model.encode(first)
    for text in more:
        ids.append(model.eos_id())
        if text:
            ids += model.encode(text) if legacy else model.encode(f'\n{text}')[2:]
    return ids


def _merged(hidden):
    """2 x 2 neighbours side by side, down the columns; beyond the edge are zeros."""
    side = int(len(hidden) ** 0.5)
    grid = torch.zeros(side + 1, side + 1, hidden.shape[1])
    grid[:side, :side] = hidden.view(side, side, -1)
    return torch.stack([
        torch.cat([grid[y, x], grid[y, x + 1], grid[y + 1, x], grid[y + 1, x + 1]])
        for x in range(0, side, 2) for y in range(0, side, 2)])


def _configured(kind, parts: Parts, **more):
    return kind(vision_config=parts.tower.config, text_config=parts.llm.config,
                image_token_id=PLACEHOLDER, vision_feature_layer=-2,
                vision_feature_select_strategy='default', projector_hidden_act='gelu', **more)


def _llava(parts: Parts):
    return _filled(LlavaForConditionalGeneration(_configured(LlavaConfig, parts)), parts)


def _llava_next(parts: Parts):
    # transformers takes a pair for (height, width).
    return _filled(LlavaNextForConditionalGeneration(_configured(
        LlavaNextConfig, parts, image_grid_pinpoints=[
            [height * SIZE, width * SIZE] for width, height in PINPOINTS])), parts,
        {'model.image_newline': parts.newline})


def _filled(model, parts: Parts, more=()):
    """Give a whole model the weights of its parts, by its own names."""
    renamed = {'0.': 'linear_1.', '2.': 'linear_2.'}
    state = {**dict(more), **{
        f'model.vision_tower.{name}': tensor for name, tensor in parts.tower.state_dict().items()
    }, **{f'model.multi_modal_projector.{renamed[name[:2]]}{name[2:]}': tensor
          for name, tensor in parts.projector.state_dict().items()}}
    for name, tensor in parts.llm.state_dict().items():
        state[name if name.startswith('lm_head') else
              name.replace('model.', 'model.language_model.', 1)] = tensor
    model.load_state_dict(state)
    return model.eval()


def difference(ours, theirs) -> float:
    """The greatest one between two arrays of the same shape."""
    assert np.shape(ours) == np.shape(theirs)
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
