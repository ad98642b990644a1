// Indices of the union of relation subgraphs, and edges that stand for their reverses too.
//
// What hermnet/unions.py and hermnet/two_way.py do with operators of torch, whose calls take longer
// than their work on small structures. Everything is linear in the number of edges, but for the
// search of a reverse, which looks at the edges of one atom.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace {

using Numbers = std::vector<int64_t>;

// What Python passes: eight bytes each, in this order. Pointers that are not wanted are null.
struct Union {
  int64_t n_links, n_atoms, n_relations, n_sides, n_kinds;
  int64_t one_segment;  // whether senders know no relations
  int64_t every;        // whether then all atoms are listed
  const int64_t *link, *relation, *side, *centers, *neighbors;
  const int64_t *standing;                   // (n_atoms), the relation in which an atom receives
  const int64_t *kind_of_atom, *kind_atom;   // (n_atoms), (n_kinds)
  int64_t *edge, *row, *source_row, *kind_row, *neighbor_atom, *side_row;  // (n_links)
  int32_t* ends;                                                           // (n_slots)
  int64_t *receivers, *sources, *kinds;                                    // atoms
  int32_t *receiver_ends, *source_ends, *kind_ends;
  int64_t* counts;  // of these three
};

// Sorts `order` by a key below n_keys; equal ones stay as they are.
template <typename Key>
void sort_by(Numbers& order, int64_t n_keys, Key key) {
  Numbers start(n_keys + 1, 0), sorted(order.size());
  for (int64_t k : order) ++start[key(k) + 1];
  for (int64_t n = 0; n < n_keys; ++n) start[n + 1] += start[n];
  for (int64_t k : order) sorted[start[key(k)]++] = k;
  order.swap(sorted);
}

// Where the edges of each slot end, after they are sorted by slot, then by center.
void sort_links(const Union& a, Numbers& order) {
  const auto center = [&](int64_t k) { return a.centers[a.link[k]]; };
  const auto slot = [&](int64_t k) { return a.relation[k] * a.n_sides + a.side[k]; };
  const int64_t n_slots = a.n_relations * a.n_sides;
  std::iota(order.begin(), order.end(), 0);
  bool is_sorted = true;
  for (int64_t k = 1; is_sorted && k < a.n_links; ++k) is_sorted = center(k - 1) <= center(k);
  if (!is_sorted) sort_by(order, a.n_atoms, center);
  if (n_slots > 1) sort_by(order, n_slots, slot);
  std::fill_n(a.ends, n_slots, 0);
  for (int64_t n = 0; n < a.n_links; ++n) {
    a.edge[n] = a.link[order[n]];
    a.neighbor_atom[n] = a.neighbors[a.edge[n]];
    ++a.ends[slot(order[n])];
  }
  std::partial_sum(a.ends, a.ends + n_slots, a.ends);
}

// One copy for each atom that has a relation to receive in.
int64_t stand(const Union& a) {
  Numbers start(a.n_relations + 1, 0), row(a.n_atoms, 0);
  for (int64_t i = 0; i < a.n_atoms; ++i)
    if (a.standing[i] >= 0) ++start[a.standing[i] + 1];
  std::partial_sum(start.begin(), start.end(), start.begin());
  std::copy_n(start.begin() + 1, a.n_relations, a.receiver_ends);
  const int64_t count = start[a.n_relations];
  for (int64_t i = 0; i < a.n_atoms; ++i)
    if (a.standing[i] >= 0) a.receivers[row[i] = start[a.standing[i]]++] = i;
  for (int64_t n = 0; n < a.n_links; ++n) a.row[n] = row[a.centers[a.edge[n]]];
  return count;
}

// One copy for each atom and relation with an edge; both sides of a relation are sorted by center.
int64_t receive(const Union& a) {
  int64_t count = 0;
  for (int64_t r = 0; r < a.n_relations; ++r) {
    int64_t at[2], end[2];
    for (int64_t s = 0; s < a.n_sides; ++s) {
      const int64_t slot = r * a.n_sides + s;
      at[s] = slot ? a.ends[slot - 1] : 0;
      end[s] = a.ends[slot];
    }
    for (;; ++count) {
      int64_t center = a.n_atoms;
      for (int64_t s = 0; s < a.n_sides; ++s)
        if (at[s] < end[s]) center = std::min(center, a.centers[a.edge[at[s]]]);
      if (center == a.n_atoms) break;
      a.receivers[count] = center;
      for (int64_t s = 0; s < a.n_sides; ++s)
        for (; at[s] < end[s] && a.centers[a.edge[at[s]]] == center; ++at[s]) a.row[at[s]] = count;
    }
    a.receiver_ends[r] = count;
  }
  return count;
}

// Distinct senders of each segment of the edges, in ascending order; `sender` is that of an edge.
template <typename Sender>
int64_t send(const Union& a, int64_t n_senders, Sender sender, int64_t* used, int32_t* ends,
             int64_t* rows) {
  const int64_t n_segments = a.one_segment ? 1 : a.n_relations * a.n_sides;
  Numbers row(n_senders, -1);
  int64_t count = 0;
  for (int64_t s = 0; s < n_segments; ++s) {
    const int64_t begin = s ? a.ends[s - 1] : 0, end = a.one_segment ? a.n_links : a.ends[s];
    const int64_t first = count;
    for (int64_t n = begin; n < end; ++n)
      if (row[sender(n)] < 0) {
        row[sender(n)] = 0;
        used[count++] = sender(n);
      }
    if (8 * (count - first) > n_senders) {  // to look at all is faster than to sort
      count = first;
      for (int64_t k = 0; k < n_senders; ++k)
        if (row[k] >= 0) used[count++] = k;
    } else {
      std::sort(used + first, used + count);
    }
    for (int64_t k = first; k < count; ++k) row[used[k]] = k;
    for (int64_t n = begin; n < end; ++n) rows[n] = row[sender(n)];
    for (int64_t k = first; k < count; ++k) row[used[k]] = -1;
    ends[s] = count;
  }
  return count;
}

