// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// y = x W^T for 4-bit W and a few rows of x, bound by reading W once.
//
// A block computes 16 rows of W over a part of the columns; its warps share them in tiles of 128
// and their sums are added at the end. Tiles are copied to shared memory ahead of their use, so
// that much is on the way while few registers are taken, and all blocks fit the GPU at once.
// Tensor cores multiply 16 rows of W by 8 rows of x (mma.m16n8k16): weights are the small
// integers that they are, exact in half precision, and a group's sum is scaled in float.
// Which columns meet in a product is free, as long as both sides agree: lane (g, t) = (lane / 4,
// lane % 4) has, of a tile, rows g and g + 8 and columns 32 i + 8 t + 0..7 for i = 0..3. So one
// 16-byte copy is what a lane needs of a row, and i is the group. See layout.py.
#ifndef NANOVLM_LINEAR
#define NANOVLM_LINEAR

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

// sum = A B for A of (16, 16), the lane's pairs a0..a3, and B of (16, 8), its pairs b0 and b1.
__device__ __forceinline__ void multiply(float (&sum)[4], unsigned a0, unsigned a1, unsigned a2,
                                         unsigned a3, unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
               "{%8,%9}, {%10,%10,%10,%10};\n"
               : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "f"(0.f));
}

// sum += A B.
__device__ __forceinline__ void multiply_add(float (&sum)[4], unsigned a0, unsigned a1,
                                             unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
               "{%8,%9}, {%0,%1,%2,%3};\n"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void copy_ahead(uint4* to, const uint4* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
               :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from) : "memory");
}

// One stage is what a lane copied between two calls; a stage may be empty.
__device__ __forceinline__ void end_stage() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Wait for all stages but the newest PENDING.
template <int PENDING>
__device__ __forceinline__ void wait_for_stage() {
  asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

// 16 rows and 128 columns of W: words of rows g, words of rows g + 8, and scales of both.
struct Tile {
  uint4 low[32], high[32], scale[8];
};

// total (rows g, g, g + 8, g + 8 of W; rows 2 t, 2 t + 1, 2 t, 2 t + 1 of x) += a tile times
// x: `columns(i)` are the lane's of group i, of row g of x. With ONE all lanes have those of one
// row, so that all columns of the product are the same and two of the four sums are enough.
template <bool ONE, typename Columns>
__device__ __forceinline__ void add_tile(float (&total)[4], const Tile& tile, int lane,
                                         const Columns& columns) {
  const uint4 l = tile.low[lane], h = tile.high[lane], q = tile.scale[lane / 4];
  const unsigned low[4] = {l.x, l.y, l.z, l.w}, high[4] = {h.x, h.y, h.z, h.w};
  const __half* scale = reinterpret_cast<const __half*>(&q);
  #pragma unroll
  for (int i = 0; i < 4; i += 2) {  // two groups at a time: a product waits for the one before
    float sum[2][4];
    const uint4 x[2] = {columns(i), columns(i + 1)};
    #pragma unroll
    for (int j = 0; j < 2; ++j) {
      multiply(sum[j], weight_pair<0>(low[i + j]), weight_pair<0>(high[i + j]),
               weight_pair<1>(low[i + j]), weight_pair<1>(high[i + j]), x[j].x, x[j].y);
    }
    #pragma unroll
    for (int j = 0; j < 2; ++j) {
      multiply_add(sum[j], weight_pair<2>(low[i + j]), weight_pair<2>(high[i + j]),
                   weight_pair<3>(low[i + j]), weight_pair<3>(high[i + j]), x[j].z, x[j].w);
    }
    #pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float a = __half2float(scale[i + j]), b = __half2float(scale[4 + i + j]);
      total[0] = fmaf(a, sum[j][0], total[0]);
      if (!ONE) total[1] = fmaf(a, sum[j][1], total[1]);
      total[2] = fmaf(b, sum[j][2], total[2]);
      if (!ONE) total[3] = fmaf(b, sum[j][3], total[3]);
    }
  }
}

// What becomes of y[row][column]: kept as half or as float, or put through the gate.
enum { STORE_HALF, STORE_FLOAT, GATE };
constexpr int WARPS = 8;
constexpr int AHEAD = 4;  // tiles of a warp that are on the way, at most
constexpr int SHARED = 48 << 10;  // bytes that any GPU has for a block

