// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// y = x W^T for 4-bit W and a few rows of x, bound by reading W once.
//
// A block computes 16 rows of W; its warps share the columns in tiles of 128 and their sums
// are added at the end. Every lane has all of its weights on the way before it uses the first.
// Tensor cores multiply 16 rows of W by 8 rows of x (mma.m16n8k16): weights are the small
// integers that they are, exact in half precision, and a group's sum is scaled in float.
// Which columns meet in a product is free, as long as both sides agree: lane (g, t) = (lane / 4,
// lane % 4) has, of a tile, rows g and g + 8 and columns 32 i + 8 t + 0..7 for i = 0..3. So one
// 16-byte load is what a lane needs of a row, and i is the group. See layout.py.
#ifndef NANOVLM_LINEAR
#define NANOVLM_LINEAR
#include <cuda_fp16.h>

// The pair j (0..3) of a word: columns 2 j and 2 j + 1, as exact half numbers in [-7, 8].
template <int J>
__device__ __forceinline__ unsigned weight_pair(unsigned word) {
  // A nibble in the low bits of the half number 1024 makes 1024 + nibble.
  const unsigned bits = ((J < 2 ? word : word >> 8) & (J % 2 ? 0x00f000f0u : 0x000f000fu))
      | 0x64006400u;
  __half2 value = *reinterpret_cast<const __half2*>(&bits);
  if (J % 2) {  // the nibble is 4 bits up: 1024 + 16 nibble
    value = __hfma2(value, __float2half2_rn(1.f / 16), __float2half2_rn(-71.f));
  } else {
    value = __hsub2(value, __float2half2_rn(1031.f));
  }
  return *reinterpret_cast<unsigned*>(&value);
}

__device__ __forceinline__ void multiply(float (&sum)[4], unsigned a0, unsigned a1, unsigned a2,
                                         unsigned a3, unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// A load that is used once: it should not push anything out of the caches.
__device__ __forceinline__ uint4 load_once(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}

__device__ __forceinline__ void add_group(float (&total)[4], unsigned low, unsigned high,
                                          const uint4& x, float low_scale, float high_scale) {
  float sum[4] = {0.f, 0.f, 0.f, 0.f};
  multiply(sum, weight_pair<0>(low), weight_pair<0>(high), weight_pair<1>(low),
           weight_pair<1>(high), x.x, x.y);
  multiply(sum, weight_pair<2>(low), weight_pair<2>(high), weight_pair<3>(low),
           weight_pair<3>(high), x.z, x.w);
  total[0] = fmaf(low_scale, sum[0], total[0]);
  total[1] = fmaf(low_scale, sum[1], total[1]);
  total[2] = fmaf(high_scale, sum[2], total[2]);
  total[3] = fmaf(high_scale, sum[3], total[3]);
}

// What becomes of y[row][column]: kept as half or float, added, or put through the gate.
enum { STORE_HALF, STORE_FLOAT, ADD_FLOAT, GATE };

// x (m, K) half; weight (N / 16, tiles, 2, 32) words of 4 x 8 nibbles; scale (N / 16, tiles, 8)
// of 8 halves: four groups of row g, four of row g + 8. Blocks: (N / 16, ceil(m / 8)) of
// 32 WARPS threads. With GATE, row g is one of the gate and row g + 8 its partner, and y has
// N / 2 columns.
template <int N, int K, int WARPS, int END>
__device__ __forceinline__ void w4_linear(const __half* __restrict__ x,
                                          const void* __restrict__ weight_,
                                          const void* __restrict__ scale_, void* y, int m) {
  constexpr int TILES = (K + 127) / 128;
  constexpr int STEPS = (TILES + WARPS - 1) / WARPS;
  constexpr int WAVE = STEPS < 8 ? STEPS : 8;  // tiles of a warp that are on the way at once
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int row = blockIdx.y * 8 + g;  // of x
  const uint4* weight = static_cast<const uint4*>(weight_) + (size_t)blockIdx.x * TILES * 64 + lane;
  const uint4* scale = static_cast<const uint4*>(scale_) + (size_t)blockIdx.x * TILES * 8 + g;
  const __half* from = x + (size_t)row * K + 8 * t;
  float total[4] = {0.f, 0.f, 0.f, 0.f};
  #pragma unroll
  for (int wave = 0; wave < STEPS; wave += WAVE) {
    uint4 low[WAVE], high[WAVE], scales[WAVE];
    #pragma unroll
    for (int s = 0; s < WAVE; ++s) {
      const int tile = warp + (wave + s) * WARPS;
      if (wave + s < STEPS && tile < TILES) {
        low[s] = load_once(weight + tile * 64);
        high[s] = load_once(weight + tile * 64 + 32);
        scales[s] = __ldg(scale + tile * 8);
      }
    }
    #pragma unroll
    for (int s = 0; s < WAVE; ++s) {
      const int tile = warp + (wave + s) * WARPS;
      if (wave + s < STEPS && tile < TILES) {
        uint4 columns[4];
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int k = tile * 128 + 32 * i;
          columns[i] = row < m && (K % 128 == 0 || k < K)
              ? *reinterpret_cast<const uint4*>(from + k) : make_uint4(0, 0, 0, 0);
        }
        const __half* q = reinterpret_cast<const __half*>(&scales[s]);
        add_group(total, low[s].x, high[s].x, columns[0], __half2float(q[0]), __half2float(q[4]));
        add_group(total, low[s].y, high[s].y, columns[1], __half2float(q[1]), __half2float(q[5]));
        add_group(total, low[s].z, high[s].z, columns[2], __half2float(q[2]), __half2float(q[6]));
        add_group(total, low[s].w, high[s].w, columns[3], __half2float(q[3]), __half2float(q[7]));
      }
    }
  }
  // total: rows g (0, 1) and g + 8 (2, 3) of W, rows 2 t and 2 t + 1 of x.
  __shared__ float part[WARPS][4][32];
  #pragma unroll
  for (int i = 0; i < 4; ++i) part[warp][i][lane] = total[i];
  __syncthreads();
  if (threadIdx.x >= (END == GATE ? 64 : 128)) return;
  const int i = threadIdx.x / 32;
  float sum = 0.f, partner = 0.f;
  #pragma unroll
  for (int w = 0; w < WARPS; ++w) {
    sum += part[w][i][lane];
    if (END == GATE) partner += part[w][i + 2][lane];
  }
  const int line = blockIdx.y * 8 + 2 * t + i % 2;
  if (line >= m) return;
  if (END == GATE) {
    const int column = blockIdx.x * 8 + g;
    static_cast<__half*>(y)[(size_t)line * (N / 2) + column] =
        __float2half(sum / (1.f + __expf(-sum)) * partner);
    return;
  }
  const size_t place = (size_t)line * N + blockIdx.x * 16 + g + i / 2 * 8;
  if (END == STORE_HALF) static_cast<__half*>(y)[place] = __float2half(sum);
  if (END == STORE_FLOAT) static_cast<float*>(y)[place] = sum;
  if (END == ADD_FLOAT) static_cast<float*>(y)[place] += sum;
}

