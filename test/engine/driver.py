# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Drives a VisionLanguageModel without an executor."""


def prefill(model, prompt, generation=0):
    """Open a prompt and fill it in one step; return (sequence, rows from the cache, logits)."""
    sequence, shared = model.open(prompt, generation)
    try:
        logits = model.step([(sequence, prompt.n_tokens - shared)], [])
    except BaseException:
        model.release(sequence, keep=False)
        raise
    return sequence, shared, logits[0].numpy()


def decode(model, sequences, tokens):
    """Append a token to each sequence; return their logits."""
    return model.step([], list(zip(sequences, tokens))).numpy()
