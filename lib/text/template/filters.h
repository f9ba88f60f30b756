// The filters by name, in two parts; find_filter (ast.h) looks in both.
#pragma once
#include <map>
#include <string_view>

#include "text/template/evaluate.h"

namespace ds::jinja {

const std::map<std::string_view, Filter>& value_filters();
const std::map<std::string_view, Filter>& sequence_filters();

}  // namespace ds::jinja
