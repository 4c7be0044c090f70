#include "core/generation/prompt_batch.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/threads.h"

namespace syco {
namespace {

constexpr std::int64_t kRowsPerBatch = 1 << 14;
// Of batches that are not kept: small enough for a core's own cache.
constexpr std::int64_t kRowsPerTally = 1 << 10;

// The order of the columns in a batch.
enum ColumnIndex : std::size_t {
  kId,
  kClaimId,
  kSource,
  kTemplate,
  kArm,
  kOrder,
  kPrompt,
  kChoices,
  kTarget,
  kUserChoice,
  kIsTrue,
  kClaimOffset,
  kTurns,
  kNumColumns
};

// Fills a string column whose total size is known.
template <typename Offset>
class TextWriter {
 public:
  TextWriter(ColumnData& column, std::size_t num_rows, std::size_t num_bytes) {
    require(num_bytes <= std::numeric_limits<Offset>::max(), "prompts: a text column of one batch would pass 2 GB");
    column.offsets.resize((num_rows + 1) * sizeof(Offset));
    column.values.resize(num_bytes);
    begin_ = next_ = column.values.data();
    offset_ = column.offsets.as<Offset>();
    *offset_ = 0;
  }
  void append(std::string_view text) {
    if (!text.empty()) std::memcpy(next_, text.data(), text.size());
    advance(next_ + text.size());
  }
  char* next() const { return next_; }
  // Says that a value was written up to `end`.
  void advance(char* end) {
    next_ = end;
    *++offset_ = static_cast<Offset>(end - begin_);
  }

