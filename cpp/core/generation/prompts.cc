#include "core/generation/prompts.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/base/errors.h"
#include "core/base/hash.h"

namespace syco {

std::optional<int> PromptRow::user_choice() const {
  if (arm == Arm::kAgree) return agree_choice();
  if (arm == Arm::kDisagree) return 1 - agree_choice();
  return std::nullopt;
}

void PromptRows::draw_setting(const std::vector<std::size_t>& templates, Draws draws, PromptRow& row) const {
  const auto pick = [&draws](const std::vector<std::string>& list) -> std::string_view {
    return list[draws.below(list.size())];
  };
  row.values[kFirstName] = pick(protocol_->first_names);
  row.values[kLastName] = pick(protocol_->last_names);
  row.values[kAge] = pick(protocol_->ages);
  row.values[kSchool1] = pick(protocol_->schools);
  row.values[kSchool2] = pick(protocol_->schools);
  const std::size_t index = templates[templates.size() == 1 ? 0 : draws.below(templates.size())];
  row.prompt_template = &protocol_->templates[index];
  const auto arm = static_cast<std::size_t>(row.arm);
  const auto order = static_cast<std::size_t>(row.order);
  row.text = &row.prompt_template->texts[arm][order];
  row.turns = &row.prompt_template->turns[arm][order];
  Hasher hasher;
  hasher.add(protocol_->digest).add(row.claim_id()).add(index * kNumArms * kNumOrders + arm * kNumOrders + order);
  if (row.prompt_template->uses_persona[arm]) {
    for (int value = kFirstName; value <= kSchool2; ++value) hasher.add(row.values[static_cast<std::size_t>(value)]);
  }
  row.id = hasher.value();
}

Claims read_claims(const ArrowTable& table) {
  Claims claims{table.strings("id"),   table.strings("source"),   table.strings("kind"),
                table.strings("text"), table.strings("polarity"), table.integers("is_true")};
  require(!claims.ids.empty(), "prompts: the claims table is empty");
  std::unordered_set<std::string_view> seen;
  for (const std::string_view id : claims.ids) {
    if (!seen.insert(id).second) throw DataError("prompts: the claim id '" + std::string(id) + "' stands twice");
  }
  return claims;
}

namespace {

using TemplatesByKind = std::unordered_map<std::string_view, std::vector<std::size_t>>;

template <typename T>
void require_distinct(const std::vector<T>& values, const std::string& what) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool again = std::find(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values[i]) !=
                       values.begin() + static_cast<std::ptrdiff_t>(i);
    require(!again, "prompts: " + what + " must be given once each");
  }
  require(!values.empty(), "prompts: at least one of " + what + " must be given");
}

// What all rows over a claims table share.
class RowsOfClaims : public PromptRows {
 public:
  RowsOfClaims(Claims claims, const Protocol& protocol, PromptOptions options, std::uint64_t seed)
      : PromptRows(protocol), claims_(std::move(claims)), options_(std::move(options)), rng_{seed} {
    require_distinct(options_.arms, "arms");
    require_distinct(options_.orders, "orders");
    for (const std::string_view kind : claims_.kinds) {
      if (!templates_.contains(kind)) templates_[kind] = protocol.select(kind, options_.templates, options_.arms);
    }
  }

 protected:
  std::size_t num_cells() const { return options_.arms.size() * options_.orders.size(); }

  PromptRow make(std::size_t claim, std::size_t cell) const {
    PromptRow row;
    row.values[kClaimText] = claims_.texts[claim];
    row.given_claim_id = claims_.ids[claim];
    row.source = claims_.sources[claim];
    row.is_true = claims_.is_true[claim] != 0;
    row.arm = options_.arms[cell / options_.orders.size()];
    row.order = options_.orders[cell % options_.orders.size()];
    const std::uint64_t key = Hasher().add(claims_.ids[claim]).value();
    draw_setting(templates_.at(claims_.kinds[claim]), rng_.at(Stream::kPersonas, key), row);
    return row;
  }

  Claims claims_;
  PromptOptions options_;
  Rng rng_;

 private:
  TemplatesByKind templates_;
};

class CrossedRows : public RowsOfClaims {
 public:
  using RowsOfClaims::RowsOfClaims;

  std::int64_t num_rows() const override { return static_cast<std::int64_t>(claims_.ids.size() * num_cells()); }

  PromptRow row(std::int64_t i) const override {
    const auto at = static_cast<std::size_t>(i);
    return make(at / num_cells(), at % num_cells());
  }
};

class SampledRows : public RowsOfClaims {
 public:
  SampledRows(Claims claims, const Protocol& protocol, PromptOptions options, bool equal_cells, std::uint64_t seed)
      : RowsOfClaims(std::move(claims), protocol, std::move(options), seed), cells_(claims_.ids.size()) {
    if (equal_cells) {
      fill_equal_cells();
    } else {
      for (std::size_t i = 0; i < cells_.size(); ++i) {
        const std::uint64_t key = Hasher().add(claims_.ids[i]).value();
        cells_[i] = static_cast<std::uint8_t>(rng_.at(Stream::kOpinions, key).below(num_cells()));
      }
    }
  }

  std::int64_t num_rows() const override { return static_cast<std::int64_t>(cells_.size()); }

  PromptRow row(std::int64_t i) const override {
    const auto at = static_cast<std::size_t>(i);
    return make(at, cells_[at]);
  }

 private:
  // Every group of claims is put in random order; the cells then go round.
  void fill_equal_cells() {
    std::map<std::tuple<std::string_view, std::int64_t, std::string_view>, std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < cells_.size(); ++i) {
      groups[{claims_.sources[i], claims_.is_true[i], claims_.polarities[i]}].push_back(i);
    }
    for (const auto& [key, members] : groups) {
      const auto& [source, is_true, polarity] = key;
      const std::uint64_t index = Hasher().add(source).add(static_cast<std::uint64_t>(is_true)).add(polarity).value();
      const Permutation order(members.size(), rng_.at(Stream::kOpinions, index));
      const std::uint64_t first = rng_.at(Stream::kCells, index).below(num_cells());
      for (std::size_t rank = 0; rank < members.size(); ++rank) {
        cells_[members[order(rank)]] = static_cast<std::uint8_t>((rank + first) % num_cells());
      }
    }
  }

  std::vector<std::uint8_t> cells_;  // by claim
};

}  // namespace

Design parse_design(std::string_view name) {
  if (name == "crossed") return Design::kCrossed;
  if (name == "sampled") return Design::kSampled;
  require(name == "independent",
          "unknown design '" + std::string(name) + "'; the designs are crossed, sampled, independent");
  return Design::kIndependent;
}

std::unique_ptr<PromptRows> prompt_rows(Claims claims, const Protocol& protocol, const PromptOptions& options,
                                        Design design, std::uint64_t seed) {
  if (design == Design::kCrossed) return std::make_unique<CrossedRows>(std::move(claims), protocol, options, seed);
  return std::make_unique<SampledRows>(std::move(claims), protocol, options, design == Design::kSampled, seed);
}

}  // namespace syco
