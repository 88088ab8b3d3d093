#include "config/masked_environment.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <string_view>

#include <unistd.h>

namespace dwspool::config {
namespace {

// An environment that can be put in the place of the real one. Kept for ever; made again only
// when the real one has changed since.
struct Block {
  std::vector<std::string> source;  // the real one, as it was
  std::vector<VariableChange> changes;
  std::vector<std::string> texts;
  std::vector<char*> pointers;  // into texts; null at the end
};

std::mutex& mutex() {
  static std::mutex only;
  return only;
}

bool sets(std::string_view text, std::string_view name) {
  return text.size() > name.size() && text.starts_with(name) && text[name.size()] == '=';
}

std::vector<std::string> copy_of(char** environment) {
  std::vector<std::string> texts;
  if (environment == nullptr) return texts;
  for (char** each = environment; *each != nullptr; ++each) texts.emplace_back(*each);
  return texts;
}

// Under the mutex.
Block& block_for(const std::vector<VariableChange>& changes) {
  static std::list<Block> blocks;
  std::vector<std::string> source = copy_of(environ);
  for (Block& block : blocks) {
    if (block.changes == changes && block.source == source) return block;
  }
  Block& block = blocks.emplace_back();
  block.changes = changes;
  for (const std::string& text : source) {
    const bool changed = std::any_of(changes.begin(), changes.end(),
                                     [&](const auto& change) { return sets(text, change.name); });
    if (!changed) block.texts.push_back(text);
  }
  for (const VariableChange& change : changes) {
    if (change.value) block.texts.push_back(change.name + '=' + *change.value);
  }
  block.source = std::move(source);
  for (std::string& text : block.texts) block.pointers.push_back(text.data());
  block.pointers.push_back(nullptr);
  return block;
}

}  // namespace

MaskedEnvironment::MaskedEnvironment(const std::vector<VariableChange>& changes)
    : lock_(mutex()), original_(environ) {
  environ = block_for(changes).pointers.data();
}

MaskedEnvironment::~MaskedEnvironment() {
  environ = original_;
}

}  // namespace dwspool::config
