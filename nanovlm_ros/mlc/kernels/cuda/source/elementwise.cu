// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// Embedding look-up, norms, the gate, and rows taken out of a batch.
#ifndef NANOVLM_ELEMENTWISE
#define NANOVLM_ELEMENTWISE

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

// x (m, K) float += PARTS parts (PARTS, m, K) float; y (m, K) half = its norm. A block of 512
// threads for each row. Without a bias: Zhang & Sennrich, arXiv:1910.07467; with one: Ba et al.,
// arXiv:1607.06450.
template <int K, bool LAYER, int PARTS>
__device__ __forceinline__ void normalize(float* x, const float* parts,
                                          const float* __restrict__ weight,
                                          const float* __restrict__ bias, __half* __restrict__ y,
                                          float eps) {
  constexpr int THREADS = 512, EACH = (K / 4 + THREADS - 1) / THREADS;  // times four numbers
  float4* row = reinterpret_cast<float4*>(x + (size_t)blockIdx.x * K);
  float4 value[EACH], scale[EACH];
  float sum = 0.f, mean = 0.f;
  #pragma unroll
  for (int e = 0; e < EACH; ++e) {
    const int i = threadIdx.x + e * THREADS;
    if (i < K / 4) scale[e] = reinterpret_cast<const float4*>(weight)[i];
  }
  let_next_start();
  wait_for_inputs();
  #pragma unroll
  for (int e = 0; e < EACH; ++e) {
    const int i = threadIdx.x + e * THREADS;
    value[e] = i < K / 4 ? fresh(row + i) : make_float4(0.f, 0.f, 0.f, 0.f);
    #pragma unroll
    for (int p = 0; p < PARTS; ++p) {
      if (i >= K / 4) continue;
      const float* from = parts + ((size_t)p * gridDim.x + blockIdx.x) * K;
      const float4 more = fresh(reinterpret_cast<const float4*>(from) + i);
      value[e].x += more.x, value[e].y += more.y, value[e].z += more.z, value[e].w += more.w;
    }
    if (PARTS && i < K / 4) row[i] = value[e];
    const float4 v = value[e];
    sum += LAYER ? v.x + v.y + v.z + v.w : v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  sum = block_sum<THREADS / 32>(sum);
  if (LAYER) {  // the deviation from the mean: a mean of squares would lose digits
    mean = sum / K;
    sum = 0.f;
    #pragma unroll
    for (int e = 0; e < EACH; ++e) {
      if (threadIdx.x + e * THREADS >= K / 4) continue;
      float4& v = value[e];
      v.x -= mean, v.y -= mean, v.z -= mean, v.w -= mean;
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    sum = block_sum<THREADS / 32>(sum);
  }
  const float inverse = rsqrtf(sum / K + eps);
  #pragma unroll
  for (int e = 0; e < EACH; ++e) {
    const int i = threadIdx.x + e * THREADS;
    if (i >= K / 4) continue;
    const float4 v = value[e], w = scale[e];
    float4 out = make_float4(v.x * inverse * w.x, v.y * inverse * w.y, v.z * inverse * w.z,
                             v.w * inverse * w.w);
    if (LAYER) {
      const float4 b = reinterpret_cast<const float4*>(bias)[i];
      out.x += b.x, out.y += b.y, out.z += b.z, out.w += b.w;
    }
    __half2* to = reinterpret_cast<__half2*>(y + (size_t)blockIdx.x * K) + 2 * i;
    to[0] = __float22half2_rn(make_float2(out.x, out.y));
    to[1] = __float22half2_rn(make_float2(out.z, out.w));
  }
}

// y (m, K) float = rows ids of a table: words of 8 nibbles, value + 7, and a scale for each 32.
template <int K>
__device__ __forceinline__ void w4_embedding(const int* __restrict__ ids,
                                             const int* __restrict__ table,
                                             const __half* __restrict__ scale,
                                             float* __restrict__ y) {
  wait_for_inputs();
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
  wait_for_inputs();
  const size_t id = ids[blockIdx.x];
  for (int k = threadIdx.x; k < K; k += blockDim.x) {
    y[(size_t)blockIdx.x * K + k] = __half2float(table[id * K + k]);
  }
}

// y (b, K) = rows of x.
template <int K>
__device__ __forceinline__ void take(const float* __restrict__ x, const int* __restrict__ rows,
                                     float* __restrict__ y) {
  wait_for_inputs();
  const size_t from = (size_t)rows[blockIdx.x] * K, to = (size_t)blockIdx.x * K;
  for (int k = threadIdx.x; k < K; k += blockDim.x) y[to + k] = x[from + k];
}

// y (m, K) half = silu(gate) * up of x (m, 2 K) half = [gate, up].
template <int K>
__device__ __forceinline__ void silu_mul(const __half* __restrict__ x, __half* __restrict__ y) {
  wait_for_inputs();
  const __half2* gate = reinterpret_cast<const __half2*>(x + (size_t)blockIdx.x * 2 * K);
  __half2* to = reinterpret_cast<__half2*>(y + (size_t)blockIdx.x * K);
  for (int i = threadIdx.x; i < K / 2; i += blockDim.x) {
    const float2 g = __half22float2(gate[i]), up = __half22float2(gate[K / 2 + i]);
    to[i] = __float22half2_rn(make_float2(g.x / (1.f + __expf(-g.x)) * up.x,
                                          g.y / (1.f + __expf(-g.y)) * up.y));
  }
}

// x (m, K) float += y (m, K) half.
template <int K>
__device__ __forceinline__ void add_half(const __half* __restrict__ y, float* __restrict__ x) {
  wait_for_inputs();
  const size_t row = (size_t)blockIdx.x * K / 2;
  for (int i = threadIdx.x; i < K / 2; i += blockDim.x) {
    float2& to = reinterpret_cast<float2*>(x)[row + i];
    const float2 more = __half22float2(reinterpret_cast<const __half2*>(y)[row + i]);
    to.x += more.x, to.y += more.y;
  }
}
#endif
