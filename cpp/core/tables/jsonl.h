// JSON Lines -> tables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/tables/arrow_batch.h"

namespace syco {

// What to take from every line.
struct JsonlFields {
  std::vector<std::string>
      texts;          // keys that hold a text or null; in single lines they may be missing, which means null
  std::string label;  // key that holds an index, a label's name, or null; empty: none
  std::vector<std::string> labels;  // names that stand for indices
};

// Reads lines of JSON objects; blank lines are passed over. Columns: the texts (large_string, nullable), then the label
// (int64, nullable). `where` is what errors call the file. Throws DataError, with the line, at anything else than an
// object, a value of another type, a label's name that is unknown; and if a key stands in no line.
BatchTable read_jsonl(std::string_view text, const JsonlFields& fields, const std::string& where);

}  // namespace syco
