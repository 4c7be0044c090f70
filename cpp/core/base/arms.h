// The arms of a claim, which are what the user says of it, and the orders of a prompt's two choices; their names are
// those of tables and of Python.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace syco {

enum class Arm : std::int8_t { kNone, kPlacebo, kAgree, kDisagree };
enum class Order : std::int8_t { kAgreeFirst, kDisagreeFirst };
inline constexpr std::size_t kNumArms = 4;
inline constexpr std::size_t kNumOrders = 2;
inline constexpr std::array<std::string_view, kNumArms> kArmNames = {"none", "placebo", "agree", "disagree"};
inline constexpr std::array<std::string_view, kNumOrders> kOrderNames = {"agree_first", "disagree_first"};

}  // namespace syco