// x (m, K) half; weight (N / 16, tiles, 2, 32) words of 4 x 8 nibbles; scale (N / 16, tiles, 8)
// of 8 halves: four groups of row g, four of row g + 8. Blocks: (N / 16, PARTS, ceil(m / 8)) of
// 32 WARPS threads. y is (PARTS, m, N): with PARTS > 1 they are to be added. With GATE, row g is
// one of the gate and row g + 8 its partner, and y has N / 2 columns. ONE says that m is 1.
template <int N, int K, int PARTS, int END, bool ONE>
__device__ __forceinline__ void w4_linear(const __half* x, const void* __restrict__ weight_,
                                          const void* __restrict__ scale_, void* y, int m) {
  constexpr int TILES = (K + 127) / 128, SHARE = (TILES + PARTS - 1) / PARTS;
  constexpr int STEPS = (SHARE + WARPS - 1) / WARPS;  // tiles of a warp
  constexpr int OTHERS = WARPS * (ONE ? 256 * STEPS + 64 : 16 + 512);  // bytes of shared memory
  constexpr int ROOM = (SHARED - OTHERS) / (WARPS * (int)sizeof(Tile));
  constexpr int MOST = AHEAD < ROOM ? AHEAD : ROOM, DEPTH = STEPS < MOST ? STEPS : MOST;
  static_assert(DEPTH > 0, "x has too many columns for shared memory");
  __shared__ Tile tiles[WARPS][DEPTH];
  __shared__ uint4 single[WARPS][ONE ? STEPS : 1][16];  // columns of x, if it is one row
  __shared__ float rows[WARPS][ONE ? 16 : 128];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int begin = blockIdx.y * SHARE + warp, end = min(TILES, (int)(blockIdx.y + 1) * SHARE);
  const uint4* weight = static_cast<const uint4*>(weight_) + (size_t)blockIdx.x * TILES * 64;
  const uint4* scale = static_cast<const uint4*>(scale_) + (size_t)blockIdx.x * TILES * 8;
  auto fetch = [&](int s) {
    const int tile = begin + s * WARPS;
    if (tile < end) {
      Tile& to = tiles[warp][s % DEPTH];
      copy_ahead(&to.low[lane], weight + tile * 64 + lane);
      copy_ahead(&to.high[lane], weight + tile * 64 + 32 + lane);
      if (lane < 8) copy_ahead(&to.scale[lane], scale + tile * 8 + lane);
    }
    end_stage();
  };
  #pragma unroll
  for (int s = 0; s < DEPTH; ++s) fetch(s);
  let_next_start();
  wait_for_inputs();
  if (ONE) {
    #pragma unroll
    for (int s = 0; s < STEPS; s += 2) {
      const int mine = s + lane / 16, k = (begin + mine * WARPS) * 128 + lane % 16 * 8;
      if (mine < STEPS) {
        single[warp][mine][lane % 16] =
            k < K ? fresh(reinterpret_cast<const uint4*>(x + k)) : make_uint4(0, 0, 0, 0);
      }
    }
  }
  const int row = blockIdx.z * 8 + g;
  const __half* from = x + (size_t)row * K + 8 * t;
  float total[4] = {0.f, 0.f, 0.f, 0.f};
  #pragma unroll
  for (int s = 0; s < STEPS; ++s) {
    uint4 several[4];  // rows of x: on their way before the weights are waited for
    if (!ONE) {
      #pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int k = (begin + s * WARPS) * 128 + 32 * i;
        several[i] = row < m && k + 8 * t < K
            ? fresh(reinterpret_cast<const uint4*>(from + k)) : make_uint4(0, 0, 0, 0);
      }
    }
    wait_for_stage<DEPTH - 1>();
    __syncwarp();  // what other lanes copied is here, too
    if (begin + s * WARPS < end) {
      add_tile<ONE>(total, tiles[warp][s % DEPTH], lane,
                    [&](int i) { return ONE ? single[warp][s][4 * i + t] : several[i]; });
    }
    __syncwarp();  // the tile may be overwritten
    if (s + DEPTH < STEPS) fetch(s + DEPTH); else end_stage();
  }
  if (ONE) {  // rows of W are the threads' now
    if (t == 0) rows[warp][g] = total[0], rows[warp][g + 8] = total[2];
  } else {
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
      rows[warp][(2 * t + i % 2) * 16 + g + i / 2 * 8] = total[i];
    }
  }
  __syncthreads();
  if (threadIdx.x >= (ONE ? 16 : 128)) return;
  float sum = 0.f;
  #pragma unroll
  for (int w = 0; w < WARPS; ++w) sum += rows[w][threadIdx.x];
  // A thread has a row of W and a row of x; its partner is eight threads on.
  const int column = threadIdx.x % 16, line = blockIdx.z * 8 + threadIdx.x / 16;
  const float partner = __shfl_down_sync(ONE ? 0xffffu : 0xffffffffu, sum, 8);
  if (line >= m || (END == GATE && column >= 8)) return;
  if (END == GATE) {
    static_cast<__half*>(y)[(size_t)line * (N / 2) + blockIdx.x * 8 + column] =
        __float2half(sum / (1.f + __expf(-sum)) * partner);
    return;
  }
  const size_t place = ((size_t)blockIdx.y * m + line) * N + blockIdx.x * 16 + column;
  if (END == STORE_HALF) static_cast<__half*>(y)[place] = __float2half(sum);
  if (END == STORE_FLOAT) static_cast<float*>(y)[place] = sum;
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
  wait_for_inputs();  // the matrix before may still be read
  if (tile >= TILES) return;
  const size_t at = (size_t)blockIdx.x * TILES + tile;
  const uint4* weight = static_cast<const uint4*>(weight_) + at * 64 + lane;
  const uint4 scales = __ldg(static_cast<const uint4*>(scale_) + at * 8 + g);
  const __half* q = reinterpret_cast<const __half*>(&scales);
  #pragma unroll
  for (int side = 0; side < 2; ++side) {
    const uint4 words = __ldg(weight + side * 32);
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
