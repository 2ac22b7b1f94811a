// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// Embedding look-up, norms, the gate, and rows taken out of a batch.
#ifndef NANOVLM_ELEMENTWISE
#define NANOVLM_ELEMENTWISE
#include <cuda_fp16.h>

// Sum over a block of 32 W threads; every thread gets it.
template <int W>
__device__ __forceinline__ float block_sum(float value) {
  __shared__ float parts[W];
  #pragma unroll
  for (int o = 16; o; o >>= 1) value += __shfl_xor_sync(0xffffffffu, value, o);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = 0.f;
  #pragma unroll
  for (int w = 0; w < W; ++w) value += parts[w];
  return value;
}

// y (m, K) half = the norm of x (m, K) float; a block of 256 threads for each row.
// Without a bias: Zhang & Sennrich, arXiv:1910.07467; with one: Ba et al., arXiv:1607.06450.
template <int K, bool LAYER>
__device__ __forceinline__ void normalize(const float* __restrict__ x,
                                          const float* __restrict__ weight,
                                          const float* __restrict__ bias, __half* __restrict__ y,
                                          float eps) {
  constexpr int EACH = (K / 2 + 255) / 256;  // pairs
  const float2* from = reinterpret_cast<const float2*>(x + (size_t)blockIdx.x * K);
  __half2* to = reinterpret_cast<__half2*>(y + (size_t)blockIdx.x * K);
  float2 value[EACH];
  float sum = 0.f, mean = 0.f;
  #pragma unroll
  for (int e = 0; e < EACH; ++e) {
    const int i = threadIdx.x + e * 256;
    value[e] = i < K / 2 ? from[i] : make_float2(0.f, 0.f);
    sum += LAYER ? value[e].x + value[e].y : value[e].x * value[e].x + value[e].y * value[e].y;
  }
  sum = block_sum<8>(sum);
  if (LAYER) {  // the deviation from the mean: a mean of squares would lose digits
    mean = sum / K;
    sum = 0.f;
    #pragma unroll
    for (int e = 0; e < EACH; ++e) {
      if (threadIdx.x + e * 256 >= K / 2) continue;
      const float a = value[e].x - mean, b = value[e].y - mean;
      sum += a * a + b * b;
    }
    sum = block_sum<8>(sum);
  }
  const float inverse = rsqrtf(sum / K + eps);
  #pragma unroll
  for (int e = 0; e < EACH; ++e) {
    const int i = threadIdx.x + e * 256;
    if (i >= K / 2) continue;
    const float2 w = reinterpret_cast<const float2*>(weight)[i];
    float2 out = make_float2((value[e].x - mean) * inverse * w.x,
                             (value[e].y - mean) * inverse * w.y);
    if (LAYER) {
      const float2 b = reinterpret_cast<const float2*>(bias)[i];
      out.x += b.x, out.y += b.y;
    }
    to[i] = __float22half2_rn(out);
  }
}

// y (m, K) float = rows ids of a table: words of 8 nibbles, value + 7, and a scale for each 32.
template <int K>
__device__ __forceinline__ void w4_embedding(const int* __restrict__ ids,
                                             const int* __restrict__ table,
                                             const __half* __restrict__ scale,
                                             float* __restrict__ y) {
  const size_t id = ids[blockIdx.x];
  for (int k = threadIdx.x; k < K; k += blockDim.x) {
    const int code = (table[id * (K / 8) + k / 8] >> (k % 8 * 4)) & 15;
    y[(size_t)blockIdx.x * K + k] = (code - 7) * __half2float(scale[id * (K / 32) + k / 32]);
  }
}

template <int K>
__device__ __forceinline__ void half_embedding(const int* __restrict__ ids,
                                               const __half* __restrict__ table,
                                               float* __restrict__ y) {
  const size_t id = ids[blockIdx.x];
  for (int k = threadIdx.x; k < K; k += blockDim.x) {
    y[(size_t)blockIdx.x * K + k] = __half2float(table[id * K + k]);
  }
}

// y (b, K) = rows of x.
template <int K>
__device__ __forceinline__ void take(const float* __restrict__ x, const int* __restrict__ rows,
                                     float* __restrict__ y) {
  const size_t from = (size_t)rows[blockIdx.x] * K, to = (size_t)blockIdx.x * K;
  for (int k = threadIdx.x; k < K; k += blockDim.x) y[to + k] = x[from + k];
}

// y (m, K) half = silu(gate) * up of x (m, 2 K) half = [gate, up].
template <int K>
__device__ __forceinline__ void silu_mul(const __half* __restrict__ x, __half* __restrict__ y) {
  const __half* gate = x + (size_t)blockIdx.x * 2 * K;
  for (int k = threadIdx.x; k < K; k += blockDim.x) {
    const float g = __half2float(gate[k]);
    const float up = __half2float(gate[K + k]);
    y[(size_t)blockIdx.x * K + k] = __float2half(g / (1.f + __expf(-g)) * up);
  }
}

// x (m, K) float += y (m, K) half.
template <int K>
__device__ __forceinline__ void add_half(const __half* __restrict__ y, float* __restrict__ x) {
  const size_t row = (size_t)blockIdx.x * K;
  for (int k = threadIdx.x; k < K; k += blockDim.x) x[row + k] += __half2float(y[row + k]);
}
#endif
