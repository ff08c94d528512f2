// How a kernel's work is cut into blocks, in either memory order. Both orders are [outer][t][row][column][channel]:
// with channels_last as it is; contiguous maps have N * C outer volumes of one channel. A tile is a band of rows, a
// strip of columns and a group of channels ("lanes"); blockIdx.x picks it, blockIdx.y the frame, blockIdx.z the outer
// volume. In a tile the threads take items in turn: packs of elements, consecutive in memory along columns or along
// channels.
#pragma once

#include "device.cuh"

namespace tased {

struct Range {
  int32_t begin;
  int32_t end;

  TASED_DEVICE bool has(int32_t position) const { return begin <= position && position < end; }
};

// Where an element or a window is, its lane counted from the tile's first; of a pack its first element, and how many of
// its elements there are.
struct Place {
  int32_t row;
  int32_t column;
  int32_t lane;
  int32_t valid = 1;
};

// Elements between neighbours of each kind, in 32 bits wherever the tensor's size allows.
template <class index_t>
struct Strides {
  index_t column;
  index_t row;
  index_t frame;
  index_t volume;

  TASED_DEVICE index_t at(const Place& place) const { return place.row * row + place.column * column + place.lane; }
  TASED_DEVICE index_t frame_at(index_t n, int32_t t) const { return n * volume + t * frame; }
};

// A tensor, or a part of it, and whether its rows can be walked through in whole packs.
template <class value_t, class index_t>
struct View {
  value_t* memory;
  Strides<index_t> strides;
  bool aligned;

  TASED_DEVICE View from(index_t offset) const { return {memory + offset, strides, aligned}; }
  TASED_DEVICE value_t* at(const Place& place) const { return memory + strides.at(place); }
};

// Rows of a tile in shared memory, the row modulo how many there are. A step's rows take the places of those that no
// later step needs.
struct Ring {
  Divider rows;
  int32_t columns;
  int32_t lanes;

  TASED_HOST_DEVICE int32_t elements() const { return rows.divisor * columns * lanes; }
  TASED_DEVICE int32_t at(const Place& place, int32_t first_column) const {
    return (rows.remainder(place.row) * columns + place.column - first_column) * lanes + place.lane;
  }
};

// The rows of a tile cut into packs.
struct Packing {
  int32_t size;        // elements of a pack, a power of two
  bool along_columns;  // else along channels
  Divider per_row;     // packs of a row of the widest tile
  Divider per_column;  // packs of a column: 1 along columns

  // Columns from the begin of a pack on.
  TASED_DEVICE Range whole(Range columns) const {
    return {along_columns ? columns.begin & -size : columns.begin, columns.end};
  }

  TASED_DEVICE Place place(int32_t item, Range rows, Range columns, int32_t lanes) const {
    const int32_t row = per_row.quotient(item);
    const int32_t in_row = item - row * per_row.divisor;
    const int32_t step = per_column.quotient(in_row);
    const int32_t lane = (in_row - step * per_column.divisor) * size;
    const int32_t column = columns.begin + (along_columns ? step * size : step);
    const int32_t room = along_columns ? columns.end - column : lanes - lane;
    return {rows.begin + row, column, lane, column < columns.end ? room : 0};
  }
};

// The tile of a block: parts of the map, or of the pooled grid where a kernel works by windows.
struct Tile {
  Range rows;
  Range columns;
  int32_t lane;   // first channel
  int32_t lanes;  // channels
};

struct Tiling {
  int64_t outer;     // volumes
  int32_t channels;  // that lie side by side
  int32_t lanes;     // channels of a tile
  int32_t groups;    // tiles side by side in the channels …
  int32_t strip;     // columns of a tile
  int32_t strips;    // … in the columns …
  int32_t band;      // rows of a tile
  int32_t bands;     // … and in the rows
  // A block walks down its band in steps and keeps in shared memory what the next step needs again: so only
  // neighbouring tiles read a row or column twice, never neighbouring steps.
  int32_t step;  // rows of windows a step
  Ring map;      // what a step needs of the map …
  Ring windows;  // … and of the windows

  TASED_DEVICE Tile tile(int32_t block, int32_t all_rows, int32_t all_columns) const {
    const int32_t group = block % groups;
    const int32_t strip_index = block / groups % strips;
    const int32_t band_index = block / groups / strips;
    return {part(band_index, band, all_rows), part(strip_index, strip, all_columns), group * lanes,
            channels - group * lanes < lanes ? channels - group * lanes : lanes};
  }

  TASED_DEVICE static Range part(int32_t index, int32_t size, int32_t all) {
    const int32_t begin = index * size;
    return {begin, all - begin < size ? all : begin + size};
  }
};

// What a kernel knows when it is compiled: kernel, stride and padding of the windows, so that loops over them unroll
// and divisions become shifts (0 stands for any), and whether 32 bits hold every index.
template <int kKernelSize, int kStrideSize, int kPaddingSize, class index_type>
struct Variant {
  using index_t = index_type;
  static constexpr int kKernel = kKernelSize;
  static constexpr int kStride = kStrideSize;
  static constexpr int kPadding = kPaddingSize;
  static constexpr bool kFixed = kKernel > 0;
  static constexpr int kUnroll = kFixed ? kKernel : 1;
  // How many of the largest blocks a multiprocessor's registers must do for.
  static constexpr int kBlocks = kFixed ? 2 : 1;

  TASED_DEVICE static Axis fixed(Axis axis) {
    if constexpr (kFixed) {
      axis.kernel = kKernel;
      axis.stride = kStride;
      axis.padding = kPadding;
    }
    return axis;
  }
};

// Calls work(volume, t) for the frames of the block: one, unless there are more than a grid has blocks.
template <class index_t, class Work>
TASED_DEVICE void for_frames(int64_t volumes, int32_t frames, const Work& work) {
  for (int64_t volume = blockIdx.z; volume < volumes; volume += gridDim.z) {
    for (int32_t t = blockIdx.y; t < frames; t += gridDim.y) work(static_cast<index_t>(volume), t);
  }
}

// Calls work(place) for the thread's items among those of some rows.
template <class Work>
TASED_DEVICE void for_items(const Packing& packing, Range rows, Range columns, int32_t lanes, const Work& work) {
  const int32_t items = (rows.end - rows.begin) * packing.per_row.divisor;
  for (int32_t item = threadIdx.x; item < items; item += blockDim.x) {
    const Place place = packing.place(item, rows, columns, lanes);
    if (place.valid > 0) work(place);
  }
}

TASED_DEVICE Range windows_covering(const Axis& axis, Range positions) {
  return {axis.first_covering(positions.begin), axis.last_covering(positions.end - 1) + 1};
}

}  // namespace tased