// W (N, K) half = the 4-bit W, for a matrix product with many rows. A warp writes a tile of
// (16, 128). With GATE the rows go back to gate first, then its partners.
template <int N, int K, bool GATED>
__device__ __forceinline__ void w4_dequantize(const void* __restrict__ weight_,
                                              const void* __restrict__ scale_,
                                              __half* __restrict__ out) {
  constexpr int TILES = (K + 127) / 128;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int tile = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
  if (tile >= TILES) return;
  const size_t at = (size_t)blockIdx.x * TILES + tile;
  const uint4* weight = static_cast<const uint4*>(weight_) + at * 64 + lane;
  const uint4 scales = __ldg(static_cast<const uint4*>(scale_) + at * 8 + g);
  const __half* q = reinterpret_cast<const __half*>(&scales);
  #pragma unroll
  for (int side = 0; side < 2; ++side) {
    const uint4 words = load_once(weight + side * 32);
    const size_t row = GATED ? (size_t)side * (N / 2) + blockIdx.x * 8 + g
                             : (size_t)blockIdx.x * 16 + side * 8 + g;
    const unsigned word[4] = {words.x, words.y, words.z, words.w};
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int k = tile * 128 + 32 * i + 8 * t;
      if (K % 128 != 0 && k >= K) continue;
      const __half2 factor = __half2half2(q[4 * side + i]);
      unsigned pair[4] = {weight_pair<0>(word[i]), weight_pair<1>(word[i]),
                          weight_pair<2>(word[i]), weight_pair<3>(word[i])};
      #pragma unroll
      for (int j = 0; j < 4; ++j) {
        *reinterpret_cast<__half2*>(&pair[j]) =
            __hmul2(*reinterpret_cast<__half2*>(&pair[j]), factor);
      }
      *reinterpret_cast<uint4*>(out + row * K + k) = make_uint4(pair[0], pair[1], pair[2], pair[3]);
    }
  }
}
#endif
