// Copyright 2026 nanovlm_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// From logits to a token, as `engine.sampler` draws it. Nucleus sampling (Holtzman et al. 2020,
// arXiv:1904.09751) without sorting: the least logit of the nucleus is found by bisection of its
// bits, and a token is drawn among those that are left in the order of their ids.
#ifndef NANOVLM_SAMPLE
#define NANOVLM_SAMPLE

typedef unsigned long long Mass;  // of a token: exp((logit - largest) / temperature), in 2^-40

constexpr int SAMPLE_WARPS = 32, SAMPLE_THREADS = 32 * SAMPLE_WARPS;
constexpr int MASKED = 1, PENALISED = 2;  // flags

// What is to be known of a row; bits of the ids follow: those that are allowed, then those that
// the penalty counts.
struct Settings {
  float temperature, penalty;
  int flags, count;  // count: ids that there are
  double top_p, place;
};

// The logits of a row, after the penalty and the mask.
struct Logits {
  const float* values;
  const unsigned *allowed, *seen;
  float penalty;
  int flags;

  __device__ float operator()(int i) const {
    float l = values[i];
    if ((flags & PENALISED) && (seen[i / 32] >> i % 32 & 1))
      l = l > 0.f ? __fdiv_rn(l, penalty) : l * penalty;
    return !(flags & MASKED) || (allowed[i / 32] >> i % 32 & 1) ? l : -INFINITY;
  }
};

