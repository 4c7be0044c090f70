// The claims table, row by row: what recipes and additions write.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/tables/arrow_batch.h"
#include "core/tables/column_builder.h"

namespace syco {

struct ClaimRow {
  std::uint64_t id = 0;
  std::string_view example_id;
  std::string_view source;
  std::string_view kind;                   // "claim" or "addition"
  std::array<std::string_view, 3> text{};  // parts of the statement, without final stop
  bool is_true = false;
  bool is_negated = false;
  std::string_view stated_label;
  std::string_view gold_label;
};

// The columns of a claims table.
Fields claim_fields();

class ClaimTableBuilder {
 public:
  void append(const ClaimRow& row);
  BatchTable finish();

 private:
  // A batch ends here at the latest, long before the text of a string column could pass 2 GB.
  static constexpr std::int64_t kMaxRows = 1 << 16;
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 28;

  void end_batch();

  BatchTable table_{claim_fields(), {}};
  std::int64_t num_rows_ = 0;
  std::size_t num_bytes_ = 0;
  std::array<StringBuilder, 8> texts_;
  std::vector<bool> is_true_;
};

}  // namespace syco
