// Two layers with SiLU between them, each relation's rows by its own weights; two derivatives.
//
//   h = x W1 + b1      a = silu(h)      y = a W2 + b2        biases are the last rows of W1 and W2
//
// Rows are sorted by segment (relation) and may be gathered from atoms: row k is x[atoms[k]]. A
// thread works on blocks of rows of one segment, so that what is between the layers stays in its
// cache. With g the gradient of y and <t, .> the directional derivative along a tangent t,
//
//   first    u = g W2^T,  gradients  u a'(h) W1^T,  x^T u a'(h),  a^T g
//   second   the gradient of <g, dy[t]> with th = t_x W1 + x t_W1, dy[t] = a' th W2 + a t_W2

#include "sigmoid.h"

namespace {

constexpr int64_t BLOCK = 64;  // rows

// What Python passes: eight bytes each, in this order. Pointers that are not wanted are null.
template <typename T>
struct Args {
  int64_t n_rows, n_segments, n_matrices, n_in, n_hidden, n_out, n_threads;
  int64_t n_atoms, x_stride, tx_stride;
  const int32_t* ends;   // (n_segments), where the rows of each segment end
  const int64_t* atoms;  // (n_rows), row of x; null where they are the same
  const T *x, *w1, *w2, *hidden, *grad, *inner, *t_x, *t_w1, *t_w2;
  T *out, *hidden_out, *inner_out, *d_x, *d_w1, *d_w2;
};

template <typename T>
struct Block {
  int64_t first, count;
  const T *w1, *w2, *t_w1, *t_w2;
  T *d_w1, *d_w2;
  bool fresh;  // whether nothing stands in d_w1 and d_w2 yet
};

template <typename T, int N>
class Worker {
 public:
  // Alone it finds no zeros in d_w1 and d_w2; apart it shares its first segment with others.
  Worker(const Args<T>& args, T* d_x, bool alone, bool apart)
      : a(args), I(args.n_in), H(args.n_hidden), O(args.n_out), d_x(d_x), alone(alone),
        apart(apart) {}

  std::vector<T> first_d_w1, first_d_w2;  // of a segment whose matrices other threads write too
  int64_t first_matrix = 0;

  // Call `work` for each block of the rows [begin, end), none of which spans two segments.
  template <typename Work>
  void blocks(int64_t begin, int64_t end, Work work) {
    int64_t segment = 0;
    for (int64_t k = begin; k < end;) {
      while (a.n_matrices > 1 && a.ends[segment] <= k) ++segment;
      const int64_t stop = a.n_matrices > 1 ? std::min<int64_t>(end, a.ends[segment]) : end;
      Block<T> block = matrices(segment, apart && k == begin);
      block.fresh = alone;
      if (d_x) turn(block.w1, I, H, w1_turned, I);
      if (d_x && block.t_w1) turn(block.t_w1, I, H, tw1_turned, I);
      if (a.inner_out) turn(block.w2, H, O, w2_turned, H);
      if (block.t_w2) turn(block.t_w2, H, O, tw2_turned, H);
      const int64_t step = even_step(stop - k);
      for (; k < stop; k += step) {
        block.first = k;
        block.count = std::min(step, stop - k);
        work(block);
        block.fresh = false;
      }
      k = stop;
    }
  }

  void forward(const Block<T>& b) {
    T* h = a.hidden_out + b.first * H;
    product<T, N>(rows(a.x, a.x_stride, b, x_rows), b.w1, H, b.count, I, H, h, H, {b.w1 + I * H, 0});
    act.resize(BLOCK * H);
    each(b.count * H, [&](int64_t k, auto width) {
      constexpr int M = decltype(width)::value;
      const auto z = load<T, M>(h + k);
      store<T, M>(act.data() + k, z * sigmoid<T, M>(z));
    });
    product<T, N>({act.data(), H, 1}, b.w2, O, b.count, H, O, a.out + b.first * O, O,
                  {b.w2 + H * O, 0});
  }

