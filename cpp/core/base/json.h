// JSON values read with checks that name the key and the place.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace syco {

using Json = nlohmann::json;

inline constexpr std::size_t kMaxJsonBytes = std::size_t{1} << 24;
inline constexpr int kMaxJsonDepth = 64;

// Parses a JSON object. Throws DataError, beginning with `where`, if the text is no object, or passes the caps above.
Json parse_json(std::string_view text, const std::string& where);

// The value of `key` in an object. Each throws DataError, beginning with `where`, if it is missing or of another type.
const Json& json_object(const Json& object, const std::string& key, const std::string& where);
std::string json_text(const Json& object, const std::string& key, const std::string& where);
// A list of at least one text.
std::vector<std::string> json_texts(const Json& object, const std::string& key, const std::string& where);

}  // namespace syco