// Bits that order as the numbers do; 0 and -0 are one. No number has 0.
__device__ __forceinline__ unsigned to_order(float l) {
  const unsigned bits = __float_as_uint(l + 0.f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float from_order(unsigned order) {
  return __uint_as_float(order >> 31 ? order & 0x7fffffffu : ~order);
}

__device__ __forceinline__ Mass mass_of(float l, float largest, float temperature) {
  return (Mass)(expf((l - largest) / temperature) * 0x1p40f);
}

struct Add {
  __device__ Mass operator()(Mass a, Mass b) const { return a + b; }
};

struct Larger {
  __device__ Mass operator()(Mass a, Mass b) const { return a > b ? a : b; }
};

// Over all threads of the block, each of which gets it.
template <class Op>
__device__ Mass reduce(Mass value, Op op) {
  __shared__ Mass parts[SAMPLE_WARPS];
  for (int o = 16; o; o >>= 1) value = op(value, __shfl_xor_sync(~0u, value, o));
  __syncthreads();  // what was there before may still be read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = parts[threadIdx.x % 32];
  for (int o = 16; o; o >>= 1) value = op(value, __shfl_xor_sync(~0u, value, o));
  return value;
}

// The tokens that may be drawn: those above `cut`, and the first `ties` of those that are at it.
struct Nucleus {
  unsigned cut;
  Mass ties, each, all;  // `each` is the mass of a token at the cut, `all` that of the nucleus
};

__device__ Nucleus find_nucleus(const Logits& logits, int count, float largest,
                                float temperature, double top_p) {
  auto at_least = [&](unsigned order) {
    Mass sum = 0;
    for (int i = threadIdx.x; i < count; i += SAMPLE_THREADS) {
      const float l = logits(i);
      if (to_order(l) >= order) sum += mass_of(l, largest, temperature);
    }
    return reduce(sum, Add());
  };
  const Mass all = at_least(0);
  if (top_p >= 1.) return {0, 0, 0, all};
  const Mass wanted = max((Mass)ceil(top_p * (double)all), (Mass)1);
  // Tokens at `low` and above have what is wanted, those at `high` have not.
  unsigned low = to_order(largest - 28.f * temperature), high = to_order(largest) + 1;
  while (high - low > 1) {
    const unsigned middle = low + (high - low) / 2;
    (at_least(middle) >= wanted ? low : high) = middle;
  }
  const Mass above = at_least(high), each = mass_of(from_order(low), largest, temperature);
  const Mass ties = (wanted - above + each - 1) / each;
  return {low, ties, each, above + ties * each};
}

// The token of the nucleus at `place` of its mass, with all tokens in the order of their ids.
__device__ int token_at(const Logits& logits, int count, float largest, float temperature,
                        const Nucleus& nucleus, Mass place) {
  __shared__ Mass sums[SAMPLE_WARPS];
  __shared__ unsigned at_cut[SAMPLE_WARPS];
  __shared__ int token;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int segment = (count + SAMPLE_THREADS - 1) / SAMPLE_THREADS * 32;  // of a warp
  const int from = warp * segment, to = min(from + segment, count);
  Mass sum = 0;
  unsigned ties = 0;
  for (int i = from + lane; i < to; i += 32) {
    const float l = logits(i);
    const unsigned order = to_order(l);
    if (order > nucleus.cut) sum += mass_of(l, largest, temperature);
    ties += order == nucleus.cut;
  }
  for (int o = 16; o; o >>= 1) {
    sum += __shfl_xor_sync(~0u, sum, o);
    ties += __shfl_xor_sync(~0u, ties, o);
  }
  if (lane == 0) sums[warp] = sum, at_cut[warp] = ties;
  if (threadIdx.x == 0) token = 0;
  __syncthreads();
  Mass start = 0, left = nucleus.ties;  // before this warp, and ties that are left for it
  for (int w = 0; w <= warp; ++w) {
    const Mass counted = min(left, (Mass)at_cut[w]);
    sum = sums[w] + counted * nucleus.each;
    if (w < warp) start += sum, left -= counted;
  }
  if (place >= start && place < start + sum) {  // a warp of them all
    for (int first = from; first < to; first += 32) {
      const int i = first + lane;
      const float l = i < to ? logits(i) : -INFINITY;
      const unsigned order = to_order(l);
      const unsigned tied = __ballot_sync(~0u, i < to && order == nucleus.cut);
      Mass upto = i < to && order > nucleus.cut ? mass_of(l, largest, temperature) : 0;
      if (tied >> lane & 1 && __popc(tied & ((1u << lane) - 1)) < left) upto = nucleus.each;
      for (int o = 1; o < 32; o <<= 1) {
        const Mass before = __shfl_up_sync(~0u, upto, o);
        if (lane >= o) upto += before;
      }
      const unsigned reached = __ballot_sync(~0u, place < start + upto);
      if (reached) {
        token = first + __ffs(reached) - 1;
        break;
      }
      start += __shfl_sync(~0u, upto, 31);
      left -= min(left, (Mass)__popc(tied));
    }
  }
  __syncthreads();
  return token;
}

// tokens (m,) = those of logits (m, columns): -1 where a row allows none. settings (m, width)
// int32, each row a Settings and its bits. A block for each row.
__device__ __forceinline__ void sample(const float* logits, const int* settings, int* tokens,
                                       int columns, int width) {
  wait_for_inputs();
  const Settings& mine = *reinterpret_cast<const Settings*>(settings + (size_t)blockIdx.x * width);
  const int count = mine.count;
  const unsigned* bits = reinterpret_cast<const unsigned*>(&mine + 1);
  const Logits row = {logits + (size_t)blockIdx.x * columns, bits, bits + (count + 31) / 32,
                      mine.penalty, mine.flags};
  Mass best = 0;
  bool broken = false;
  for (int i = threadIdx.x; i < count; i += SAMPLE_THREADS) {
    const float l = row(i);
    broken |= isnan(l);
    best = max(best, (Mass)to_order(l) << 32 | ~(unsigned)i);  // the first of the largest
  }
  broken = __syncthreads_or(broken);
  best = reduce(best, Larger());
  const float largest = from_order(best >> 32);
  int token = ~(unsigned)best;
  if (broken || isinf(largest)) {
    token = -1;
  } else if (mine.temperature > 0.f) {
    const Nucleus nucleus = find_nucleus(row, count, largest, mine.temperature, mine.top_p);
    const Mass place = min((Mass)(mine.place * (double)nucleus.all), nucleus.all - 1);
    token = token_at(row, count, largest, mine.temperature, nucleus, place);
  }
  if (threadIdx.x == 0) tokens[blockIdx.x] = token;
}
#endif