// What Python passes of a union whose edges may stand for their reverses too.
struct Halved {
  int64_t n_edges, n_segments, n_rows;
  const int64_t *edge, *row, *neighbor, *neighbor_kind, *neighbor_atom, *side_row;
  const int32_t* ends;
  const int64_t *centers, *neighbors;  // of the graph's edges
  const double* shifts;                // of these, (n, 3); null for zeros
  int64_t *new_edge, *new_row, *new_neighbor, *new_neighbor_kind, *new_neighbor_atom, *new_side_row;
  int64_t *both_rows, *both_neighbors, *both_kinds;  // (n_edges, 2)
  int32_t* new_ends;
  int64_t* count;
};

// Whether edge f of the graph goes back along edge e.
bool is_reverse(const Halved& a, int64_t e, int64_t f) {
  if (a.neighbors[f] != a.centers[e] || a.centers[f] != a.neighbors[e]) return false;
  for (int d = 0; a.shifts && d < 3; ++d)
    if (a.shifts[3 * f + d] != -a.shifts[3 * e + d]) return false;
  return true;
}

// For each edge of the union its reverse in the union, or itself.
Numbers reverses(const Halved& a) {
  Numbers order(a.n_edges);
  std::iota(order.begin(), order.end(), 0);
  Numbers reverse = order;
  int64_t n_atoms = 0;
  for (int64_t k : order)
    n_atoms = std::max({n_atoms, a.centers[a.edge[k]] + 1, a.neighbors[a.edge[k]] + 1});
  Numbers start(n_atoms + 1, 0);
  const auto center = [&](int64_t k) { return a.centers[a.edge[k]]; };
  sort_by(order, n_atoms, center);
  for (int64_t k : order) ++start[center(k) + 1];
  std::partial_sum(start.begin(), start.end(), start.begin());
  for (int64_t k = 0; k < a.n_edges; ++k) {
    const int64_t e = a.edge[k], j = a.neighbors[e];
    for (int64_t n = start[j]; reverse[k] == k && n < start[j + 1]; ++n) {
      const int64_t other = order[n];
      if (other == k || reverse[other] != other || !is_reverse(a, e, a.edge[other])) continue;
      reverse[k] = other;
      reverse[other] = k;
    }
  }
  return reverse;
}

}  // namespace

extern "C" void hermnet_indexing_union(const void* args) {
  const auto& a = *static_cast<const Union*>(args);
  Numbers order(a.n_links);
  sort_links(a, order);
  a.counts[0] = a.standing ? stand(a) : receive(a);
  for (int64_t n = 0; n < a.n_links; ++n) {
    const int64_t k = order[n];
    a.side_row[n] = a.row[n] * a.n_sides + a.side[k];
  }
  if (a.every) {
    std::iota(a.sources, a.sources + a.n_atoms, 0);
    std::copy_n(a.neighbor_atom, a.n_links, a.source_row);
    a.source_ends[0] = a.counts[1] = a.n_atoms;
  } else {
    a.counts[1] = send(a, a.n_atoms, [&](int64_t n) { return a.neighbor_atom[n]; }, a.sources,
                       a.source_ends, a.source_row);
  }
  if (!a.kind_of_atom) return;
  a.counts[2] = send(a, a.n_kinds, [&](int64_t n) { return a.kind_of_atom[a.neighbor_atom[n]]; },
                     a.kinds, a.kind_ends, a.kind_row);
  for (int64_t k = 0; k < a.counts[2]; ++k) a.kinds[k] = a.kind_atom[a.kinds[k]];
}

extern "C" void hermnet_indexing_halved(const void* args) {
  const auto& a = *static_cast<const Halved*>(args);
  const Numbers reverse = reverses(a);
  int64_t n = 0;
  for (int64_t k = 0, segment = 0; segment < a.n_segments; ++segment) {
    for (; k < a.ends[segment]; ++k) {
      if (reverse[k] < k) continue;
      a.new_edge[n] = a.edge[k];
      a.new_row[n] = a.row[k];
      a.new_neighbor[n] = a.neighbor[k];
      a.new_neighbor_kind[n] = a.neighbor_kind[k];
      a.new_neighbor_atom[n] = a.neighbor_atom[k];
      a.new_side_row[n] = a.side_row[k];
      const int64_t ends[2] = {k, reverse[k]};
      for (int way = 0; way < 2; ++way) {
        a.both_rows[2 * n + way] = way && ends[1] == k ? a.n_rows : a.side_row[ends[way]];
        a.both_neighbors[2 * n + way] = a.neighbor[ends[way]];
        a.both_kinds[2 * n + way] = a.neighbor_kind[ends[way]];
      }
      ++n;
    }
    a.new_ends[segment] = n;
  }
  *a.count = n;
}
