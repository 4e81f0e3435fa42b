// The cache in which Hugging Face's downloads lie: models--ORG--NAME/{refs/main,snapshots/HASH}. Only looked at, never written.
// https://huggingface.co/docs/huggingface_hub/guides/manage-cache
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace stflow {

/// Where the cache is: $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
/// ~/.cache/huggingface/hub.
std::string hub_cache();

/// The first of `names` that the newest snapshot (refs/main, or the only one) of a repository "ORG/NAME" has; "" if there is none.
/// Throws Exit::data if refs/main names no snapshot's hash, Exit::missing if there are several snapshots and no refs/main.
std::string find_in_hub(std::string_view repository, const std::vector<std::string_view>& names);

/// As find_in_hub(), but throws Exit::missing in one line that says where it looked and what to download.
std::string hub_file(std::string_view repository, const std::vector<std::string_view>& names);

}  // namespace stflow
