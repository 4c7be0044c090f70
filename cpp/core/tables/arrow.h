// Tables in: any Arrow stream of struct arrays, read in place. The text of a column is never copied.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tables/arrow_abi.h"
#include "core/tables/arrow_values.h"

namespace syco {

// A table that came through the Arrow C stream interface. The views it gives live as long as it does.
// Every column function throws DataError, naming table and column, if the column is missing, is dictionary-encoded, has
// another type than asked, or holds a null where none is allowed. One value per row, in row order, over all chunks.
class ArrowTable {
 public:
  // Takes the stream over (it is released, also on failure). `name` is what errors call the table: "claims".
  ArrowTable(std::string name, ArrowArrayStream* stream);

  const std::string& name() const { return name_; }
  std::int64_t num_rows() const { return num_rows_; }
  bool has_column(std::string_view column) const;
  // The value of the schema's metadata entry `key`; empty if there is none.
  std::string metadata(const std::string& key) const;

  // string, large_string or string_view. `strings` allows no null; in `optional_strings` a null is nullopt.
  std::vector<std::string_view> strings(std::string_view column) const;
  std::vector<std::optional<std::string_view>> optional_strings(std::string_view column) const;
  // Signed or unsigned integers of any width, or bool as 0 and 1.
  std::vector<std::int64_t> integers(std::string_view column) const;
  std::vector<std::optional<std::int64_t>> optional_integers(std::string_view column) const;
  // float32 or float64; a null is NaN.
  std::vector<double> doubles(std::string_view column) const;
  // list or large_list of strings.
  std::vector<std::vector<std::string_view>> string_lists(std::string_view column) const;
  // list or large_list of structs of the strings role and content; a null is nullopt.
  std::vector<std::optional<std::vector<SaidTurn>>> optional_turns(std::string_view column) const;

 private:
  struct Release {
    void operator()(ArrowSchema* schema) const;
    void operator()(ArrowArray* array) const;
  };
  // One column's schema and its array in every chunk.
  struct Column {
    const ArrowSchema* schema;
    std::vector<const ArrowArray*> chunks;
  };

  void add_chunk(std::unique_ptr<ArrowArray, Release> chunk);
  Column column(std::string_view name) const;
  std::string where(std::string_view column) const;
  // What `at(values, i)` gives of every row, in one vector; `values` reads one chunk of the column.
  template <typename Values, typename At>
  auto each_row(std::string_view column, At at) const;

  std::string name_;
  std::unique_ptr<ArrowSchema, Release> schema_;
  std::vector<std::unique_ptr<ArrowArray, Release>> chunks_;
  std::map<std::string, std::string> metadata_;
  std::int64_t num_rows_ = 0;
};

}  // namespace syco
