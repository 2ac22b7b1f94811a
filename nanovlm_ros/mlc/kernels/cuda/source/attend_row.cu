// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// Attention over a pool of K/V rows that sequences reach through a table of slots; K lies there
// before its rotary embedding and is rotated when it is read (see kernels/cpu/attention.py).
//
// qkv (m, Q + 2 KV, D) half; pool (layers, 2, slots, KV, D) half; table (sequences, length);
// cosine, sine (positions, ROT / 2) float.
#ifndef NANOVLM_ATTEND_ROW
#define NANOVLM_ATTEND_ROW

// A lane's share of a head: its pairs of dimensions that turn together, or of such that do not.
template <int D, int ROT>
struct Pairs {
  static constexpr int HALF = ROT / 2, TURNING = HALF / 2, ALL = TURNING + (D - ROT) / 2;
  static constexpr int OF_LANE = (ALL + 31) / 32;
  __half2 a[OF_LANE], b[OF_LANE];

  __device__ __forceinline__ void load(const __half* head, int lane) {
    #pragma unroll
    for (int i = 0; i < OF_LANE; ++i) {
      const int p = lane + 32 * i;
      a[i] = b[i] = __half2half2(__ushort_as_half(0));
      if (p < TURNING) {
        a[i] = fresh(reinterpret_cast<const __half2*>(head) + p);
        b[i] = fresh(reinterpret_cast<const __half2*>(head + HALF) + p);
      } else if (p < ALL) {
        a[i] = fresh(reinterpret_cast<const __half2*>(head + ROT) + p - TURNING);
      }
    }
  }

  // The numbers of pair i, turned by an angle.
  __device__ __forceinline__ float4 turned(int i, float2 c, float2 s) const {
    const float2 x = __half22float2(a[i]), y = __half22float2(b[i]);
    return make_float4(x.x * c.x - y.x * s.x, x.y * c.y - y.y * s.y, y.x * c.x + x.x * s.x,
                       y.y * c.y + x.y * s.y);
  }
};

template <int D, int ROT>
__device__ __forceinline__ void load_angles(const float* __restrict__ cosine,
                                            const float* __restrict__ sine, int position, int lane,
                                            float2 (&c)[Pairs<D, ROT>::OF_LANE],
                                            float2 (&s)[Pairs<D, ROT>::OF_LANE]) {
  using P = Pairs<D, ROT>;
  #pragma unroll
  for (int i = 0; i < P::OF_LANE; ++i) {
    const int p = lane + 32 * i;
    c[i] = make_float2(1.f, 1.f), s[i] = make_float2(0.f, 0.f);
    if (p < P::TURNING) {
      c[i] = reinterpret_cast<const float2*>(cosine + (size_t)position * P::HALF)[p];
      s[i] = reinterpret_cast<const float2*>(sine + (size_t)position * P::HALF)[p];
    }
  }
}

__device__ __forceinline__ float warp_sum(float value) {
  #pragma unroll
  for (int o = 16; o; o >>= 1) value += __shfl_xor_sync(0xffffffffu, value, o);
  return value;
}

