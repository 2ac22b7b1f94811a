# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Targets are read from a text, and what cannot be one is a sentence."""
import platform

import pytest
import torch

from nanovlm_ros.mlc.target import Target
from nanovlm_ros.types import ErrorCode, NanoVlmError

HERE = platform.machine()


@pytest.mark.parametrize('text, expected', [
    ('cpu', Target('cpu')),
    ('cuda:sm_90', Target('cuda', 'sm_90', HERE)),
    ('cuda:sm_120', Target('cuda', 'sm_120', HERE)),
    ('cuda:sm_87', Target('cuda', 'sm_87', 'aarch64')),
    ('cuda:sm_110', Target('cuda', 'sm_110', 'aarch64')),
    ('cuda:sm_87@x86_64', Target('cuda', 'sm_87', 'x86_64')),
    ('cuda:sm_90@aarch64', Target('cuda', 'sm_90', 'aarch64'))])
def test_a_target_is_read_from_a_text_and_written_as_one(text, expected):
    target = Target.parse(text)
    assert target == expected and Target.parse(str(target)) == target


@pytest.mark.parametrize('text, said', [
    ('', 'use cpu, cuda'), ('gpu', "'gpu'"), ('CUDA', 'use cpu, cuda'), ('cpu:sm_90', 'cpu:sm_90'),
    ('cuda:', 'sm_87'), ('cuda:90', "'90'"), ('cuda:sm_75', 'sm_80'), ('cuda:sm_9', 'sm_80'),
    ('cuda:sm_90a', 'sm_90a'), ('cuda:sm_90@', 'x86_64 or aarch64'),
    ('cuda:sm_90@riscv64', 'riscv64'), ('cuda:sm_90;x', 'sm_90;x')])
def test_what_is_no_target_is_a_sentence_with_what_to_write(text, said):
    with pytest.raises(NanoVlmError) as caught:
        Target.parse(text)
    assert caught.value.code == ErrorCode.INVALID_REQUEST and said in caught.value.message


def test_cuda_alone_is_the_gpu_of_this_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (8, 7))
    assert Target.parse('cuda') == Target('cuda', 'sm_87', 'aarch64')
    assert Target.parse('cuda@x86_64') == Target('cuda', 'sm_87', 'x86_64')
    assert Target.here('cuda') == Target('cuda', 'sm_87', HERE)
    assert Target.here('cpu') == Target('cpu')
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (7, 5))
    with pytest.raises(NanoVlmError, match='sm_75'):
        Target.here('cuda')


def test_without_a_gpu_the_architecture_must_be_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for make in (lambda: Target.parse('cuda'), lambda: Target.here('cuda')):
        with pytest.raises(NanoVlmError, match='cuda:sm_87') as caught:
            make()
        assert caught.value.code == ErrorCode.INVALID_REQUEST