 private:
  char* begin_;
  char* next_;
  Offset* offset_;
};

template <typename Text>
void fill_text_column(const std::vector<PromptRow>& rows, ColumnData& column, Text text_of) {
  std::size_t num_bytes = 0;
  for (const PromptRow& row : rows) num_bytes += text_of(row).size();
  TextWriter<std::int32_t> writer(column, rows.size(), num_bytes);
  for (const PromptRow& row : rows) writer.append(text_of(row));
}

void fill_ids(const std::vector<PromptRow>& rows, ColumnData& column) {
  TextWriter<std::int32_t> writer(column, rows.size(), rows.size() * kIdLength);
  for (const PromptRow& row : rows) {
    write_id(row.id, writer.next());
    writer.advance(writer.next() + kIdLength);
  }
}

void fill_prompts(const std::vector<PromptRow>& rows, ColumnData& prompts, ColumnData& claim_offsets) {
  std::size_t num_bytes = 0;
  for (const PromptRow& row : rows) num_bytes += row.text->size(row.values);
  TextWriter<std::int64_t> writer(prompts, rows.size(), num_bytes);
  claim_offsets.values.resize(rows.size() * sizeof(std::int64_t));
  auto* offset = claim_offsets.values.as<std::int64_t>();
  for (const PromptRow& row : rows) {
    writer.advance(row.text->fill(row.values, writer.next()));
    *offset++ = static_cast<std::int64_t>(row.text->offset_of(kClaimText, row.values));
  }
}

void fill_turns(const std::vector<PromptRow>& rows, ColumnData& column) {
  std::size_t num_turns = 0;
  std::size_t role_bytes = 0;
  std::size_t content_bytes = 0;
  for (const PromptRow& row : rows) {
    num_turns += row.turns->size();
    for (const Turn& turn : *row.turns) {
      role_bytes += role_name(turn.role).size();
      content_bytes += turn.text.size(row.values);
    }
  }
  column.offsets.resize((rows.size() + 1) * sizeof(std::int32_t));
  column.num_items = static_cast<std::int64_t>(num_turns);
  column.children.resize(2);
  TextWriter<std::int32_t> roles(column.children[0], num_turns, role_bytes);
  TextWriter<std::int64_t> contents(column.children[1], num_turns, content_bytes);
  auto* offset = column.offsets.as<std::int32_t>();
  *offset = 0;
  for (const PromptRow& row : rows) {
    for (const Turn& turn : *row.turns) {
      roles.append(role_name(turn.role));
      contents.advance(turn.text.fill(row.values, contents.next()));
    }
    offset[1] = *offset + static_cast<std::int32_t>(row.turns->size());
    ++offset;
  }
}

void fill_choices(const std::array<std::string, 2>& choices, std::size_t num_rows, ColumnData& column) {
  column.offsets.resize((num_rows + 1) * sizeof(std::int32_t));
  column.num_items = static_cast<std::int64_t>(2 * num_rows);
  ColumnData items;
  items.offsets = std::move(column.item_offsets);
  items.values = std::move(column.values);
  TextWriter<std::int32_t> writer(items, 2 * num_rows, (choices[0].size() + choices[1].size()) * num_rows);
  auto* offset = column.offsets.as<std::int32_t>();
  *offset++ = 0;
  for (std::size_t i = 0; i < num_rows; ++i) {
    for (const std::string& choice : choices) writer.append(choice);
    *offset++ = static_cast<std::int32_t>(2 * (i + 1));
  }
  column.item_offsets = std::move(items.offsets);
  column.values = std::move(items.values);
}

// A bitmap with the bits `bit_of` gives.
template <typename Bit>
void fill_bits(const std::vector<PromptRow>& rows, Buffer& buffer, Bit bit_of) {
  buffer.resize((rows.size() + 7) / 8);
  auto* bytes = buffer.as<std::uint8_t>();
  std::fill(bytes, bytes + buffer.size(), std::uint8_t{0});
  for (std::size_t i = 0; i < rows.size(); ++i) bytes[i / 8] |= static_cast<std::uint8_t>(bit_of(rows[i]) << (i % 8));
}

void fill_answers(const std::vector<PromptRow>& rows, Batch& batch) {
  ColumnData& targets = batch.columns[kTarget];
  ColumnData& user_choices = batch.columns[kUserChoice];
  targets.values.resize(rows.size());
  user_choices.values.resize(rows.size());
  user_choices.num_nulls = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::optional<int> user_choice = rows[i].user_choice();
    targets.values.data()[i] = static_cast<char>(rows[i].target());
    user_choices.values.data()[i] = static_cast<char>(user_choice.value_or(0));
    user_choices.num_nulls += user_choice ? 0 : 1;
  }
  fill_bits(rows, user_choices.validity, [](const PromptRow& row) { return row.user_choice() ? 1 : 0; });
  fill_bits(rows, batch.columns[kIsTrue].values, [](const PromptRow& row) { return row.is_true ? 1 : 0; });
}

std::int64_t num_batches(RowRange range, std::int64_t size) { return (range.end - range.begin + size - 1) / size; }

void require_inside(RowRange range, const PromptRows& prompts) {
  require(0 <= range.begin && range.begin <= range.end && range.end <= prompts.num_rows(),
          "prompts: rows " + std::to_string(range.begin) + " to " + std::to_string(range.end) +
              " were asked for, there are " + std::to_string(prompts.num_rows()));
}

RowRange batch_range(RowRange range, std::int64_t size, std::int64_t batch) {
  const std::int64_t begin = range.begin + batch * size;
  return {begin, std::min(range.end, begin + size)};
}

}  // namespace

Fields prompt_fields() {
  constexpr ColumnType kText = ColumnType::kString;
  return {{"id", kText},
          {"claim_id", kText},
          {"source", kText},
          {"template", kText},
          {"arm", kText},
          {"order", kText},
          {"prompt", ColumnType::kLargeString},
          {"choices", ColumnType::kStringList},
          {"target", ColumnType::kInt8, true},
          {"user_choice", ColumnType::kInt8, true},
          {"is_true", ColumnType::kBool, true},
          {"claim_offset", ColumnType::kInt64},
          {"turns", ColumnType::kTurnList, true}};
}

