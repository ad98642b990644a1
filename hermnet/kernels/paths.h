// Paths (l1, l2, l3) with l1 + l2 + l3 even, known to the compiler, and their small matrices.
//
// Harmonics and results have degrees up to LMAX, features up to LMAX or, as in a first layer, to
// less: L1MAX. Paths that are left out would come last.

#pragma once

#include <cstdlib>

#include "vectors.h"

namespace {

// One path; its matrix stands at `at` in those of all paths, its C at `table` in the C of all.
template <int L1, int L2, int L3, int NUMBER, int AT, int TABLE>
struct Path {
  static constexpr int n1 = 2 * L1 + 1, n2 = 2 * L2 + 1, n3 = 2 * L3 + 1;
  static constexpr int row1 = L1 * L1, row2 = L2 * L2, row3 = L3 * L3;
  static constexpr int number = NUMBER, at = AT, table = TABLE, entries = n1 * n3;
  static constexpr bool is_odd = L2 % 2;
};

constexpr int least(int l1, int l3) { return l1 > l3 ? l1 - l3 : l3 - l1; }

// Calls `work` for the paths from (l1, l2, l3) on, in the order of the weights: by l1, l3 and l2.
template <typename D, int L1, int L2, int L3, int NUMBER, int AT, int TABLE, typename Work>
inline void paths_from(Work& work) {
  if constexpr (L1 > D::l1max) {
    return;
  } else if constexpr (L3 > D::lmax) {
    paths_from<D, L1 + 1, L1 + 1, 0, NUMBER, AT, TABLE>(work);
  } else if constexpr (L2 > D::lmax || L2 > L1 + L3) {
    paths_from<D, L1, least(L1, L3 + 1), L3 + 1, NUMBER, AT, TABLE>(work);
  } else {
    using P = Path<L1, L2, L3, NUMBER, AT, TABLE>;
    work(P{});
    paths_from<D, L1, L2 + 2, L3, NUMBER + 1, AT + P::entries, TABLE + P::entries * P::n2>(work);
  }
}

template <typename D, typename Work>
inline void each_path(Work work) {
  paths_from<D, 0, 0, 0, 0, 0, 0>(work);
}

// Degrees: rows of features and of results, how many paths there are, entries of their matrices.
template <int LMAX, int L1MAX>
struct Degrees {
  static constexpr int lmax = LMAX, l1max = L1MAX;
  static constexpr int rows1 = (L1MAX + 1) * (L1MAX + 1), rows3 = (LMAX + 1) * (LMAX + 1);
  static constexpr int counted(bool entries) {
    int sum = 0;
    for (int l1 = 0; l1 <= L1MAX; ++l1)
      for (int l3 = 0; l3 <= LMAX; ++l3)
        for (int l2 = least(l1, l3); l2 <= LMAX && l2 <= l1 + l3; l2 += 2)
          sum += entries ? (2 * l1 + 1) * (2 * l3 + 1) : 1;
    return sum;
  }
  static constexpr int count = counted(false), size = counted(true);
};

// m_p = sum_j C^p_j y_j
template <typename D, typename T>
inline void matrices(const T* table, const T* y, T* m) {
  each_path<D>([&](auto path) {
    using P = decltype(path);
    for (int k = 0; k < P::entries; ++k) {
      T sum = 0;
      for (int j = 0; j < P::n2; ++j) sum += table[P::table + j * P::entries + k] * y[P::row2 + j];
      m[P::at + k] = sum;
    }
  });
}

// y_j += sum_p <C^p_j, m_p>
template <typename D, typename T>
inline void to_harmonics(const T* table, const T* m, T* y) {
  each_path<D>([&](auto path) {
    using P = decltype(path);
    for (int j = 0; j < P::n2; ++j) {
      T sum = 0;
      for (int k = 0; k < P::entries; ++k)
        sum += table[P::table + j * P::entries + k] * m[P::at + k];
      y[P::row2 + j] += sum;
    }
  });
}

// Matrices of the opposite direction.
template <typename D, typename T>
inline void turn_back(T* m) {
  each_path<D>([&](auto path) {
    using P = decltype(path);
    if constexpr (P::is_odd)
      for (int k = 0; k < P::entries; ++k) m[P::at + k] = -m[P::at + k];
  });
}

}  // namespace
