#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/base/errors.h"
#include "core/generation/examples.h"
#include "core/generation/protocol.h"
#include "core/generation/template.h"
#include "core/tables/arrow.h"
#include "core/tables/jsonl.h"
#include "fuzz/fuzz_targets.h"
#include "makers/tables.h"

namespace syco {
namespace {

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Runs `step`; any error but DataError ends the program.
template <typename Step>
void allow_data_error(Step step) {
  try {
    step();
  } catch (const DataError&) {
    return;  // a proper answer
  }
}

// A table of one column whose every part comes from bytes. No offset passes the memory that is there: how long a buffer
// is, an Arrow consumer cannot know, so that is the producer's promise.
class HostileColumn {
 public:
  explicit HostileColumn(ByteReader reader) : text_(kTextBytes, 'x'), words_(4 * kRows, 0) {
    constexpr std::array<const char*, 12> kFormats = {"u", "U", "vu", "b", "c", "i", "l", "L", "f", "g", "+l", "z"};
    format_ = kFormats[static_cast<std::size_t>(reader.below(kFormats.size()))];
    const bool is_wide = format_ == "U" || format_ == "l" || format_ == "L" || format_ == "g";
    for (std::size_t i = 0; i < words_.size() * (is_wide ? 1 : 2); ++i) {
      // Mostly in order, now and then backwards or negative.
      const std::int64_t step = reader.below(8) - (reader.below(16) == 0 ? 20 : 0);
      last_ = std::min<std::int64_t>(last_ + step, kTextBytes);
      write(i, is_wide);
    }
    lengths_ = {kTextBytes - reader.below(kTextBytes)};
    validity_.fill(reader.next());
    array_.length = reader.below(kRows / 2);
    array_.offset = reader.below(kRows / 4) - (reader.below(20) == 0 ? 1 : 0);
    array_.null_count = reader.below(3) - 1;
    array_.n_buffers = reader.below(5) == 0 ? reader.below(5)
                                            : (format_ == "vu"                  ? 4
                                               : format_[0] == 'u' || is_text() ? 3
                                                                                : 2);
    buffers_ = {reader.below(2) == 0 ? nullptr : validity_.data(), reader.below(12) == 0 ? nullptr : words_.data(),
                reader.below(12) == 0 ? nullptr : text_.data(), lengths_.data()};
    array_.buffers = buffers_.data();
    array_.release = [](ArrowArray* self) { self->release = nullptr; };
    schema_.format = format_.c_str();
    schema_.name = "column";
    schema_.dictionary = reader.below(16) == 0 ? &schema_ : nullptr;
    num_rows_ = array_.length - reader.below(2);
  }

  ArrowTable table() {
    ArrowArrayStream stream = {};
    stream.private_data = this;
    stream.get_schema = &get_schema;
    stream.get_next = &get_next;
    stream.get_last_error = [](ArrowArrayStream*) -> const char* { return nullptr; };
    stream.release = [](ArrowArrayStream* self) { self->release = nullptr; };
    return {"table", &stream};
  }

 private:
  static constexpr std::int64_t kRows = 32;
  static constexpr std::int64_t kTextBytes = 512;

  bool is_text() const { return format_ == "u" || format_ == "U"; }

  void write(std::size_t i, bool is_wide) {
    char* at = reinterpret_cast<char*>(words_.data());
    if (is_wide) {
      std::memcpy(at + 8 * i, &last_, 8);
    } else {
      const auto narrow = static_cast<std::int32_t>(last_);
      std::memcpy(at + 4 * i, &narrow, 4);
    }
  }

  static int get_schema(ArrowArrayStream* self, ArrowSchema* out) {
    auto* column = static_cast<HostileColumn*>(self->private_data);
    *out = {};
    out->format = "+s";
    out->n_children = 1;
    out->children = &column->schema_pointer_;
    return 0;
  }

