# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was measured, as text for a terminal."""
import re
from typing import Any, Dict, Iterable, List, Sequence

from nanovlm_ros.mlc.packing import QUANTIZATIONS

OURS = 'nanovlm'
# What is measured, by the beginning of its name; `{}` are the numbers in it.
LABELS = (
    (r'preprocess', 'image to pixels'), (r'vision', 'tower and projector'),
    (r'frame', 'a frame: vision and prefill'),
    (r'window_(\d+)', 'a new frame in a window of {}'),
    (r'prefill_(\d+)', 'prefill {} rows'), (r'decode_(\d+)', 'decode, context {}'),
    (r'decode_sampled_(\d+)', 'decode and choose, context {}'),
    (r'batch_1_(\d+)', 'decode 1 sequence, context {}'),
    (r'batch_(\d+)_(\d+)', 'decode {} sequences, context {}'),
    (r'yes_no', 'yes or no about a new frame'), (r'frames_per_second', 'frames a second'),
    (r'fresh_answer', 'short answer, new image'),
    (r'fresh_first_token', '  to its first token'), (r'fresh_vision', '  of that: vision'),
    (r'fresh_prefill', '  of that: prefill'), (r'prompt_rows', '  rows of the prompt'),
    (r'cached_answer', 'short answer, same image'),
    (r'cached_first_token', '  to its first token'), (r'answer_decode', 'decoding of answers'),
)


def render(result: Dict[str, Any]) -> str:
    """Return the tables of everything in a result."""
    models = result['models']
    parts = [_head(result)]
    if len(models) > 1:
        parts.append(overview(models))
    parts += [_model(m) for m in models if len(models) == 1 or _has_more(m)]
    for name in ('sharing', 'node'):
        if name in result:
            parts.append(columns([[f'{name}:', ''], *(
                ['  ' + key.replace('_', ' '), str(value)]
                for key, value in result[name].items())]))
    return '\n\n'.join(parts)


def _has_more(model: Dict[str, Any]) -> bool:
    """Whether something was asked for that the overview does not show."""
    return bool(model.get('peers') or 'numerics' in model or 'fits' in model.get('memory', {}))


def overview(models: Sequence[Dict[str, Any]]) -> str:
    """Return one line a model; those that were measured otherwise than the first have gaps."""
    names = next((_overviewed(m['measured']) for m in models if 'measured' in m), [])
    decode = names[-1] if names else ''
    lines = [['', 'load', 'told MiB', 'GPU MiB', 'host MiB', *map(_label, names), 'a second',
              'of the floor']]
    for model in models:
        if 'error' in model:
            lines.append([model['name'], model['error']])
            continue
        measured, memory = model['measured'], model['memory']
        lines.append([
            model['name'], f'{model["load_s"]} s',
            *(str(memory.get(key, '-')) for key in ('told_mib', 'gpu_mib', 'resident_mib')),
            *(_value(measured.get(name)) for name in names), _rate(1, measured.get(decode)),
            _share(model['floor'], measured.get(decode))])
    return columns(lines)


def _overviewed(measured: Dict[str, Any]) -> List[str]:
    """Return the names of what an overview shows, the first decoding last."""
    decodes = [name for name in measured if re.fullmatch(r'decode_\d+', name)]
    return [name for name in measured if re.fullmatch(r'vision|prefill_\d+', name)] + decodes[:1]


def columns(lines: Iterable[Sequence[str]]) -> str:
    """Return lines whose cells stand below each other; the first is left, others right."""
    lines = [list(line) for line in lines]
    most = max(map(len, lines))
    # A line of two cells may end in a sentence, for which no column is made wide.
    widths = [max((len(line[i]) for line in lines if len(line) == most), default=0)
              for i in range(most)]
    widths[0] = max(len(line[0]) for line in lines)
    return '\n'.join('  '.join(
        [line[0].ljust(widths[0]), *(cell.rjust(width) if len(line) == most else cell
                                     for cell, width in zip(line[1:], widths[1:]))]).rstrip()
        for line in lines)


