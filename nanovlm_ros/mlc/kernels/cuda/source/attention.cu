// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// Attention over a pool of K/V rows that sequences reach through a table of slots; K lies there
// before its rotary embedding and is rotated when it is read (see kernels/cpu/attention.py).
//
// qkv (m, Q + 2 KV, D) half; pool (layers, 2, slots, KV, D) half; table (sequences, length);
// cosine, sine (positions, ROT / 2) float.
#ifndef NANOVLM_ATTENTION
#define NANOVLM_ATTENTION
#include <cuda_fp16.h>

// Dimensions 2 p, 2 p + 1 of a rotated head, and those with which they turn, for p < ROT / 4;
// the rest of the head follows unrotated. `to` has D numbers.
template <int D, int ROT, typename Out>
__device__ __forceinline__ void rotate_pair(const __half* __restrict__ from, int p,
                                            const float* __restrict__ cosine,
                                            const float* __restrict__ sine, float factor, Out* to) {
  constexpr int HALF = ROT / 2;
  if (p < HALF / 2) {
    const float2 a = __half22float2(reinterpret_cast<const __half2*>(from)[p]);
    const float2 b = __half22float2(reinterpret_cast<const __half2*>(from + HALF)[p]);
    const float2 c = reinterpret_cast<const float2*>(cosine)[p];
    const float2 s = reinterpret_cast<const float2*>(sine)[p];
    to[2 * p] = factor * (a.x * c.x - b.x * s.x);
    to[2 * p + 1] = factor * (a.y * c.y - b.y * s.y);
    to[HALF + 2 * p] = factor * (b.x * c.x + a.x * s.x);
    to[HALF + 2 * p + 1] = factor * (b.y * c.y + a.y * s.y);
  } else {
    const int d = ROT + 2 * (p - HALF / 2);
    const float2 a = __half22float2(*reinterpret_cast<const __half2*>(from + d));
    to[d] = factor * a.x;
    to[d + 1] = factor * a.y;
  }
}

constexpr int THREADS = 128;
constexpr int KEYS = 64;  // a block reads

