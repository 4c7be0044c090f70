#include "core/generation/claim_table.h"

#include <memory>
#include <string>
#include <utility>

#include "core/base/hash.h"

namespace syco {
namespace {

std::string_view polarity_name(bool is_negated) { return is_negated ? "is_not" : "is"; }

}  // namespace

Fields claim_fields() {
  constexpr ColumnType kText = ColumnType::kString;
  return {{"id", kText},       {"example_id", kText},   {"source", kText},
          {"kind", kText},     {"text", kText},         {"is_true", ColumnType::kBool},
          {"polarity", kText}, {"stated_label", kText}, {"gold_label", kText}};
}

void ClaimTableBuilder::append(const ClaimRow& row) {
  std::string text;
  for (const std::string_view part : row.text) text += part;
  const std::array<std::string_view, 7> others = {
      row.example_id, row.source, row.kind, text, polarity_name(row.is_negated), row.stated_label, row.gold_label};
  texts_[0].append(id_text(row.id));
  for (std::size_t i = 0; i < others.size(); ++i) texts_[i + 1].append(others[i]);
  is_true_.push_back(row.is_true);
  ++num_rows_;
  num_bytes_ += text.size();
  if (num_rows_ == kMaxRows || num_bytes_ >= kMaxBytes) end_batch();
}

void ClaimTableBuilder::end_batch() {
  auto batch = std::make_shared<Batch>();
  batch->num_rows = num_rows_;
  for (StringBuilder& texts : texts_) {
    if (table_.fields[batch->columns.size()].type == ColumnType::kBool) batch->columns.push_back(bool_column(is_true_));
    batch->columns.push_back(texts.finish());
  }
  table_.batches.push_back(std::move(batch));
  texts_ = {};
  is_true_.clear();
  num_rows_ = 0;
  num_bytes_ = 0;
}

BatchTable ClaimTableBuilder::finish() {
  if (num_rows_ > 0) end_batch();
  return std::move(table_);
}

}  // namespace syco
