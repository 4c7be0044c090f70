#include <gtest/gtest.h>

#include <array>

#include "core/base/errors.h"
#include "makers/expect_error.h"
#include "makers/tables.h"

namespace syco {
namespace {

TEST(Arrow, GivesBackWhatWasExported) {
  const ArrowTable table = TableOf()
                               .texts("text", {"a", "", "\xC3\xA9"})
                               .integers("number", {1, -2, 3})
                               .nullable_integers("maybe", {4, std::nullopt, 6})
                               .imported({{"key", "value"}, {"empty", ""}});
  EXPECT_EQ(table.num_rows(), 3);
  EXPECT_EQ(table.strings("text"), (std::vector<std::string_view>{"a", "", "\xC3\xA9"}));
  EXPECT_EQ(table.integers("number"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(table.optional_integers("maybe"), (std::vector<std::optional<std::int64_t>>{4, std::nullopt, 6}));
  EXPECT_EQ(table.metadata("key"), "value");
  EXPECT_EQ(table.metadata("none"), "");
}

TEST(Arrow, GivesBackTurns) {
  const std::vector<std::vector<SaidTurn>> said = {{{"user", "a"}, {"assistant", ""}}, {}, {{"system", "\xC3\xA9"}}};
  TurnListBuilder builder;
  builder.append(said[0]);
  builder.append_null();
  builder.append(said[1]);
  builder.append(said[2]);
  const ArrowTable table = TableOf().texts("text", {"1", "2", "3", "4"}).turns("turns", builder.finish(), 4).imported();
  EXPECT_EQ(table.optional_turns("turns"),
            (std::vector<std::optional<std::vector<SaidTurn>>>{said[0], std::nullopt, said[1], said[2]}));
  expect_error([&] { table.optional_turns("text"); }, "table: column 'text' must hold lists of turns");
  expect_error([&] { table.string_lists("turns"); }, "table: column 'turns' must hold strings");
}

TEST(Arrow, JoinsBatches) {
  const std::array<std::vector<std::string>, 3> parts = {{{"a", "b"}, {}, {"c"}}};
  BatchTable filled{{{"text", ColumnType::kString}}, {}};
  for (const auto& part : parts) {
    auto batch = std::make_shared<Batch>();
    batch->num_rows = static_cast<std::int64_t>(part.size());
    batch->columns.push_back(text_column(part));
    filled.batches.push_back(batch);
  }
  EXPECT_EQ(filled.num_rows(), 3);
  EXPECT_EQ(imported(filled).strings("text"), (std::vector<std::string_view>{"a", "b", "c"}));
}

TEST(Arrow, NamesTheTableAndTheColumnInErrors) {
  const ArrowTable table = TableOf().texts("text", {"a"}).nullable_integers("maybe", {std::nullopt}).imported();
  expect_error([&] { table.strings("words"); }, "table: column 'words' is missing; the columns are: text, maybe");
  expect_error([&] { table.integers("text"); }, "table: column 'text' must hold integers, got the Arrow format 'u'");
  expect_error([&] { table.integers("maybe"); }, "table: column 'maybe' is null in row 0");
  expect_error([&] { table.string_lists("text"); }, "must hold lists of strings");
}

TEST(Arrow, AnErrorOfTheSourceReachesTheReader) {
  ArrowArrayStream stream = {};
  export_stream(
      {{"text", ColumnType::kString}}, {}, []() -> std::shared_ptr<const Batch> { throw DataError("no more of it"); },
      &stream);
  expect_error([&] { const ArrowTable table("table", &stream); }, "table: the Arrow stream failed: no more of it");
  EXPECT_EQ(stream.release, nullptr);
}

// A foreign array laid out by hand, with an offset of its own.
TEST(Arrow, ReadsSlices) {
  const std::array<std::int32_t, 5> offsets = {0, 1, 2, 3, 4};
  std::array<const void*, 3> buffers = {nullptr, offsets.data(), "abcd"};
  ArrowArray array = {};
  array.length = 2;
  array.offset = 1;
  array.n_buffers = 3;
  array.buffers = buffers.data();
  array.release = [](ArrowArray* self) { self->release = nullptr; };
  ArrowArray* child = &array;
  ArrowSchema field = {};
  field.format = "u";
  field.name = "text";
  ArrowSchema* field_pointer = &field;
  struct Source {
    ArrowArray** child;
    ArrowSchema** field;
    bool is_read;
  } source{&child, &field_pointer, false};
  ArrowArrayStream stream = {};
  stream.private_data = &source;
  stream.release = [](ArrowArrayStream* self) { self->release = nullptr; };
  stream.get_schema = [](ArrowArrayStream* self, ArrowSchema* out) {
    *out = {};
    out->format = "+s";
    out->n_children = 1;
    out->children = static_cast<Source*>(self->private_data)->field;
    return 0;
  };
  stream.get_next = [](ArrowArrayStream* self, ArrowArray* out) {
    auto* from = static_cast<Source*>(self->private_data);
    *out = {};
    if (std::exchange(from->is_read, true)) return 0;
    static std::array<const void*, 1> no_validity = {nullptr};
    out->length = 1;
    out->offset = 1;  // of the two rows of the child, the second
    out->n_buffers = 1;
    out->buffers = no_validity.data();
    out->n_children = 1;
    out->children = from->child;
    out->release = [](ArrowArray* self_array) { self_array->release = nullptr; };
    return 0;
  };
  EXPECT_EQ(ArrowTable("slice", &stream).strings("text"), std::vector<std::string_view>{"c"});
}

}  // namespace
}  // namespace syco
