// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// How a kernel meets the one before it. On sm_90 a kernel may be started while its predecessor
// still runs, so that it has its weights on the way in time: what others wrote may be read, and
// anything be written, after `wait_for_inputs` alone. Before it a kernel reads what no kernel of
// the step writes: weights, tables, and rows of the cache that were there before. A kernel that
// follows one with `let_next_start` reads what the step writes by `fresh` alone: loads that the
// compiler makes through the read-only cache may find there what a kernel beside it had read.
#ifndef NANOVLM_COMMON
#define NANOVLM_COMMON
#include <cuda_fp16.h>

__device__ __forceinline__ void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel may start as soon as all blocks of this one have said so.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ uint4 fresh(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}

__device__ __forceinline__ float4 fresh(const float4* p) {
  const uint4 v = fresh(reinterpret_cast<const uint4*>(p));
  return *reinterpret_cast<const float4*>(&v);
}

__device__ __forceinline__ __half2 fresh(const __half2* p) {
  unsigned v;
  asm volatile("ld.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return *reinterpret_cast<const __half2*>(&v);
}
#endif
