# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model on pictures drawn while it learns.

    python -m training.train --out FOLDER [--seconds 600] [--resume FOLDER] [--quantize-from 0.75]

The schedule runs on the clock: the learning rate warms up, stays and falls to its end by the time
that --seconds are over. Writes the checkpoint, log.jsonl and test.json into FOLDER.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import queue
import random
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from training import feed as feeding
from training.export import load_checkpoint, save_checkpoint
from training.learn import DenseHeads, answer_loss, light, wrong_answers
from training.model import Shape, VisionLanguage
from training.optimizer import Optimizer
from training.prompt import Prompter

TOKENIZER = Path(__file__).parent.parent / 'assets/demo_model/llm/tokenizer.json'


def test_chunk(task: tuple[int, int, int, str]) -> tuple[dict, list]:
    """A chunk of held-out samples and its turns; task: seed, frames, count, tokenizer."""
    seed, frames, count, tokenizer = task
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype)
              in feeding.fields(frames, count, 1).items()}
    r = np.random.default_rng([seed, frames, 2])
    prompter = Prompter(Tokenizer.from_file(tokenizer))
    placed = feeding.fill_chunk(prompter, r, arrays, frames, False, 1.0)
    return arrays, placed


class Pool:
    """Chunks on the device: new ones first, then old ones again with their other questions."""

    def __init__(self, feed: feeding.Feed, device: str, keep: int):
        self.feed, self.device, self.keep = feed, device, keep
        self.new = {True: [], False: []}           # by whether the chunk is of single pictures
        self.old = {True: [], False: []}
        self.drawn = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        stream = torch.cuda.Stream() if self.device == 'cuda' else None
        while not self._stop.is_set():
            try:
                slot, frames, arrays = self.feed.take(.5)
            except queue.Empty:
                continue
            with torch.cuda.stream(stream) if stream else _Nothing():
                chunk = {k: torch.from_numpy(np.array(v) if not stream else v).to(self.device)
                         for k, v in arrays.items()}
                if stream:
                    stream.synchronize()
            self.feed.give_back(slot)
            self.drawn += len(chunk['pixels'])
            self.new[frames == 1].append((frames, chunk))

    def take(self, single: bool, count: int) -> list[tuple[int, dict]]:
        """count chunks with one set of questions each; waits while there are too few."""
        out = []
        while len(self.new[single]) + len(self.old[single]) < count:
            time.sleep(.05)
        while len(out) < count:
            if self.new[single]:
                item, variant = self.new[single].pop(0), 0
                self.old[single].append(item)
                if len(self.old[single]) > self.keep:
                    self.old[single].pop(random.randrange(len(self.old[single]) // 2))
            else:
                item = random.choice(self.old[single])
                variant = random.randrange(self.feed.variants)
            frames, chunk = item
            out.append((frames, {k: v[variant] if k in feeding.TEXT else v
                                 for k, v in chunk.items()}))
        return out

    def stop(self) -> None:
        """Ends the receiving thread."""
        self._stop.set()
        self._thread.join()


class _Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *args):
        return False


def merged(chunks: list[tuple[int, dict]]) -> dict:
    """One batch of several chunks with the same number of frames."""
    return {k: torch.cat([c[k] for _, c in chunks]) for k in chunks[0][1]}


class Trainer:
    """Holds the model, its helpers and the log."""

    def __init__(self, args: argparse.Namespace, device: str):
        self.args, self.device = args, device
        self.dtype = torch.bfloat16 if device == 'cuda' else torch.float32
        torch.manual_seed(args.seed)
        model = load_checkpoint(args.resume) if args.resume else VisionLanguage(Shape())
        self.model = model.train().to(device)
        self.heads = DenseHeads(self.model.shape.vision_hidden).to(device)
        if args.resume and (Path(args.resume) / 'heads.pt').exists():
            self.heads.load_state_dict(torch.load(Path(args.resume) / 'heads.pt',
                                                  weights_only=True, map_location=device))
        self.optimizer = Optimizer(self.model)
        self.head_optimizer = torch.optim.AdamW(self.heads.parameters(), lr=2e-3)
        self.log = (Path(args.out) / 'log.jsonl').open('a')
        if args.compile:
            from training.model import DecoderLayer, VisionLayer
            VisionLayer.forward = torch.compile(VisionLayer.forward)
            DecoderLayer.forward = torch.compile(DecoderLayer.forward, dynamic=True)

    def rate(self, p: float) -> float:
        """The learning rate at share p of the time."""
        a = self.args
        warm = min(1.0, p / a.warmup) if a.warmup else 1.0
        fall = max(0.0, (p - a.hold) / (1 - a.hold))
        low = a.end_rate / a.rate
        return a.rate * warm * (low + (1 - low) * .5 * (1 + math.cos(math.pi * fall)))

    def step(self, pool: Pool, p: float) -> dict:
        """One optimiser step; returns numbers for the log (tensors)."""
        singles = pool.take(True, self.args.singles)
        several = pool.take(False, self.args.several)
        groups = [(1, merged(singles)), *several]
        with torch.autocast(self.device, self.dtype, enabled=self.device == 'cuda'):
            pixels = torch.cat([light(g['pixels'], g['raw']) for _, g in groups])
            if self.device == 'cuda':
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            feats, images = self.model.encode(pixels)
            dense = self.heads(feats, {k: torch.cat([g[k] for _, g in groups])
                                       for k in ('cover', 'centre', 'letters')})
            total, weight, numbers, at = 0.0, 0.0, {}, 0
            for frames, g in groups:
                n = len(g['pixels'])
                loss, w, right = answer_loss(self.model, g, images[at:at + n], self.dtype)
                at += n
                total, weight = total + loss, weight + w
                key = 'one' if frames == 1 else 'many'
                numbers[f'{key}_loss'], numbers[f'{key}_right'] = (
                    loss / w).detach(), right.detach()
            loss = total / weight + self.args.dense * (1 - .8 * p) * dense
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.heads.parameters(), 1.0)
        self.head_optimizer.step()
        self.head_optimizer.zero_grad()
        lr = self.rate(p)
        norm = self.optimizer.step(lr)
        return {**numbers, 'dense': dense.detach(), 'rate': lr, 'norm': norm}

    def write(self, record: dict) -> None:
        """Appends to the log and prints."""
        record = {k: round(float(v), 5) if isinstance(v, (float, torch.Tensor)) else v
                  for k, v in record.items()}
        self.log.write(json.dumps(record) + '\n')
        self.log.flush()
        print(json.dumps(record), flush=True)

    def test(self, chunks: list, examples: int = 0) -> dict:
        """Exact answers by skill over held-out chunks."""
        self.model.eval()
        count: dict[str, list[int]] = {}
        shown: list[str] = []
        tok = Tokenizer.from_file(str(TOKENIZER)) if examples else None
        for arrays, placed in chunks:
            batch = {k: torch.from_numpy(v[0] if k in feeding.TEXT else v).to(self.device)
                     for k, v in arrays.items()}
            wrong, said = wrong_answers(self.model, batch, self.dtype, self.device)
            wrong, said = wrong.cpu().numpy(), said.cpu().numpy()
            for i, turns in enumerate(placed):
                for branch, turn in turns:
                    bad = bool(wrong[i, branch])
                    keys = [turn.skill, 'all', 'unseen' if turn.unseen else 'seen']
                    if turn.answer in ('Yes.', 'No.'):
                        keys.append('yes_no')
                    for k in keys:
                        c = count.setdefault(k, [0, 0])
                        c[0] += not bad
                        c[1] += 1
                    if bad and examples and random.random() < .1 and len(shown) < examples:
                        at = (arrays['segment'][0, i] == branch) & (arrays['skill'][0, i] > 0)
                        shown.append(f'{turn.skill}: {turn.question} | {turn.answer} | '
                                     + tok.decode(said[i][at].tolist()))
        self.model.train()
        result = {k: round(100 * a / b, 2) for k, (a, b) in sorted(count.items())}
        return {'score': result, 'asked': {k: b for k, (_, b) in count.items()}, 'wrong': shown}

    def save(self) -> None:
        """Writes the checkpoint and the helper heads."""
        out = Path(self.args.out)
        save_checkpoint(self.model, out)
        for name in ('tokenizer.json', 'tokenizer_config.json'):
            shutil.copyfile(TOKENIZER.with_name(name), out / 'llm' / name)
        torch.save(self.heads.state_dict(), out / 'heads.pt')


