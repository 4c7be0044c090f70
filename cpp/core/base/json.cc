#include "core/base/json.h"

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

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  require(text.size() <= kMaxJsonBytes, where + ": JSON of " + std::to_string(text.size()) + " bytes is too long");
  // The parser calls back at every bracket, before it goes deeper.
  const auto check_depth = [&where](int depth, Json::parse_event_t, const Json&) {
    require(depth <= kMaxJsonDepth, where + ": JSON is nested deeper than " + std::to_string(kMaxJsonDepth));
    return true;
  };
  try {
    Json json = Json::parse(text, check_depth);
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