void fill_batch(const PromptRows& prompts, RowRange range, std::vector<PromptRow>& rows, Batch& batch) {
  rows.clear();
  for (std::int64_t i = range.begin; i < range.end; ++i) rows.push_back(prompts.row(i));
  batch.num_rows = range.end - range.begin;
  batch.columns.resize(kNumColumns);
  fill_ids(rows, batch.columns[kId]);
  fill_text_column(rows, batch.columns[kClaimId], [](const PromptRow& row) { return row.claim_id(); });
  fill_text_column(rows, batch.columns[kSource], [](const PromptRow& row) { return row.source; });
  fill_text_column(rows, batch.columns[kTemplate],
                   [](const PromptRow& row) { return std::string_view(row.prompt_template->name); });
  fill_text_column(rows, batch.columns[kArm],
                   [](const PromptRow& row) { return kArmNames[static_cast<std::size_t>(row.arm)]; });
  fill_text_column(rows, batch.columns[kOrder],
                   [](const PromptRow& row) { return kOrderNames[static_cast<std::size_t>(row.order)]; });
  fill_prompts(rows, batch.columns[kPrompt], batch.columns[kClaimOffset]);
  fill_choices(prompts.protocol().choices, rows.size(), batch.columns[kChoices]);
  fill_answers(rows, batch);
  fill_turns(rows, batch.columns[kTurns]);
}

BatchTable make_prompt_table(const PromptRows& prompts, RowRange range, int num_threads) {
  require_inside(range, prompts);
  BatchTable table{prompt_fields(), {}};
  table.batches.resize(static_cast<std::size_t>(num_batches(range, kRowsPerBatch)));
  for_each_index(num_batches(range, kRowsPerBatch), num_threads, [&](IndexQueue& queue) {
    std::vector<PromptRow> rows;
    while (const auto index = queue.next()) {
      auto batch = std::make_shared<Batch>();
      fill_batch(prompts, batch_range(range, kRowsPerBatch, *index), rows, *batch);
      table.batches[static_cast<std::size_t>(*index)] = std::move(batch);
    }
  });
  return table;
}

BatchSource stream_prompts(std::shared_ptr<const PromptRows> prompts, RowRange range, int num_threads) {
  require_inside(range, *prompts);
  // A window of as many batches as threads is made at once and then given out one by one.
  return [prompts = std::move(prompts), range, num_threads, window = BatchTable{}, given = std::size_t{0},
          next = range.begin]() mutable -> std::shared_ptr<const Batch> {
    if (given == window.batches.size()) {
      if (next == range.end) return nullptr;
      const RowRange part{next, std::min(range.end, next + kRowsPerBatch * thread_count(num_threads))};
      window = make_prompt_table(*prompts, part, num_threads);
      next = part.end;
      given = 0;
    }
    return std::move(window.batches[given++]);
  };
}

PromptTally tally_prompts(const PromptRows& prompts, RowRange range, int num_threads) {
  require_inside(range, prompts);
  std::vector<PromptTally> tallies(static_cast<std::size_t>(num_batches(range, kRowsPerTally)));
  for_each_index(num_batches(range, kRowsPerTally), num_threads, [&](IndexQueue& queue) {
    std::vector<PromptRow> rows;
    Batch batch;
    while (const auto index = queue.next()) {
      const RowRange part = batch_range(range, kRowsPerTally, *index);
      fill_batch(prompts, part, rows, batch);
      const auto* offsets = batch.columns[kPrompt].offsets.as<std::int64_t>();
      const char* text = batch.columns[kPrompt].values.data();
      PromptTally& tally = tallies[static_cast<std::size_t>(*index)];
      tally.num_rows = batch.num_rows;
      tally.num_bytes = offsets[batch.num_rows];
      for (std::int64_t i = 0; i < batch.num_rows; ++i) {
        const std::string_view prompt(text + offsets[i], static_cast<std::size_t>(offsets[i + 1] - offsets[i]));
        tally.digest += Hasher().add(static_cast<std::uint64_t>(part.begin + i)).add(prompt).value();
      }
    }
  });
  PromptTally total;
  for (const PromptTally& tally : tallies) {
    total.num_rows += tally.num_rows;
    total.num_bytes += tally.num_bytes;
    total.digest += tally.digest;
  }
  return total;
}

}  // namespace syco