def run(args: argparse.Namespace) -> dict:
    """Trains; returns the last test."""
    start = time.monotonic()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    feed = feeding.Feed(TOKENIZER, args.workers, args.seed, real=args.real)
    tasks = [(900 + i, 1, args.test_chunk, str(TOKENIZER)) for i in range(args.test_chunks)]
    tasks += [(900 + i, f, max(2, args.test_chunk // f), str(TOKENIZER))
              for i in range(args.test_chunks // 4 + 1) for f in (2, 3, 4, 6, 8)]
    with mp.get_context('fork').Pool(max(1, args.workers // 2)) as workers:
        tests = workers.map_async(test_chunk, tasks, 1)
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        torch.backends.cuda.matmul.allow_tf32 = True
        trainer = Trainer(args, device)
        pool = Pool(feed, device, args.keep)
        pool.take(True, args.singles)
        trainer.write({'event': 'first data', 'seconds': time.monotonic() - start})
        begun, steps, said, tested = time.monotonic(), 0, 0.0, time.monotonic()
        budget = args.seconds - (begun - start) - args.reserve
        chunks = None
        while True:
            passed = time.monotonic() - begun
            p = passed / budget
            if p >= 1 or (args.steps and steps >= args.steps):
                break
            if not trainer.model.quantized and p >= args.quantize_from:
                trainer.model.quantize(True)
            numbers = trainer.step(pool, p)
            steps += 1
            if steps in (1, 5, 20) or passed - said > 10:
                said = passed
                trainer.write({'step': steps, 'seconds': passed, 'drawn': pool.drawn, **numbers})
            if time.monotonic() - tested > args.test_every:
                chunks = chunks or tests.get()
                result = trainer.test(chunks[::3])
                trainer.save()
                trainer.write({'step': steps, 'seconds': passed, 'test': result['score']})
                tested = time.monotonic()
        pool.stop()
        feed.stop()
        chunks = chunks or tests.get()
    trainer.save()
    final = {}
    for name, on in (('float', False), ('q4', True)):
        trainer.model.quantize(on)
        final[name] = trainer.test(chunks, examples=60)
        trainer.write({'step': steps, 'event': name, 'test': final[name]['score']})
    (Path(args.out) / 'test.json').write_text(json.dumps(final, indent=1))
    trainer.write({'event': 'end', 'steps': steps, 'drawn': pool.drawn,
                   'seconds': time.monotonic() - start})
    return final


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--out', required=True)
    p.add_argument('--resume', default='')
    p.add_argument('--seconds', type=float, default=1200)
    p.add_argument('--reserve', type=float, default=25, help='seconds kept for the last test')
    p.add_argument('--steps', type=int, default=0, help='stop after so many steps (0: no limit)')
    p.add_argument('--rate', type=float, default=2e-3)
    p.add_argument('--end-rate', type=float, default=2e-5)
    p.add_argument('--warmup', type=float, default=.02)
    p.add_argument('--hold', type=float, default=.5, help='share of the time at the full rate')
    p.add_argument('--dense', type=float, default=.5, help='weight of the helper losses')
    p.add_argument('--quantize-from', type=float, default=.8)
    p.add_argument('--workers', type=int, default=max(1, mp.cpu_count() - 1))
    p.add_argument('--singles', type=int, default=4)
    p.add_argument('--several', type=int, default=2)
    p.add_argument('--keep', type=int, default=700)
    p.add_argument('--real', type=float, default=.1)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--compile', action='store_true')
    p.add_argument('--test-chunks', type=int, default=9)
    p.add_argument('--test-chunk', type=int, default=96)
    p.add_argument('--test-every', type=float, default=75)
    return p.parse_args(argv)


if __name__ == '__main__':
    run(parse())