// One row of each of m sequences: blocks (ceil(length / KEYS), KV, m). Blocks of a row that have
// something to read leave (maximum, sum, D sums) of their keys in `part` (m, Q, blocks, D + 2),
// and the last of them, found by `counter` (m, KV), which is zero before and after, joins them.
// The row's own K and V are stored on the way.
template <int Q, int KV, int D, int ROT>
__device__ __forceinline__ void attend_row(
    const __half* __restrict__ qkv, const float* __restrict__ cosine,
    const float* __restrict__ sine, __half* pool, const int* __restrict__ table,
    const int* __restrict__ slot, const int* __restrict__ position, float* part, int* counter,
    __half* __restrict__ out, int layer, int slots, int length) {
  constexpr int G = Q / KV, HALF = ROT / 2, PAIRS = HALF / 2 + (D - ROT) / 2;
  constexpr int WIDE = D / 2;               // threads for the columns of V
  constexpr int TEAMS = THREADS / WIDE;     // that share the keys
  constexpr int EACH = (KEYS + TEAMS - 1) / TEAMS;
  __shared__ float key[KEYS][D + 2];
  __shared__ float query[G][D];
  __shared__ float weight[G][KEYS];
  __shared__ float peak[G], sum[G];
  __shared__ int place[KEYS];
  __shared__ bool last;
  const int split = blockIdx.x, h = blockIdx.y, row = blockIdx.z, thread = threadIdx.x;
  const int end = position[row] + 1, first = split * KEYS;
  if (first >= end) return;
  const int count = min(KEYS, end - first), blocks = (end + KEYS - 1) / KEYS;
  const bool newest = first + count == end;
  const __half* line = qkv + (size_t)row * (Q + 2 * KV) * D;
  const __half* new_key = line + (Q + h) * D;
  const __half* new_value = line + (Q + KV + h) * D;
  const size_t plane = (size_t)slots * KV * D;
  __half* keys = pool + (size_t)layer * 2 * plane + h * D;
  __half* values = keys + plane;
  if (thread < KEYS) place[thread] = thread < count ? table[(size_t)row * length + first + thread] : 0;
  __syncthreads();
  // 1. V on its way; K rotated; the queries rotated, in powers of 2.
  const int column = thread % WIDE, team = thread / WIDE;
  __half2 value[EACH];
  #pragma unroll
  for (int e = 0; e < EACH; ++e) {
    const int j = team + e * TEAMS;
    if (team < TEAMS && j < count) {
      const __half* from = newest && j == count - 1 ? new_value : values + (size_t)place[j] * KV * D;
      value[e] = reinterpret_cast<const __half2*>(from)[column];
    }
  }
  for (int i = thread; i < count * PAIRS; i += THREADS) {
    const int j = i / PAIRS, p = i % PAIRS;
    const __half* from = newest && j == count - 1 ? new_key : keys + (size_t)place[j] * KV * D;
    const size_t angle = (size_t)(first + j) * HALF;
    rotate_pair<D, ROT>(from, p, cosine + angle, sine + angle, 1.f, key[j]);
  }
  const float scale = rsqrtf((float)D) * 1.4426950408889634f;
  for (int i = thread; i < G * PAIRS; i += THREADS) {
    const size_t angle = (size_t)(end - 1) * HALF;
    rotate_pair<D, ROT>(line + (h * G + i / PAIRS) * D, i % PAIRS, cosine + angle, sine + angle,
                        scale, query[i / PAIRS]);
  }
  if (newest) {
    const size_t to = (size_t)slot[row] * KV * D;
    for (int d = thread; d < D; d += THREADS) keys[to + d] = new_key[d], values[to + d] = new_value[d];
  }
  __syncthreads();
  // 2. Scores: two threads a key.
  for (int g = 0; g < G; ++g) {
    const int j = thread / 2;
    float dot = 0.f;
    if (j < count) {
      #pragma unroll 16
      for (int d = thread % 2; d < D; d += 2) dot = fmaf(query[g][d], key[j][d], dot);
    }
    dot += __shfl_xor_sync(0xffffffffu, dot, 1);
    if (thread % 2 == 0) weight[g][j] = j < count ? dot : -1e30f;
  }
  __syncthreads();
  // 3. Softmax of these keys: a warp a head.
  for (int g = thread / 32; g < G; g += THREADS / 32) {
    const int lane = thread % 32;
    const float a = weight[g][lane], b = weight[g][lane + 32];
    float top = fmaxf(a, b);
    for (int o = 16; o; o >>= 1) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, o));
    const float p = exp2f(a - top), q = exp2f(b - top);
    float total = p + q;
    for (int o = 16; o; o >>= 1) total += __shfl_xor_sync(0xffffffffu, total, o);
    weight[g][lane] = p, weight[g][lane + 32] = q;
    if (lane == 0) peak[g] = top, sum[g] = total;
  }
  __syncthreads();
  // 4. The weighted sum of V: teams of threads, added in shared memory.
  float* joined = &key[0][0];  // (G, TEAMS, D); K is not needed any more
  for (int g = 0; g < G; ++g) {
    float2 total = make_float2(0.f, 0.f);
    #pragma unroll
    for (int e = 0; e < EACH; ++e) {
      const int j = team + e * TEAMS;
      if (team < TEAMS && j < count) {
        const float2 v = __half22float2(value[e]);
        total.x = fmaf(weight[g][j], v.x, total.x);
        total.y = fmaf(weight[g][j], v.y, total.y);
      }
    }
    if (team < TEAMS) {
      reinterpret_cast<float2*>(joined + (g * TEAMS + team) * D)[column] = total;
    }
  }
  __syncthreads();
  const size_t head = (size_t)row * Q + h * G;
  const int splits = gridDim.x;
  for (int i = thread; i < G * D; i += THREADS) {
    const int g = i / D, d = i % D;
    float total = 0.f;
    #pragma unroll
    for (int team = 0; team < TEAMS; ++team) total += joined[(g * TEAMS + team) * D + d];
    if (blocks == 1) {
      out[(head + g) * D + d] = __float2half(total / sum[g]);
    } else {
      float* to = part + ((head + g) * splits + split) * (D + 2);
      to[2 + d] = total;
      if (d == 0) to[0] = peak[g], to[1] = sum[g];
    }
  }
  if (blocks == 1) return;
  // 5. The last block of this row and head joins the parts.
  __threadfence();
  __syncthreads();
  if (thread == 0) last = atomicAdd(counter + row * KV + h, 1) == blocks - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  if (thread == 0) counter[row * KV + h] = 0;
  for (int i = thread; i < G * D; i += THREADS) {
    const int g = i / D, d = i % D;
    const float* from = part + (head + g) * splits * (D + 2);
    float top = -1e30f, total = 0.f, denominator = 0.f;
    for (int b = 0; b < blocks; ++b) top = fmaxf(top, __ldcg(from + b * (D + 2)));
    for (int b = 0; b < blocks; ++b) {
      const float shrink = exp2f(__ldcg(from + b * (D + 2)) - top);
      denominator = fmaf(shrink, __ldcg(from + b * (D + 2) + 1), denominator);
      total = fmaf(shrink, __ldcg(from + b * (D + 2) + 2 + d), total);
    }
    out[(head + g) * D + d] = __float2half(total / denominator);
  }
}