  void backward(const Block<T>& b) {
    const T *h = a.hidden + b.first * H, *g = a.grad + b.first * O;
    T* u = a.inner_out + b.first * H;
    product<T, N>({g, O, 1}, w2_turned.data(), H, b.count, O, H, u, H, {nullptr, 0});
    act.resize(BLOCK * H);
    d_h.resize(BLOCK * H);
    each(b.count * H, [&](int64_t k, auto width) {
      constexpr int M = decltype(width)::value;
      const auto z = load<T, M>(h + k), s = sigmoid<T, M>(z), y = z * s;
      store<T, M>(act.data() + k, y);
      store<T, M>(d_h.data() + k, load<T, M>(u + k) * (s + y * (T(1) - s)));
    });
    if (d_x) to_atoms(b, d_h, w1_turned);
    if (b.d_w1) {
      to_weight(rows(a.x, a.x_stride, b, x_rows), I, d_h.data(), H, b.count, b.d_w1, b.fresh);
      to_bias(d_h.data(), H, b.count, b.d_w1 + I * H, b.fresh);
    }
    if (b.d_w2) {
      to_weight({act.data(), H, 1}, H, g, O, b.count, b.d_w2, b.fresh);
      to_bias(g, O, b.count, b.d_w2 + H * O, b.fresh);
    }
  }

  void twice(const Block<T>& b) {
    const T *h = a.hidden + b.first * H, *g = a.grad + b.first * O, *u = a.inner + b.first * H;
    T* out = a.out + b.first * O;
    act.resize(BLOCK * H);
    d_h.resize(BLOCK * H);
    for (auto* one : {&t_h, &t_act, &e_h, &other}) one->assign(BLOCK * H, T(0));
    if (a.t_x)
      product<T, N>(rows(a.t_x, a.tx_stride, b, tx_rows), b.w1, H, b.count, I, H, t_h.data(), H,
                    {nullptr, 0});
    if (b.t_w1) {
      product<T, N>(rows(a.x, a.x_stride, b, x_rows), b.t_w1, H, b.count, I, H, t_h.data(), H,
                    {t_h.data(), H});
      for (int64_t k = 0; k < b.count * H; ++k) t_h[k] += b.t_w1[I * H + k % H];
    }
    if (b.t_w2)
      product<T, N>({g, O, 1}, tw2_turned.data(), H, b.count, O, H, other.data(), H, {nullptr, 0});
    each(b.count * H, [&](int64_t k, auto width) {
      constexpr int M = decltype(width)::value;
      const auto z = load<T, M>(h + k), s = sigmoid<T, M>(z), ds = s * (T(1) - s);
      const auto slope = s + z * ds, bend = ds * (T(2) + z * (T(1) - T(2) * s));
      const auto v = load<T, M>(u + k), t = load<T, M>(t_h.data() + k);
      store<T, M>(act.data() + k, z * s);
      store<T, M>(t_act.data() + k, slope * t);
      store<T, M>(d_h.data() + k, slope * v);
      store<T, M>(e_h.data() + k, v * bend * t + load<T, M>(other.data() + k) * slope);
    });
    product<T, N>({t_act.data(), H, 1}, b.w2, O, b.count, H, O, out, O,
                  {b.t_w2 ? b.t_w2 + H * O : nullptr, 0});
    if (b.t_w2) product<T, N>({act.data(), H, 1}, b.t_w2, O, b.count, H, O, out, O, {out, O});
    if (d_x) {
      to_atoms(b, e_h, w1_turned);
      if (b.t_w1) to_atoms(b, d_h, tw1_turned);
    }
    if (b.d_w1) {
      to_weight(rows(a.x, a.x_stride, b, x_rows), I, e_h.data(), H, b.count, b.d_w1, b.fresh);
      to_bias(e_h.data(), H, b.count, b.d_w1 + I * H, b.fresh);
      if (a.t_x)
        to_weight(rows(a.t_x, a.tx_stride, b, tx_rows), I, d_h.data(), H, b.count, b.d_w1, false);
    }
    if (b.d_w2) {
      to_weight({t_act.data(), H, 1}, H, g, O, b.count, b.d_w2, b.fresh);
      if (b.fresh) std::fill_n(b.d_w2 + H * O, O, T(0));
    }
  }

