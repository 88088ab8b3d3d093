// Defects that show in the bytes that a client gets.
#pragma once

#include <string>
#include <string_view>

#include "sim/context.h"

namespace dwspool::sim {

class Tamper {
 public:
  // What goes to the client in place of `bytes`. Nothing happens unless the schedule is broken.
  std::string apply(Context& context, std::string_view bytes);

 private:
  void on_frame(Context& context, char type, std::string_view frame, std::string& out);

  std::string kept_;  // the front of a message
  bool ready_said_ = false;
};

}  // namespace dwspool::sim
