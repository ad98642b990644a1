// The logistic function of whole vectors.

#pragma once

#include "vectors.h"

namespace {

template <typename T>
struct Exponential;
template <>
struct Exponential<float> {
  typedef int32_t Int;
  static constexpr int mantissa = 23, bias = 127, terms = 7;
  static constexpr float magic = 12582912.0f, limit = 87.0f;  // 1.5 2^23
  static constexpr float high = 0.693359375f, low = -2.12194440e-4f;
};
template <>
struct Exponential<double> {
  typedef int64_t Int;
  static constexpr int mantissa = 52, bias = 1023, terms = 13;
  static constexpr double magic = 6755399441055744.0, limit = 708.0;  // 1.5 2^52
  static constexpr double high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
};

template <typename T, int N>
struct Factorials {  // 1 / k!
  T of[N + 1];
  constexpr Factorials() : of() {
    of[0] = T(1);
    for (int k = 1; k <= N; ++k) of[k] = of[k - 1] / k;
  }
};

// 1 / (1 + exp(-x)), with exp(r + n ln 2) = 2^n exp(r) and Taylor's series for exp(r).
template <typename T, int N>
inline Vec<T, N> sigmoid(Vec<T, N> x) {
  typedef Exponential<T> E;
  typedef typename E::Int Ints __attribute__((vector_size(N)));
  typedef T Values __attribute__((vector_size(N)));
  const Values top = Values{} + E::limit;
  Values z = -x;
  z = z > top ? top : z;
  z = z < -top ? -top : z;
  const Values shifted = z * T(1.4426950408889634) + E::magic;  // n in its last bits
  const Values n = shifted - E::magic;
  const Values r = (z - n * E::high) - n * E::low;
  constexpr Factorials<T, E::terms> one_over;
  Values sum = Values{} + one_over.of[E::terms];
  for (int k = E::terms - 1; k >= 0; --k) sum = sum * r + one_over.of[k];
  const Ints power = ((Ints)shifted + E::bias) << E::mantissa;
  return T(1) / (T(1) + sum * (Values)power);
}

}  // namespace
