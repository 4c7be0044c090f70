// Raw rows of a data set -> examples: cleaned as published, with the unusable rows dropped and counted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/tables/arrow.h"
#include "core/tables/arrow_batch.h"

namespace syco {

// How to read one data set.
struct ExampleSpec {
  std::string source;
  std::vector<std::string> fields;  // string columns, joined in this order
  std::string label;                // integer column: index in `labels`; null or -1: unlabelled
  std::vector<std::string> labels;
};

// Rows dropped, by the first reason that holds.
struct DropCounts {
  std::int64_t unlabelled = 0;
  std::int64_t label_out_of_range = 0;
  std::int64_t empty_text = 0;         // a field is null, or empty once cleaned
  std::int64_t conflicting_label = 0;  // the same text stands elsewhere in the set with another label: all are dropped
  std::int64_t duplicate = 0;          // the same text and label stand further up

  bool operator==(const DropCounts&) const = default;
};

struct CleanedExamples {
  BatchTable table;  // columns id, source, input, label
  DropCounts dropped;
};

// A text without `"` and line feeds, trimmed of white space as Python's str.strip does, in double quotes; empty if
// nothing is left. (google/sycophancy-intervention, code/pull_from_huggingface.py.)
std::string clean_field(std::string_view text);

// Throws DataError if a column is missing or of the wrong type.
CleanedExamples clean_examples(const ArrowTable& raw, const ExampleSpec& spec);

// Positions of `count` of `size` items, drawn without repetition, in ascending order. Throws DataError if count > size.
std::vector<std::int64_t> sample_positions(std::int64_t size, std::int64_t count, std::uint64_t seed);

}  // namespace syco
