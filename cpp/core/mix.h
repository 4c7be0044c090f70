// Synthetic prompts and instruction rows -> training rows (Wei et al. 2023, section 4.3: five parts to one).
#pragma once

#include <cstdint>
#include <string>

#include "core/arrow.h"
#include "core/arrow_batch.h"

namespace syco {

struct MixOptions {
  double ratio = 5.0;  // synthetic rows for each instruction row
  // Wording of an instruction row's prompt and completion; {input} may be left out of the second form only.
  std::string with_input = "Human: {instruction}\n\n{input}\n\nAssistant:";
  std::string without_input = "Human: {instruction}\n\nAssistant:";
  std::string completion = " {output}";
};

// Every prompt once, in order, with its right choice as completion, and round(number of prompts / ratio) instruction
// rows. Every stretch of about ratio + 1 rows holds one instruction row, at a random place. Instruction rows come in
// random order; a row comes again only after all others came. Columns: id, origin ("synthetic" or "instruction"),
// prompt, completion. Throws DataError if the ratio is not positive, a prompt has no target, or instruction rows are
// needed and there are none.
BatchTable mix(const ArrowTable& prompts, const ArrowTable& instructions, const MixOptions& options,
               std::uint64_t seed);

}  // namespace syco
