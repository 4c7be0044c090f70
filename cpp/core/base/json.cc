#include "core/base/json.h"

#include <algorithm>
#include <array>

#include "core/base/errors.h"

namespace syco {
namespace {

const Json& value_of(const Json& object, const std::string& key, const std::string& where, const char* wanted) {
  require(object.is_object() && object.contains(key), where + ": '" + key + "' is missing, expected " + wanted);
  return object[key];
}

// The parser quotes what it read last, which may hold bytes that are no UTF-8; they become U+FFFD.
std::string as_utf8(const char* text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

// Python's json module and others write NaN and Infinity, which JSON has not: null in their place, outside of texts.
std::string with_null_for_odd_numbers(std::string_view text) {
  constexpr std::array<std::string_view, 3> kOdd = {"-Infinity", "Infinity", "NaN"};
  std::string plain;
  bool in_text = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto odd =
        std::ranges::find_if(kOdd, [&](std::string_view word) { return text.substr(at).starts_with(word); });
    if (!in_text && odd != kOdd.end()) {
      plain += "null";
      at += odd->size() - 1;
      continue;
    }
    plain += text[at];
    if (in_text && text[at] == '\\' && at + 1 < text.size()) {
      plain += text[++at];
    } else if (text[at] == '"') {
      in_text = !in_text;
    }
  }
  return plain;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  require(text.size() <= kMaxJsonBytes, where + ": JSON of " + std::to_string(text.size()) + " bytes is too long");
  // The parser calls back at every bracket, before it goes deeper.
  const auto check_depth = [&where](int depth, Json::parse_event_t, const Json&) {
    require(depth <= kMaxJsonDepth, where + ": JSON is nested deeper than " + std::to_string(kMaxJsonDepth));
    return true;
  };
  try {
    Json json = Json::parse(text, check_depth, /*allow_exceptions=*/false);
    if (json.is_discarded()) json = Json::parse(with_null_for_odd_numbers(text), check_depth);
    require(json.is_object(), where + ": expected a JSON object, got " + json.type_name());
    return json;
  } catch (const Json::exception& error) {
    throw DataError(where + ": not valid JSON: " + as_utf8(error.what()));
  }
}

const Json& json_object(const Json& object, const std::string& key, const std::string& where) {
  const Json& value = value_of(object, key, where, "an object");
  require(value.is_object(), where + ": '" + key + "' must be an object, got " + value.type_name());
  return value;
}

std::string json_text(const Json& object, const std::string& key, const std::string& where) {
  const Json& value = value_of(object, key, where, "a text");
  require(value.is_string(), where + ": '" + key + "' must be a text, got " + value.type_name());
  return value.get<std::string>();
}

std::vector<std::string> json_texts(const Json& object, const std::string& key, const std::string& where) {
  const Json& value = value_of(object, key, where, "a list of texts");
  require(value.is_array() && !value.empty(), where + ": '" + key + "' must be a list of at least one text");
  std::vector<std::string> texts;
  for (const Json& item : value) {
    require(item.is_string(), where + ": '" + key + "' must hold texts only, got " + item.type_name());
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

}  // namespace syco
