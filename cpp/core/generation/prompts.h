// Claims x arms x orders x personas -> prompts. PromptRows says what is in each row of a prompts table; any part of the
// table can be made from it alone, so threads and shards need not know of each other.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/arms.h"
#include "core/base/rng.h"
#include "core/generation/protocol.h"
#include "core/tables/arrow.h"

namespace syco {

// One prompt, before it is written. Its views live as long as its PromptRows and the tables that these read.
struct PromptRow {
  const PromptTemplate* prompt_template = nullptr;
  const Template* text = nullptr;            // of the arm and order
  const std::vector<Turn>* turns = nullptr;  // the same, as said by turns
  Values values = {};
  std::array<char, 16> own_claim_id = {};
  std::string_view given_claim_id;  // empty: own_claim_id holds it
  std::string_view source;
  std::uint64_t id = 0;
  Arm arm = Arm::kNone;
  Order order = Order::kAgreeFirst;
  bool is_true = false;

  std::string_view claim_id() const {
    return given_claim_id.empty() ? std::string_view(own_claim_id.data(), own_claim_id.size()) : given_claim_id;
  }
  // Index of the choice Agree; of the right choice; of the user's choice, or nullopt.
  int agree_choice() const { return order == Order::kAgreeFirst ? 0 : 1; }
  int target() const { return is_true ? agree_choice() : 1 - agree_choice(); }
  std::optional<int> user_choice() const;
};

class PromptRows {
 public:
  explicit PromptRows(const Protocol& protocol) : protocol_(&protocol) {}
  PromptRows(const PromptRows&) = delete;
  PromptRows& operator=(const PromptRows&) = delete;
  virtual ~PromptRows() = default;

  const Protocol& protocol() const { return *protocol_; }
  virtual std::int64_t num_rows() const = 0;
  // Row `i` < num_rows(); may be called from many threads.
  virtual PromptRow row(std::int64_t i) const = 0;

 protected:
  // Draws persona and template of a prompt, in this order, and sets text, values and id; all else must be set.
  void draw_setting(const std::vector<std::size_t>& templates, Draws draws, PromptRow& row) const;

 private:
  const Protocol* protocol_;
};

struct PromptOptions {
  TemplateFilter templates;
  std::vector<Arm> arms;      // at least one, each once
  std::vector<Order> orders;  // at least one, each once
};

// The claims table, read in place.
struct Claims {
  std::vector<std::string_view> ids;
  std::vector<std::string_view> sources;
  std::vector<std::string_view> kinds;
  std::vector<std::string_view> texts;
  std::vector<std::string_view> polarities;
  std::vector<std::int64_t> is_true;
};

// Throws DataError if a column is missing or an id stands twice.
Claims read_claims(const ArrowTable& table);

// Which prompts a claim gets. One template and one persona are drawn for each claim, by its id: a subset of the claims
// gives the same prompts, and the arms of a claim differ in the opinion only.
enum class Design {
  kCrossed,     // every arm in every order; claims outermost, orders innermost
  kSampled,     // one prompt; arm x order equal to within one inside every source x truth x polarity
  kIndependent  // one prompt; arm and order drawn for each claim alone, as published
};

// Throws DataError if `name` is no design: crossed, sampled, independent.
Design parse_design(std::string_view name);

// The prompts of a claims table, in its order. The claims' table and the protocol must outlive them.
std::unique_ptr<PromptRows> prompt_rows(Claims claims, const Protocol& protocol, const PromptOptions& options,
                                        Design design, std::uint64_t seed);

}  // namespace syco