  static int get_next(ArrowArrayStream* self, ArrowArray* out) {
    auto* column = static_cast<HostileColumn*>(self->private_data);
    *out = {};
    if (std::exchange(column->is_read_, true)) return 0;
    out->length = column->num_rows_;
    out->n_buffers = 1;
    out->buffers = column->no_validity_.data();
    out->n_children = 1;
    out->children = &column->array_pointer_;
    out->release = [](ArrowArray* array) { array->release = nullptr; };
    return 0;
  }

  std::string format_;
  std::string text_;
  std::vector<std::int64_t> words_;
  std::int64_t last_ = 0;
  std::array<std::int64_t, 1> lengths_ = {};
  std::array<std::uint8_t, kRows> validity_ = {};
  std::array<const void*, 4> buffers_ = {};
  std::array<const void*, 1> no_validity_ = {};
  ArrowArray array_ = {};
  ArrowSchema schema_ = {};
  ArrowArray* array_pointer_ = &array_;
  ArrowSchema* schema_pointer_ = &schema_;
  std::int64_t num_rows_ = 0;
  bool is_read_ = false;
};

// A template's text and the values of its slots.
void fuzz_template(Bytes bytes) {
  constexpr std::array<std::string_view, 2> kSlots = {"claim", "name"};
  allow_data_error([&] {
    const std::string_view text = text_of(bytes);
    const Template parsed = Template::parse(text, kSlots, "fuzz");
    const std::array<std::string_view, 2> values = {text, text.substr(text.size() / 2)};
    if (parsed.render(values).size() != parsed.size(values)) __builtin_trap();
    parsed.with(0, parsed).render(values);
  });
}

// A protocol's JSON.
void fuzz_protocol(Bytes bytes) {
  allow_data_error([&] { parse_protocol(text_of(bytes), R"({"first": ["Ana"], "last": ["Li"]})"); });
}

// JSON Lines, and the cleaning of what they hold.
void fuzz_jsonl(Bytes bytes) {
  allow_data_error([&] {
    const BatchTable raw = read_jsonl(text_of(bytes), {{"text"}, "label", {"no", "yes"}}, "fuzz");
    clean_examples(imported(raw), {"fuzz", {"text"}, "label", {"no", "yes"}});
  });
}

// An Arrow stream: formats, offsets, validity, children, metadata.
void fuzz_arrow(Bytes bytes) {
  HostileColumn column{ByteReader(bytes)};
  allow_data_error([&] {
    const ArrowTable table = column.table();
    // Reads every byte of what it is given, so that a sanitizer sees a view that points outside.
    allow_data_error([&] {
      std::size_t sum = 0;
      for (const auto& text : table.optional_strings("column")) {
        for (const char c : text.value_or("")) sum += static_cast<std::size_t>(c);
      }
      if (sum == 1) __builtin_trap();
    });
    allow_data_error([&] { table.optional_integers("column"); });
    allow_data_error([&] { table.doubles("column"); });
    allow_data_error([&] { table.string_lists("column"); });
    allow_data_error([&] { table.optional_turns("column"); });
  });
}

constexpr std::array<FuzzTarget, 4> kTargets = {{
    {"template", &fuzz_template, "I am {name}: {claim} {{ }}"},
    {"protocol", &fuzz_protocol,
     R"p({"name": "p", "choices": {"agree_first": "A", "disagree_first": "B"}, "continuations": [" (A)", " (B)"],
          "ranges": {"age": [30, 90]}, "schools": ["MIT"], "templates": [{"id": "t", "kinds": ["claim"],
          "text": "{opinion}{claim}{choices}", "arms": {"none": "", "agree": "{name} {age} {claim}"}}]})p"},
    {"jsonl", &fuzz_jsonl, "{\"text\": \"a \\\"b\\\"\\n\", \"label\": 1}\n{\"text\": null, \"label\": \"yes\"}\n"},
    {"arrow", &fuzz_arrow, "uUvubcsilLg+l 0123456789abcdefghijklmnopqrstuvwxyz"},
}};

}  // namespace

std::span<const FuzzTarget> fuzz_targets() { return kTargets; }

}  // namespace syco
