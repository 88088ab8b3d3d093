// Answers to log-ins without asking a backend: what a server reported to the last client that
// began with the same settings. One per pool and worker.
#pragma once

#include <cstddef>
#include <unordered_map>

#include "dwspool/session/settings.h"

namespace dwspool::session {

class WelcomeCache {
 public:
  // Null when nobody with these settings has logged in yet.
  ReportedPtr find(const SettingsPtr& settings) const {
    const auto found = entries_.find(settings.get());
    return found == entries_.end() ? nullptr : found->second.reported;
  }

  void store(const SettingsPtr& settings, ReportedPtr reported) {
    if (entries_.size() >= limit) entries_.clear();
    entries_[settings.get()] = {settings, std::move(reported)};
  }

  // A backend's first report: when it differs from the one before, the server has been
  // reconfigured, and what earlier log-ins were told may be wrong.
  void on_login(const ReportedPtr& reported) {
    if (base_ && !same(base_, reported)) entries_.clear();
    base_ = reported;
  }

  std::size_t size() const { return entries_.size(); }

 private:
  static constexpr std::size_t limit = 256;
  struct Entry {
    SettingsPtr settings;  // keeps the key alive
    ReportedPtr reported;
  };
  std::unordered_map<const SettingSet*, Entry> entries_;
  ReportedPtr base_;
};

}  // namespace dwspool::session
