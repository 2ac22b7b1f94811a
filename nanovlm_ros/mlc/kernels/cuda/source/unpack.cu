// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// A matrix of vision, kept in int8 groups of 32 with a scale each, written out for cuBLAS.
#ifndef NANOVLM_UNPACK
#define NANOVLM_UNPACK

// y (rows, columns) half = q (rows, 32 groups) int8 times scale (rows, groups) half; columns is a
// multiple of 16 and may end in the middle of a group. A thread for 16 numbers.
__device__ __forceinline__ void int8_unpack(const signed char* __restrict__ q,
                                            const __half* __restrict__ scale,
                                            __half* __restrict__ y, int rows, int columns,
                                            int groups) {
  wait_for_inputs();
  const int each = columns / 16;
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= rows * each) return;
  const int row = i / each, part = i % each;
  const uint4 packed = reinterpret_cast<const uint4*>(q)[(size_t)row * groups * 2 + part];
  const float step = __half2float(scale[(size_t)row * groups + part / 2]);
  const signed char* code = reinterpret_cast<const signed char*>(&packed);
  uint4 out[2];
  __half2* pair = reinterpret_cast<__half2*>(out);
  #pragma unroll
  for (int p = 0; p < 8; ++p)
    pair[p] = __floats2half2_rn(code[2 * p] * step, code[2 * p + 1] * step);
  uint4* to = reinterpret_cast<uint4*>(y + (size_t)row * columns) + 2 * part;
  to[0] = out[0];
  to[1] = out[1];
}
#endif