 private:
  const Args<T>& a;
  const int64_t I, H, O;
  T* d_x;
  const bool alone, apart;
  std::vector<T> x_rows, tx_rows, dx_rows, act, d_h, t_h, t_act, e_h, other;
  std::vector<T> w1_turned, w2_turned, tw1_turned, tw2_turned;

  // Where the matrices of a segment are, and where their gradients go.
  Block<T> matrices(int64_t segment, bool to_own) {
    const int64_t size1 = (I + 1) * H, size2 = (H + 1) * O;
    const auto at = [&](auto* p, int64_t size) { return p ? p + segment * size : nullptr; };
    Block<T> block{0, 0, at(a.w1, size1), at(a.w2, size2), at(a.t_w1, size1), at(a.t_w2, size2),
                   at(a.d_w1, size1), at(a.d_w2, size2), false};
    if (to_own) {
      first_matrix = segment;
      block.d_w1 = own(block.d_w1, first_d_w1, size1);
      block.d_w2 = own(block.d_w2, first_d_w2, size2);
    }
    return block;
  }

  T* own(T* wanted, std::vector<T>& room, int64_t size) {
    if (!wanted) return nullptr;
    room.assign(size, T(0));
    return room.data();
  }

  int64_t atom(int64_t k) const { return a.atoms ? a.atoms[k] : k; }

  bool is_run(const Block<T>& b) const {  // whether its atoms follow each other
    if (!a.atoms) return true;
    for (int64_t k = 1; k < b.count; ++k)
      if (a.atoms[b.first + k] != a.atoms[b.first] + k) return false;
    return true;
  }

  // The block's rows of x or t_x in one piece, which the cache keeps better than rows far apart.
  Matrix<T> rows(const T* x, int64_t stride, const Block<T>& b, std::vector<T>& room) {
    if (stride == I && is_run(b)) return {x + atom(b.first) * stride, stride, 1};
    room.resize(BLOCK * I);
    for (int64_t k = 0; k < b.count; ++k)
      std::copy_n(x + atom(b.first + k) * stride, I, room.data() + k * I);
    return {room.data(), I, 1};
  }

  void to_atoms(const Block<T>& b, const std::vector<T>& grad, const std::vector<T>& turned) {
    const Matrix<T> left{grad.data(), H, 1};
    if (is_run(b)) {
      T* to = d_x + atom(b.first) * I;
      product<T, N>(left, turned.data(), I, b.count, H, I, to, I, {to, I});
      return;
    }
    dx_rows.resize(BLOCK * I);
    product<T, N>(left, turned.data(), I, b.count, H, I, dx_rows.data(), I, {nullptr, 0});
    for (int64_t k = 0; k < b.count; ++k) {
      T* to = d_x + atom(b.first + k) * I;
      for (int64_t c = 0; c < I; ++c) to[c] += dx_rows[k * I + c];
    }
  }

  void to_weight(Matrix<T> x, int64_t n_in, const T* grad, int64_t n_out, int64_t n, T* to,
                 bool fresh) {
    product<T, N>({x.p, x.col, x.row}, grad, n_out, n_in, n, n_out, to, n_out,
                  {fresh ? nullptr : to, n_out});
  }

  void to_bias(const T* grad, int64_t n_out, int64_t n, T* to, bool fresh) {
    if (fresh) std::fill_n(to, n_out, T(0));
    for (int64_t k = 0; k < n; ++k)
      for (int64_t c = 0; c < n_out; ++c) to[c] += grad[k * n_out + c];
  }

