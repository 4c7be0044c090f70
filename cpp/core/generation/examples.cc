#include "core/generation/examples.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/rng.h"
#include "core/tables/column_builder.h"

namespace syco {
namespace {

// White space of more than one byte in UTF-8, as Python's str.strip knows it.
constexpr std::array<std::string_view, 19> kWideSpaces = {
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83",
    "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A",
    "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

bool is_space(char c) { return c == ' ' || ('\x09' <= c && c <= '\x0D') || ('\x1C' <= c && c <= '\x1F'); }

// Length of the white space at the start of `text`, or at its end; 0 if there is none.
std::size_t leading_space(std::string_view text) {
  if (!text.empty() && is_space(text.front())) return 1;
  for (const std::string_view space : kWideSpaces) {
    if (text.starts_with(space)) return space.size();
  }
  return 0;
}

std::size_t trailing_space(std::string_view text) {
  if (!text.empty() && is_space(text.back())) return 1;
  for (const std::string_view space : kWideSpaces) {
    if (text.ends_with(space)) return space.size();
  }
  return 0;
}

// All fields cleaned and joined; empty if one of them is.
std::string clean_row(const std::vector<std::vector<std::optional<std::string_view>>>& fields, std::size_t row) {
  std::string input;
  for (const auto& field : fields) {
    const std::string text = clean_field(field[row].value_or(""));
    if (text.empty()) return {};
    if (!input.empty()) input += " and ";
    input += text;
  }
  return input;
}

struct UsableRow {
  std::string input;
  std::int64_t label;
};

// What is known of one text: its label, and whether rows disagree about it.
struct Sighting {
  std::int64_t label;
  bool is_conflicting = false;
  bool is_written = false;
};

class ExampleTableBuilder {
 public:
  explicit ExampleTableBuilder(const ExampleSpec& spec) : spec_(&spec) {}

  void append(const UsableRow& row) {
    const std::string& label = spec_->labels[static_cast<std::size_t>(row.label)];
    ids_.append(id_text(Hasher().add(spec_->source).add(row.input).add(label).value()));
    sources_.append(spec_->source);
    inputs_.append(row.input);
    labels_.push_back(static_cast<std::int32_t>(row.label));
    num_bytes_ += row.input.size();
    if (num_bytes_ > kMaxBytes || labels_.size() == kMaxRows) end_batch();
  }

  BatchTable finish() {
    if (!labels_.empty()) end_batch();
    return std::move(table_);
  }

 private:
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 28;
  static constexpr std::size_t kMaxRows = std::size_t{1} << 18;

  void end_batch() {
    auto batch = std::make_shared<Batch>();
    batch->num_rows = static_cast<std::int64_t>(labels_.size());
    batch->columns.push_back(ids_.finish());
    batch->columns.push_back(sources_.finish());
    batch->columns.push_back(inputs_.finish());
    batch->columns.push_back(number_column(labels_));
    table_.batches.push_back(std::move(batch));
    ids_ = sources_ = inputs_ = {};
    labels_.clear();
    num_bytes_ = 0;
  }

  const ExampleSpec* spec_;
  BatchTable table_{{{"id", ColumnType::kString},
                     {"source", ColumnType::kString},
                     {"input", ColumnType::kString},
                     {"label", ColumnType::kInt32}},
                    {}};
  StringBuilder ids_;
  StringBuilder sources_;
  StringBuilder inputs_;
  std::vector<std::int32_t> labels_;
  std::size_t num_bytes_ = 0;
};

// Drops what needs no look at other rows.
std::vector<UsableRow> usable_rows(const ArrowTable& raw, const ExampleSpec& spec, DropCounts& dropped) {
  std::vector<std::vector<std::optional<std::string_view>>> fields;
  fields.reserve(spec.fields.size());
  for (const std::string& field : spec.fields) fields.push_back(raw.optional_strings(field));
  const std::vector<std::optional<std::int64_t>> labels = raw.optional_integers(spec.label);
  std::vector<UsableRow> rows;
  for (std::size_t row = 0; row < labels.size(); ++row) {
    const std::int64_t label = labels[row].value_or(-1);
    if (label == -1) {
      ++dropped.unlabelled;
    } else if (label < 0 || label >= std::ssize(spec.labels)) {
      ++dropped.label_out_of_range;
    } else if (std::string input = clean_row(fields, row); input.empty()) {
      ++dropped.empty_text;
    } else {
      rows.push_back({std::move(input), label});
    }
  }
  return rows;
}

}  // namespace

std::string clean_field(std::string_view text) {
  std::string kept;
  kept.reserve(text.size());
  for (const char c : text) {
    if (c != '"' && c != '\n') kept += c;
  }
  std::string_view trimmed = kept;
  while (const std::size_t length = leading_space(trimmed)) trimmed.remove_prefix(length);
  while (const std::size_t length = trailing_space(trimmed)) trimmed.remove_suffix(length);
  if (trimmed.empty()) return {};
  std::string quoted = "\"";
  quoted += trimmed;
  quoted += '"';
  return quoted;
}

CleanedExamples clean_examples(const ArrowTable& raw, const ExampleSpec& spec) {
  require(!spec.fields.empty() && !spec.labels.empty(),
          "examples: source '" + spec.source + "' needs at least one field and one label");
  CleanedExamples cleaned;
  const std::vector<UsableRow> rows = usable_rows(raw, spec, cleaned.dropped);
  std::unordered_map<std::string_view, Sighting> sightings;
  for (const UsableRow& row : rows) {
    const auto [found, is_new] = sightings.try_emplace(row.input, Sighting{row.label});
    if (found->second.label != row.label) found->second.is_conflicting = true;
  }
  ExampleTableBuilder builder(spec);
  for (const UsableRow& row : rows) {
    Sighting& sighting = sightings.at(row.input);
    if (sighting.is_conflicting) {
      ++cleaned.dropped.conflicting_label;
    } else if (sighting.is_written) {
      ++cleaned.dropped.duplicate;
    } else {
      builder.append(row);
      sighting.is_written = true;
    }
  }
  cleaned.table = builder.finish();
  return cleaned;
}

std::vector<std::int64_t> sample_positions(std::int64_t size, std::int64_t count, std::uint64_t seed) {
  require(0 <= count && count <= size,
          "cannot draw " + std::to_string(count) + " of " + std::to_string(size) + " items without repetition");
  const Permutation order(static_cast<std::uint64_t>(size), Rng{seed}.at(Stream::kExamples, ~std::uint64_t{0}));
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    positions.push_back(static_cast<std::int64_t>(order(static_cast<std::uint64_t>(i))));
  }
  std::ranges::sort(positions);
  return positions;
}

}  // namespace syco