// One row of each of m sequences: blocks (ceil(length / (READERS EACH)), KV, m) of 32 READERS
// threads, a warp for EACH keys. Blocks of a row that have something to read leave (maximum, sum, D sums) of
// their keys in `part` (m, Q, blocks, D + 2), and the last of them, found by `counter` (m, KV),
// which is zero before and after, joins them. The row's own K and V are stored on the way.
template <int Q, int KV, int D, int ROT, int READERS, int EACH>
__device__ __forceinline__ void attend_row(
    const __half* qkv, const float* __restrict__ cosine,
    const float* __restrict__ sine, __half* pool, const int* __restrict__ table,
    const int* __restrict__ slot, const int* __restrict__ position, float* part, int* counter,
    __half* __restrict__ out, int layer, int slots, int length) {
  using P = Pairs<D, ROT>;
  constexpr int KEYS = READERS * EACH, G = Q / KV, COLUMNS = (D / 2 + 31) / 32;  // pairs of V that a lane adds up
  __shared__ float sums[READERS][G][D];
  __shared__ float2 rest[READERS][G];  // maximum and sum of the weights of a warp's keys
  __shared__ bool last;
  const int split = blockIdx.x, h = blockIdx.y, row = blockIdx.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  let_next_start();
  const int end = position[row] + 1, first = split * KEYS;
  if (first >= end) return;
  const int blocks = (end + KEYS - 1) / KEYS, begin = first + warp * EACH;
  const __half* line = qkv + (size_t)row * (Q + 2 * KV) * D;
  const size_t plane = (size_t)slots * KV * D;
  __half* keys = pool + (size_t)layer * 2 * plane + h * D;
  __half* values = keys + plane;
  // 1. K and V of the rows that were there before are on their way while the queries are made.
  const int place = lane < EACH && begin + lane < end - 1
      ? table[(size_t)row * length + begin + lane] : 0;
  P key[EACH];
  __half2 value[EACH][COLUMNS];
  float2 c[P::OF_LANE], s[P::OF_LANE];          // angles of the first key
  float2 c1[P::OF_LANE], s1[P::OF_LANE];        // and from one to the next
  auto load = [&](int k, const __half* from_key, const __half* from_value) {
    key[k].load(from_key, lane);
    #pragma unroll
    for (int i = 0; i < COLUMNS; ++i) {
      if (lane + 32 * i < D / 2) {
        value[k][i] = fresh(reinterpret_cast<const __half2*>(from_value) + lane + 32 * i);
      }
    }
  };
  #pragma unroll
  for (int k = 0; k < EACH; ++k) {
    const size_t at = (size_t)__shfl_sync(0xffffffffu, place, k) * KV * D;
    if (begin + k < end - 1) load(k, keys + at, values + at);
  }
  load_angles<D, ROT>(cosine, sine, min(begin, end - 1), lane, c, s);
  load_angles<D, ROT>(cosine, sine, 1, lane, c1, s1);
  float2 own_c[P::OF_LANE], own_s[P::OF_LANE];
  load_angles<D, ROT>(cosine, sine, end - 1, lane, own_c, own_s);
  wait_for_inputs();
  // 2. The row's own K and V, which are stored, too.
  #pragma unroll
  for (int k = 0; k < EACH; ++k) {
    if (begin + k != end - 1) continue;
    const __half* own = line + (Q + h) * D;
    load(k, own, own + KV * D);
    const size_t to = (size_t)slot[row] * KV * D;
    for (int d = lane; d < D / 2; d += 32) {
      reinterpret_cast<__half2*>(keys + to)[d] = fresh(reinterpret_cast<const __half2*>(own) + d);
      reinterpret_cast<__half2*>(values + to)[d] =
          fresh(reinterpret_cast<const __half2*>(own + KV * D) + d);
    }
  }
  // 3. Queries, turned and scaled; their products with the keys, in powers of 2.
  const float scale = rsqrtf((float)D) * 1.4426950408889634f;
  float score[G][EACH];
  {
    P query[G];
    #pragma unroll
    for (int g = 0; g < G; ++g) query[g].load(line + (h * G + g) * D, lane);
    #pragma unroll
    for (int g = 0; g < G; ++g) {
      #pragma unroll
      for (int k = 0; k < EACH; ++k) score[g][k] = 0.f;
    }
    #pragma unroll
    for (int i = 0; i < P::OF_LANE; ++i) {
      float4 q[G];
      #pragma unroll
      for (int g = 0; g < G; ++g) q[g] = query[g].turned(i, own_c[i], own_s[i]);
      #pragma unroll
      for (int k = 0; k < EACH; ++k) {
        if (begin + k >= end) continue;
        const float4 x = key[k].turned(i, c[i], s[i]);
        #pragma unroll
        for (int g = 0; g < G; ++g) {
          score[g][k] += q[g].x * x.x + q[g].y * x.y + q[g].z * x.z + q[g].w * x.w;
        }
        const float2 a = c[i], b = s[i];
        c[i] = make_float2(a.x * c1[i].x - b.x * s1[i].x, a.y * c1[i].y - b.y * s1[i].y);
        s[i] = make_float2(b.x * c1[i].x + a.x * s1[i].x, b.y * c1[i].y + a.y * s1[i].y);
      }
    }
  }
  // 4. Softmax over the warp's keys, and the weighted sum of V.
  #pragma unroll
  for (int g = 0; g < G; ++g) {
    float top = -1e30f, sum = 0.f;
    #pragma unroll
    for (int k = 0; k < EACH; ++k) {
      score[g][k] = begin + k < end ? warp_sum(score[g][k]) * scale : -1e30f;
      top = fmaxf(top, score[g][k]);
    }
    float2 total[COLUMNS] = {};
    #pragma unroll
    for (int k = 0; k < EACH; ++k) {
      if (begin + k >= end) continue;
      const float weight = exp2f(score[g][k] - top);
      sum += weight;
      #pragma unroll
      for (int i = 0; i < COLUMNS; ++i) {
        const float2 v = __half22float2(value[k][i]);
        total[i].x = fmaf(weight, v.x, total[i].x);
        total[i].y = fmaf(weight, v.y, total[i].y);
      }
    }
    #pragma unroll
    for (int i = 0; i < COLUMNS; ++i) {
      if (lane + 32 * i < D / 2) {
        reinterpret_cast<float2*>(sums[warp][g])[lane + 32 * i] = total[i];
      }
    }
    if (lane == 0) rest[warp][g] = make_float2(top, sum);
  }
  // 5. The warps' sums joined.
  const size_t head = (size_t)row * Q + h * G;
  const int splits = gridDim.x;
  auto join = [&](auto write) {  // write(head, dimension, maximum, sum of weights, sum)
    __syncthreads();
    for (int i = threadIdx.x; i < G * D; i += 32 * READERS) {
      const int g = i / D, d = i % D;
      float top = -1e30f, sum = 0.f, total = 0.f;
      #pragma unroll
      for (int w = 0; w < READERS; ++w) top = fmaxf(top, rest[w][g].x);
      #pragma unroll
      for (int w = 0; w < READERS; ++w) {
        const float shrink = exp2f(rest[w][g].x - top);
        sum = fmaf(shrink, rest[w][g].y, sum);
        total = fmaf(shrink, sums[w][g][d], total);
      }
      write(head + g, d, top, sum, total);
    }
  };
  if (blocks == 1) {
    join([&](size_t of, int d, float, float sum, float total) {
      out[of * D + d] = __float2half(total / sum);
    });
    return;
  }
  join([&](size_t of, int d, float top, float sum, float total) {
    float* to = part + (of * splits + split) * (D + 2);
    to[2 + d] = total;
    if (d == 0) to[0] = top, to[1] = sum;
  });
  // 6. The last block of this row and head joins the parts, each warp some of them.
  __syncthreads();
  if (threadIdx.x == 0) {  // its fence holds for what the block has written
    __threadfence();
    last = atomicAdd(counter + row * KV + h, 1) == blocks - 1;
    if (last) counter[row * KV + h] = 0;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  #pragma unroll
  for (int g = 0; g < G; ++g) {
    float top = -1e30f, sum = 0.f;
    float2 total[COLUMNS] = {};
    for (int b = warp; b < blocks; b += READERS) {
      const float* from = part + ((head + g) * splits + b) * (D + 2);
      const float2 its = __ldcg(reinterpret_cast<const float2*>(from));
      const float higher = fmaxf(top, its.x), old = exp2f(top - higher), now = exp2f(its.x - higher);
      top = higher;
      sum = old * sum + now * its.y;
      #pragma unroll
      for (int i = 0; i < COLUMNS; ++i) {
        if (lane + 32 * i >= D / 2) continue;
        const float2 v = __ldcg(reinterpret_cast<const float2*>(from + 2) + lane + 32 * i);
        total[i].x = old * total[i].x + now * v.x;
        total[i].y = old * total[i].y + now * v.y;
      }
    }
    #pragma unroll
    for (int i = 0; i < COLUMNS; ++i) {
      if (lane + 32 * i < D / 2) {
        reinterpret_cast<float2*>(sums[warp][g])[lane + 32 * i] = total[i];
      }
    }
    if (lane == 0) rest[warp][g] = make_float2(top, sum);
  }
  join([&](size_t of, int d, float, float sum, float total) {
    out[of * D + d] = __float2half(total / sum);
  });
}
#endif
