// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// Many rows on their way to torch's attention: K and V stored, queries rotated, the rows of a
// sequence gathered from the pool. K lies there before its rotary embedding.
//
// qkv (m, Q + 2 KV, D) half; pool (layers, 2, slots, KV, D) half; table (sequences, length);
// cosine, sine (positions, ROT / 2) float.
#ifndef NANOVLM_ROWS
#define NANOVLM_ROWS

// Dimensions 2 p, 2 p + 1 of a rotated head, and those with which they turn, for p < ROT / 4;
// the rest of the head follows unrotated.
template <int D, int ROT>
__device__ __forceinline__ void rotate_pair(const __half* __restrict__ from, int p,
                                            const float* __restrict__ cosine,
                                            const float* __restrict__ sine, __half* to) {
  constexpr int HALF = ROT / 2;
  if (p < HALF / 2) {
    const float2 a = __half22float2(reinterpret_cast<const __half2*>(from)[p]);
    const float2 b = __half22float2(reinterpret_cast<const __half2*>(from + HALF)[p]);
    const float2 c = reinterpret_cast<const float2*>(cosine)[p];
    const float2 s = reinterpret_cast<const float2*>(sine)[p];
    reinterpret_cast<__half2*>(to)[p] =
        __float22half2_rn(make_float2(a.x * c.x - b.x * s.x, a.y * c.y - b.y * s.y));
    reinterpret_cast<__half2*>(to + HALF)[p] =
        __float22half2_rn(make_float2(b.x * c.x + a.x * s.x, b.y * c.y + a.y * s.y));
  } else {
    const int d = ROT + 2 * (p - HALF / 2);
    *reinterpret_cast<__half2*>(to + d) = *reinterpret_cast<const __half2*>(from + d);
  }
}


// Store K and V of m rows; a block for each.
template <int Q, int KV, int D>
__device__ __forceinline__ void append_rows(const __half* __restrict__ qkv,
                                            const int* __restrict__ slot, __half* pool, int layer,
                                            int slots) {
  constexpr int WORDS = KV * D / 2;
  wait_for_inputs();
  const int row = blockIdx.x;
  const __half2* from =
      reinterpret_cast<const __half2*>(qkv + ((size_t)row * (Q + 2 * KV) + Q) * D);
  __half2* to = reinterpret_cast<__half2*>(pool) + ((size_t)layer * 2 * slots + slot[row]) * WORDS;
  for (int i = threadIdx.x; i < WORDS; i += blockDim.x) {
    to[i] = from[i];
    to[(size_t)slots * WORDS + i] = from[WORDS + i];
  }
}

// query (m, Q, D) half = the queries of m rows, rotated; a block for each row.
template <int Q, int KV, int D, int ROT>
__device__ __forceinline__ void rotate_queries(const __half* __restrict__ qkv,
                                               const float* __restrict__ cosine,
                                               const float* __restrict__ sine,
                                               const int* __restrict__ position,
                                               __half* __restrict__ query) {
  constexpr int HALF = ROT / 2, PAIRS = HALF / 2 + (D - ROT) / 2;
  wait_for_inputs();
  const int row = blockIdx.x;
  const size_t angle = (size_t)position[row] * HALF;
  for (int i = threadIdx.x; i < Q * PAIRS; i += blockDim.x) {
    rotate_pair<D, ROT>(qkv + ((size_t)row * (Q + 2 * KV) + i / PAIRS) * D, i % PAIRS,
                        cosine + angle, sine + angle,
                        query + ((size_t)row * Q + i / PAIRS) * D);
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
  wait_for_inputs();
  const int j = blockIdx.x, sequence = blockIdx.y;
  const size_t plane = (size_t)slots * KV * D;
  const __half* from = pool + (size_t)layer * 2 * plane
      + (size_t)table[(size_t)sequence * length + j] * KV * D;
  const size_t to = ((size_t)sequence * length + j) * KV * D, angle = (size_t)j * HALF;
  for (int i = threadIdx.x; i < KV * PAIRS; i += blockDim.x) {
    rotate_pair<D, ROT>(from + i / PAIRS * D, i % PAIRS, cosine + angle, sine + angle,
                        key + to + i / PAIRS * D);
  }
  for (int i = threadIdx.x; i < KV * D / 2; i += blockDim.x) {
    reinterpret_cast<__half2*>(value + to)[i] = reinterpret_cast<const __half2*>(from + plane)[i];
  }
}
#endif
