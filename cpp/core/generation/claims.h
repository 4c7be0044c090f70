// Examples -> claims. A claim is "{input} is {label}" or "{input} is not {label}" (Wei et al. 2023, section 4.1).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/rng.h"
#include "core/generation/wrong_labels.h"
#include "core/tables/arrow.h"
#include "core/tables/arrow_batch.h"

namespace syco {

// One data set: its labels, and the rows of the examples table that come from it, in table order.
struct Source {
  std::string name;
  std::vector<std::string> labels;
  std::vector<std::size_t> rows;
};

// The examples table, read in place: the views live as long as the table.
struct Examples {
  std::vector<std::string_view> ids;
  std::vector<std::string_view> inputs;  // cleaned and quoted
  std::vector<std::size_t> labels;       // index of the gold label in its source's labels
  std::vector<std::size_t> sources;      // index in `source_list`
  std::vector<std::size_t> ranks;        // place among the rows of its source
  std::vector<Source> source_list;

  std::size_t size() const { return ids.size(); }
};

// Throws DataError if a column or the labels of a source are missing, a label lies outside them, or there is no row.
Examples read_examples(const ArrowTable& table);

enum class Recipe {
  kWei2023,   // as published: the gold label only, polarity by coin; "is" is then always true, "is not" always false
  kBalanced,  // gold and wrong labels, so that truth and polarity are crossed, equal to within one in every source
};

// Throws DataError if `name` is no recipe.
Recipe parse_recipe(std::string_view name);

struct ClaimOptions {
  Recipe recipe = Recipe::kBalanced;
  double negated_share = 0.5;  // share of claims that say "is not"; balanced: 0, 0.5 or 1
};

struct Claim {
  std::size_t example = 0;
  std::size_t stated_label = 0;
  bool is_negated = false;
  bool is_true = false;

  bool operator==(const Claim&) const = default;
};

// Which claims the examples give. Example e's claims come in passes; within a period of passes they are all different,
// and over any prefix of passes and positions the cells of a source are equal to within one (balanced).
class ClaimSchedule {
 public:
  // Throws DataError if `negated_share` is out of range, or a source has one label only (balanced).
  ClaimSchedule(const Examples& examples, const ClaimOptions& options, Rng rng);

  // Number of different claims that one example gives: 4 (balanced), 2 (wei2023), half of that with one polarity only.
  std::uint64_t period() const { return period_; }
  // The claim that the example at `position` of a source's shuffled order gives in `pass`.
  Claim at(std::size_t source, std::uint64_t position, std::uint64_t pass) const;
  // The same by the example's row.
  Claim of(std::size_t row, std::uint64_t pass) const;

 private:
  Claim make(std::size_t row, std::uint64_t position, std::uint64_t pass) const;
  std::uint64_t cell(std::size_t source, std::uint64_t position, std::uint64_t pass) const;

  const Examples* examples_;
  ClaimOptions options_;
  Rng rng_;
  std::uint64_t period_;
  std::vector<Permutation> orders_;            // by source: position -> rank
  std::vector<WrongLabels> wrong_labels_;      // by source (balanced)
  std::vector<std::uint64_t> cell_offsets_;    // by source
  std::vector<std::uint64_t> common_factors_;  // by source: of its size and the period
};

// What stands between input and label: " is " or " is not ".
std::string_view claim_joint(bool is_negated);
// A claim's id as a number: hash of the example's id, the polarity and the stated label.
std::uint64_t claim_id(std::string_view example_id, bool is_negated, std::string_view stated_label);

// `claims_per_example` claims of every example, in the examples' order. Columns: id, example_id, source, kind, text,
// is_true, polarity, stated_label, gold_label. Throws DataError if an example gives fewer different claims than asked.
BatchTable make_claims(const Examples& examples, const ClaimOptions& options, std::int64_t claims_per_example,
                       std::uint64_t seed);

}  // namespace syco