// Store K and V of m rows; blocks (m, 2 KV) of 64 threads.
template <int Q, int KV, int D>
__device__ __forceinline__ void append_rows(const __half* __restrict__ qkv,
                                            const int* __restrict__ slot, __half* pool, int layer,
                                            int slots) {
  const int row = blockIdx.x, c = blockIdx.y / KV, h = blockIdx.y % KV;
  const __half* from = qkv + ((size_t)row * (Q + 2 * KV) + Q + blockIdx.y) * D;
  __half* to = pool + (((size_t)layer * 2 + c) * slots + slot[row]) * KV * D + h * D;
  for (int d = threadIdx.x; d < D / 2; d += blockDim.x) {
    reinterpret_cast<__half2*>(to)[d] = reinterpret_cast<const __half2*>(from)[d];
  }
}

// query (m, Q, D) half = the queries of m rows, rotated; blocks (m, Q) of 64 threads.
template <int Q, int KV, int D, int ROT>
__device__ __forceinline__ void rotate_queries(const __half* __restrict__ qkv,
                                               const float* __restrict__ cosine,
                                               const float* __restrict__ sine,
                                               const int* __restrict__ position,
                                               __half* __restrict__ query) {
  constexpr int HALF = ROT / 2, PAIRS = HALF / 2 + (D - ROT) / 2;
  const int row = blockIdx.x, h = blockIdx.y;
  const size_t angle = (size_t)position[row] * HALF;
  for (int p = threadIdx.x; p < PAIRS; p += blockDim.x) {
    rotate_pair<D, ROT>(qkv + ((size_t)row * (Q + 2 * KV) + h) * D, p, cosine + angle,
                        sine + angle, 1.f, query + ((size_t)row * Q + h) * D);
  }
}

// K (rotated) and V (sequences, length, KV, D) half of every row of a table; blocks
// (length, sequences) of 128 threads. Places past the end of a sequence hold row 0 of the pool.
template <int KV, int D, int ROT>
__device__ __forceinline__ void gather_rows(const __half* __restrict__ pool,
                                            const float* __restrict__ cosine,
                                            const float* __restrict__ sine,
                                            const int* __restrict__ table, __half* __restrict__ key,
                                            __half* __restrict__ value, int layer, int slots,
                                            int length) {
  constexpr int HALF = ROT / 2, PAIRS = HALF / 2 + (D - ROT) / 2;
  const int j = blockIdx.x, sequence = blockIdx.y;
  const size_t plane = (size_t)slots * KV * D;
  const __half* from = pool + (size_t)layer * 2 * plane
      + (size_t)table[(size_t)sequence * length + j] * KV * D;
  const size_t to = ((size_t)sequence * length + j) * KV * D, angle = (size_t)j * HALF;
  for (int i = threadIdx.x; i < KV * PAIRS; i += blockDim.x) {
    rotate_pair<D, ROT>(from + i / PAIRS * D, i % PAIRS, cosine + angle, sine + angle, 1.f,
                        key + to + i / PAIRS * D);
  }
  for (int i = threadIdx.x; i < KV * D / 2; i += blockDim.x) {
    reinterpret_cast<__half2*>(value + to)[i] = reinterpret_cast<const __half2*>(from + plane)[i];
  }
}
#endif