def _head(result: Dict[str, Any]) -> str:
    machine, versions, threads = (result[key] for key in ('machine', 'versions', 'threads'))
    place = machine.get('gpu') or f'{machine["cpu"]}, {machine["cores"]} cores'
    return '\n'.join([
        f'{result["command"]}    {result["date"]}', place,
        ', '.join(f'{name} {number}' for name, number in versions.items())
        + f'; threads: {threads["tvm"]} of TVM, {threads["torch"]} of torch'])


def _model(model: Dict[str, Any]) -> str:
    peers = model.get('peers', {})
    lines = [['', OURS, 'from', 'to', 'a second', *(
        cell for name in peers for cell in (name, 'ratio'))]]
    for name, entry in model['measured'].items():
        line = [_label(name), _value(entry), *(
            f'{entry[key]:g}' if key in entry else '' for key in ('min', 'max')),
            _per_second(name, entry)]
        for measured in peers.values():
            theirs = measured.get(name)
            line += [_value(theirs), _ratio(theirs, entry)]
        lines.append(line)
    title = (f'{model["name"]}, {model["quantization"]}, {model["weights"]} weights, '
             f'{model["device"]}, {_activations(model)}vision in {model["vision_weights"]}, '
             f'context {model["context"]}, {model["kv_cache_tokens"]} tokens of KV cache')
    return '\n'.join([title, columns(lines), *_sentences(model)])


def _sentences(model: Dict[str, Any]) -> List[str]:
    memory, floor = model['memory'], model['floor']
    found = [f'load: {model["load_s"]} s' + (
        f', after {model["compile_s"]} s of compiling' if 'compile_s' in model else '')]
    found.append('memory: ' + ', '.join(
        f'{value} MiB {name.removesuffix("_mib").replace("_", " ")}'
        for name, value in memory.items() if name.endswith('_mib')))
    if 'told' in memory:
        found.append(f'memory told beforehand: {memory["told"]}')
    if 'fits' in memory:
        found.append(f'{memory["in_all_mib"]} MiB in all, of {memory["asked_gb"]:g} GB: '
                     f'{"fits" if memory["fits"] else "does not fit"}')
    decode = model['measured'].get(_overviewed(model['measured'])[-1])
    found.append(f'floor of decoding: {floor["weights_mib"]} MiB of weights at '
                 f'{floor["bandwidth_gb_s"]} GB/s take {floor["ms"]} ms; reached: '
                 f'{_share(floor, decode)}')
    if 'numerics' in model:
        n = model['numerics']
        found.append(
            f'numerics, {_activations(model)}{n["layers"]} layers: largest error of a logit '
            f'{n["largest_error"]}, of torch float16 {n["largest_error_torch_float16"]}, ratio '
            f'{n["ratio"]}; logits spread by {n["spread_of_logits"]}')
    return found + model.get('notes', [])


def _activations(model: Dict[str, Any]) -> str:
    """Return what weights multiply with, where there is a choice; a comma follows."""
    if model['device'] != 'cpu' or not QUANTIZATIONS[model['quantization']].quantized:
        return ''
    return f'{model["shape"]["activations"]} activations, '


def _label(name: str) -> str:
    for pattern, text in LABELS:
        match = re.fullmatch(pattern, name)
        if match:
            return text.format(*match.groups())
    return name.replace('_', ' ')


def _value(entry) -> str:
    return f'{entry["median"]:g} {entry["unit"]}'.strip() if entry else '-'


def _ratio(theirs, ours) -> str:
    return f'{theirs["median"] / ours["median"]:.2f}x' if theirs else ''


def _per_second(name: str, entry: Dict[str, Any]) -> str:
    """Return tokens a second where something is said in tokens."""
    match = re.fullmatch(r'(prefill|batch)_(\d+)(_\d+)?', name)
    if match:
        return _rate(int(match.group(2)), entry)
    return _rate(1, entry) if name.startswith('decode_') else ''


def _rate(count: int, entry) -> str:
    if not entry:
        return '-'
    rate = count / entry['median'] * 1000
    return f'{rate:,.0f}' if rate >= 1000 else f'{rate:.4g}'


def _share(floor: Dict[str, Any], decode) -> str:
    return f'{floor["ms"] / decode["median"]:.0%}' if decode else '-'
