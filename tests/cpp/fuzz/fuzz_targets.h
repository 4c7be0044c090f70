// What takes bytes from outside, as functions of bytes: each must give a result or throw DataError.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace syco {

using Bytes = std::span<const std::uint8_t>;

void fuzz_template(Bytes bytes);  // a template's text and the values of its slots
void fuzz_protocol(Bytes bytes);  // a protocol's JSON
void fuzz_jsonl(Bytes bytes);     // JSON Lines, and the cleaning of what they hold
void fuzz_arrow(Bytes bytes);     // an Arrow stream: formats, offsets, validity, children, metadata

struct FuzzTarget {
  const char* name;
  void (*run)(Bytes bytes);
  std::string_view seed;  // a good input to start from
};

inline constexpr std::array<FuzzTarget, 4> kFuzzTargets = {{
    {"template", &fuzz_template, "I am {name}: {claim} {{ }}"},
    {"protocol", &fuzz_protocol,
     R"p({"name": "p", "choices": {"agree_first": "A", "disagree_first": "B"}, "continuations": [" (A)", " (B)"],
          "ranges": {"age": [30, 90]}, "schools": ["MIT"], "templates": [{"id": "t", "kinds": ["claim"],
          "text": "{opinion}{claim}{choices}", "arms": {"none": "", "agree": "{name} {age} {claim}"}}]})p"},
    {"jsonl", &fuzz_jsonl, "{\"text\": \"a \\\"b\\\"\\n\", \"label\": 1}\n{\"text\": null, \"label\": \"yes\"}\n"},
    {"arrow", &fuzz_arrow, "uUvubcsilLg+l 0123456789abcdefghijklmnopqrstuvwxyz"},
}};

}  // namespace syco