  // Rows of a block, so that all blocks of a segment are about as long and few tiles are short.
  static int64_t even_step(int64_t n) {
    const int64_t n_blocks = (n + BLOCK - 1) / BLOCK;
    return ((n + n_blocks - 1) / n_blocks + 7) / 8 * 8;
  }

  template <int M>
  struct Width {
    static constexpr int value = M;
  };

  // Call `work(k, width)` for vectors at k that cover n numbers, a multiple of 16 bytes.
  template <typename Work>
  void each(int64_t n, Work work) {
    int64_t k = 0;
    for (; k + Pack<T, N>::size <= n; k += Pack<T, N>::size) work(k, Width<N>{});
    for (; k < n; k += Pack<T, 16>::size) work(k, Width<16>{});
  }
};

// Zeros for what no thread writes whole: matrices of several threads, or of none.
template <typename T>
void clear(const Args<T>& a, T* d_w, int64_t size, bool every) {
  if (!d_w) return;
  for (int64_t m = 0; m < a.n_matrices; ++m) {
    const int64_t n_rows = a.n_matrices == 1 ? a.n_rows : a.ends[m] - (m ? a.ends[m - 1] : 0);
    if (every || n_rows == 0) std::fill_n(d_w + m * size, size, T(0));
  }
}

// Every thread works on its share of the rows; what threads share is added up in their order.
template <typename T, int N, typename Work>
void run(const Args<T>& a, Work work) {
  const int64_t n = std::max<int64_t>(1, std::min(a.n_threads, a.n_rows / BLOCK));
  const int64_t x_size = a.d_x ? a.n_atoms * a.n_in : 0;
  std::vector<std::vector<T>> xs(n - 1), w1s(n), w2s(n);
  std::vector<int64_t> matrices(n, 0);
  clear(a, a.d_w1, (a.n_in + 1) * a.n_hidden, n > 1);
  clear(a, a.d_w2, (a.n_hidden + 1) * a.n_out, n > 1);
#pragma omp parallel for num_threads(n) schedule(static, 1)
  for (int64_t t = 0; t < n; ++t) {
    if (t) xs[t - 1].assign(x_size, T(0));
    T* d_x = a.d_x && t ? xs[t - 1].data() : a.d_x;
    Worker<T, N> worker(a, d_x, n == 1, t > 0);
    worker.blocks(t * a.n_rows / n, (t + 1) * a.n_rows / n,
                  [&](const Block<T>& block) { work(worker, block); });
    w1s[t] = std::move(worker.first_d_w1);
    w2s[t] = std::move(worker.first_d_w2);
    matrices[t] = worker.first_matrix;
  }
  if (x_size && n > 1) add_up(a.d_x, xs, x_size, n);
  for (int64_t t = 0; t < n; ++t) {
    for (size_t k = 0; k < w1s[t].size(); ++k) a.d_w1[matrices[t] * w1s[t].size() + k] += w1s[t][k];
    for (size_t k = 0; k < w2s[t].size(); ++k) a.d_w2[matrices[t] * w2s[t].size() + k] += w2s[t][k];
  }
}

template <typename T>
void any(int which, const Args<T>& a) {
  constexpr int N = LONG;
  if (which == 0) run<T, N>(a, [](auto& worker, const auto& block) { worker.forward(block); });
  if (which == 1) run<T, N>(a, [](auto& worker, const auto& block) { worker.backward(block); });
  if (which == 2) run<T, N>(a, [](auto& worker, const auto& block) { worker.twice(block); });
}

}  // namespace

extern "C" void hermnet_perceptron_float(int which, const void* args) {
  any<float>(which, *static_cast<const Args<float>*>(args));
}

extern "C" void hermnet_perceptron_double(int which, const void* args) {
  any<double>(which, *static_cast<const Args<double>*>(args));
}
