#include "core/generation/generate.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "core/base/hash.h"

namespace syco {
namespace {

const std::vector<Arm> kOpinionArms = {Arm::kAgree, Arm::kDisagree};
constexpr std::uint64_t kNumOpinionCells = 4;  // agree or disagree x which choice comes first

// Parts of `total` in proportion to `sizes`, exact to within one (largest remainders; of equal ones the first).
std::vector<std::uint64_t> proportional_parts(std::uint64_t total, const std::vector<std::uint64_t>& sizes) {
  __extension__ using Uint128 = unsigned __int128;
  const std::uint64_t sum = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  std::vector<std::uint64_t> parts;
  std::vector<std::uint64_t> remainders;
  for (const std::uint64_t size : sizes) {
    const Uint128 product = static_cast<Uint128>(total) * size;
    parts.push_back(static_cast<std::uint64_t>(product / sum));
    remainders.push_back(static_cast<std::uint64_t>(product % sum));
  }
  std::vector<std::size_t> by_remainder(sizes.size());
  std::iota(by_remainder.begin(), by_remainder.end(), std::size_t{0});
  std::ranges::stable_sort(by_remainder, [&](std::size_t a, std::size_t b) { return remainders[a] > remainders[b]; });
  std::uint64_t left = total - std::accumulate(parts.begin(), parts.end(), std::uint64_t{0});
  for (std::size_t i = 0; left > 0; ++i, --left) ++parts[by_remainder[i]];
  return parts;
}

class GeneratedRows : public PromptRows {
 public:
  GeneratedRows(const Examples& examples, const Protocol& protocol, const GenerateOptions& options, std::uint64_t seed)
      : PromptRows(protocol),
        examples_(&examples),
        claims_(examples, options.claims, Rng{seed}),
        recipe_(options.claims.recipe),
        num_rows_(static_cast<std::uint64_t>(options.num_prompts)),
        rng_{seed},
        slots_(num_rows_, rng_.at(Stream::kRows, 0)),
        templates_(protocol.select("claim", options.templates, kOpinionArms)) {
    const std::uint64_t num_claims = examples.size() * claims_.period();
    require(options.num_prompts >= 1, "generate: n must be at least 1, got " + std::to_string(options.num_prompts));
    require(options.repeat_claims || num_rows_ <= num_claims,
            "generate: the " + std::to_string(examples.size()) + " examples give " + std::to_string(num_claims) +
                " different claims, got n = " + std::to_string(num_rows_) +
                "; load more examples, or let claims be repeated");
    std::vector<std::uint64_t> sizes;
    sizes.reserve(examples.source_list.size());
    for (const Source& source : examples.source_list) sizes.push_back(source.rows.size());
    std::uint64_t end = 0;
    for (const std::uint64_t part : proportional_parts(num_rows_, sizes)) ends_.push_back(end += part);
    for (std::size_t s = 0; s < sizes.size(); ++s) {
      cell_offsets_.push_back(rng_.at(Stream::kOpinions, num_rows_ + s).below(kNumOpinionCells));
    }
  }

  std::int64_t num_rows() const override { return static_cast<std::int64_t>(num_rows_); }

  PromptRow row(std::int64_t i) const override {
    const auto index = static_cast<std::uint64_t>(i);
    const std::uint64_t slot = slots_(index);
    const auto s = static_cast<std::size_t>(std::ranges::upper_bound(ends_, slot) - ends_.begin());
    const std::uint64_t rank = slot - (s == 0 ? 0 : ends_[s - 1]);
    const Source& source = examples_->source_list[s];
    const Claim claim = claims_.at(s, rank % source.rows.size(), rank / source.rows.size());
    const std::uint64_t cell = opinion_cell(s, rank, index);
    PromptRow row;
    row.values[kClaimText] = examples_->inputs[claim.example];
    row.values[kClaimJoint] = claim_joint(claim.is_negated);
    row.values[kClaimLabel] = source.labels[claim.stated_label];
    write_id(syco::claim_id(examples_->ids[claim.example], claim.is_negated, row.values[kClaimLabel]),
             row.own_claim_id.data());
    row.source = source.name;
    row.is_true = claim.is_true;
    row.arm = kOpinionArms[cell % 2];
    row.order = static_cast<Order>(cell / 2);
    draw_setting(templates_, rng_.at(Stream::kPersonas, index), row);
    return row;
  }

 private:
  // balanced: the claim cells go round with the rank, and the opinion cells once in every round of these, so that all
  // cells are met once in 16 ranks. After lcm(size, 4) rounds a claim would meet the same opinion cells again; all
  // cells are then equally full, and the opinion cells shift by one.
  std::uint64_t opinion_cell(std::size_t source, std::uint64_t rank, std::uint64_t index) const {
    if (recipe_ == Recipe::kWei2023) return rng_.at(Stream::kOpinions, index).below(kNumOpinionCells);
    const std::uint64_t round = rank / claims_.period();
    const std::uint64_t size = examples_->source_list[source].rows.size();
    return (round + round / std::lcm(size, kNumOpinionCells) + cell_offsets_[source]) % kNumOpinionCells;
  }

  const Examples* examples_;
  ClaimSchedule claims_;
  Recipe recipe_;
  std::uint64_t num_rows_;
  Rng rng_;
  Permutation slots_;  // row -> place among the prompts sorted by source
  std::vector<std::size_t> templates_;
  std::vector<std::uint64_t> ends_;          // by source: end of its places
  std::vector<std::uint64_t> cell_offsets_;  // by source
};

}  // namespace

std::unique_ptr<PromptRows> generated_rows(const Examples& examples, const Protocol& protocol,
                                           const GenerateOptions& options, std::uint64_t seed) {
  return std::make_unique<GeneratedRows>(examples, protocol, options, seed);
}

}  // namespace syco
