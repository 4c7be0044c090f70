// Examples -> prompts in one go, without a claims table between them.
#pragma once

#include <cstdint>
#include <memory>

#include "core/generation/claims.h"
#include "core/generation/prompts.h"
#include "core/generation/protocol.h"

namespace syco {

struct GenerateOptions {
  ClaimOptions claims;
  TemplateFilter templates;
  std::int64_t num_prompts = 0;
  bool repeat_claims = false;  // go over the claims again, with fresh draws, where there are fewer than prompts
};

// Claims and sampled prompts in one go: `num_prompts` prompts, from the sources in proportion to their size, arms agree
// and disagree, in random order. balanced: truth x polarity x opinion x order equal to within one in every source;
// wei2023: opinion and order by coin. Throws DataError if there are fewer different claims than prompts.
std::unique_ptr<PromptRows> generated_rows(const Examples& examples, const Protocol& protocol,
                                           const GenerateOptions& options, std::uint64_t seed);

}  // namespace syco
