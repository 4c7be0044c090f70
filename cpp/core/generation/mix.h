// Synthetic prompts and instruction rows -> training rows (Wei et al. 2023, section 4.3: five parts to one).
#pragma once

#include <cstdint>
#include <string>

#include "core/tables/arrow.h"
#include "core/tables/arrow_batch.h"

namespace syco {

// Wording of an instruction row's prompt and completion; {input} may be left out of the second form only.
struct InstructionWording {
  std::string with_input = "Human: {instruction}\n\n{input}\n\nAssistant:";
  std::string without_input = "Human: {instruction}\n\nAssistant:";
  std::string completion = " {output}";
};

// `count` instruction rows as training rows of the source `source`, in random order; a row comes again only after all
// others came. More rows begin with the same ones. Columns: id, origin ("instruction"), source, prompt, completion,
// turns: the prompt as said by turns, the row's own where it has some, else the wording's. Throws DataError if rows are
// wanted and there are none, or the wording lacks a slot.
BatchTable draw_instructions(const ArrowTable& instructions, const std::string& source, std::uint64_t count,
                             const InstructionWording& wording, std::uint64_t seed);

// Every prompt once, in order, with its right choice as completion (origin "synthetic"), and every training row of
// `rows`, in order. Every stretch of equal length holds one of `rows`, at a random place. Columns as above; turns are
// null where the prompts or rows have none. Throws DataError if there is no prompt, or one has no target.
BatchTable mix(const ArrowTable& prompts, const ArrowTable& rows, std::uint64_t seed);

}  // namespace syco
