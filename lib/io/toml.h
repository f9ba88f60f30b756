// TOML documents (v1.0) as Json values: --config files and lists of evaluation tasks.
#pragma once
#include <string>
#include <string_view>

#include "io/json.h"

namespace ds {

// Tables become objects (keys in alphabetical order), dates and times strings, nan and inf null. Integers and floats
// keep their kind: a float has a point or an exponent. `where` begins the message of an Error ("tasks.toml"), which
// names the line. A key of more than 32 dotted parts is an Error.
Json parse_toml(std::string_view bytes, std::string_view where);
Json parse_toml_file(const std::string& path);

}  // namespace ds
